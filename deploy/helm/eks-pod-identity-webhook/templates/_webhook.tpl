{{/* What the API server asks about. */}}

{{/* The namespaces that are left out, as a YAML list. The program's own is always among them: a webhook that is down must not
     prevent itself from starting. */}}
{{- define "eks-pod-identity-webhook.excludedNamespaces" -}}
{{- append (.Values.webhook.excludedNamespaces | default list) (include "eks-pod-identity-webhook.namespace" .) | uniq | toYaml }}
{{- end }}

{{/* The ARN of a role, in CEL: (list . "expression of what was annotated"). With `awsAccountId`, a name is completed. */}}
{{- define "eks-pod-identity-webhook.role" -}}
{{- $root := index . 0 }}
{{- $role := index . 1 }}
{{- /* An account ID of `env` may have come as a number. */}}
{{- with include "eks-pod-identity-webhook.setting" (list $root "awsAccountId" "") }}
{{- $partition := include "eks-pod-identity-webhook.setting" (list $root "awsPartition" "aws") }}
{{- $arn := printf "'arn:%s:iam::%012.0f:role/' + (role.startsWith('/') ? role.substring(1) : role)" $partition (float64 .) }}
{{- $role = printf "[%s].map(role, role.startsWith('arn:') ? role : %s)[0]" $role $arn }}
{{- end }}
{{- $role }}
{{- end }}

{{/* A value in quotes, in CEL: 80 characters of it, as the program quotes. */}}
{{- define "eks-pod-identity-webhook.quoted" -}}
[{{ . }}].map(value, '"' + (size(value) > 80 ? value.substring(0, 80) + '"…' : value + '"'))[0]
{{- end }}

{{/* The beginning of a message, in CEL: an annotation and its value: (list "prefix" "name"). */}}
{{- define "eks-pod-identity-webhook.quotedAnnotation" -}}
{{- $key := printf "%s/%s" (index . 0) (index . 1) -}}
'annotation {{ $key }}: ' + {{ include "eks-pod-identity-webhook.quoted" (printf "variables.annotations['%s']" $key) }}
{{- end }}

{{/* A regular expression for ARNs of roles in other partitions than that of a region: the rules of src/injection/region.rs. */}}
{{- define "eks-pod-identity-webhook.roleOfOtherPartition" -}}
{{- $prefixes := dict "aws-cn" "cn-" "aws-us-gov" "us-gov-" "aws-iso" "us-iso-" "aws-iso-b" "us-isob-" "aws-iso-e" "eu-isoe-" "aws-iso-f" "us-isof-" "aws-eusc" "eusc-" }}
{{- $region := . }}
{{- $of := "aws" }}
{{- range $partition, $prefix := $prefixes }}
{{- if hasPrefix $prefix $region }}{{ $of = $partition }}{{ end }}
{{- end -}}
^arn:({{ without (append (keys $prefixes | sortAlpha) "aws") $of | join "|" }}):iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$
{{- end }}

{{/* What a namespace without the annotation `permitted-roles` may use: globs. */}}
{{- define "eks-pod-identity-webhook.permittedByDefault" -}}
{{- $default := .Values.rolePolicy.default }}
{{- if eq $default "allow" }}*{{ else if ne $default "deny" }}{{ $default }}{{ end }}
{{- end }}

{{/* Mirror pods show what a kubelet runs already, and may not be changed. */}}
{{- define "eks-pod-identity-webhook.notAMirrorPod" -}}
!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)
{{- end }}

{{/* One entry of the webhook configuration: (dict "root" . "name" … "failurePolicy" … "objectSelector" …). */}}
{{- define "eks-pod-identity-webhook.entry" -}}
{{- $webhook := .root.Values.webhook }}
{{- $tls := .root.Values.tls -}}
- name: {{ .name }}
  admissionReviewVersions: [v1]
  clientConfig:
    {{- if .root.Values.controlPlane.enabled }}
    url: https://{{ include "eks-pod-identity-webhook.loopback" .root }}:{{ .root.Values.controlPlane.port }}/mutate
    {{- else }}
    service:
      name: {{ include "eks-pod-identity-webhook.fullname" .root }}
      namespace: {{ include "eks-pod-identity-webhook.namespace" .root }}
      path: /mutate
      port: {{ .root.Values.service.port }}
    {{- end }}
    {{- /* There is no caBundle with self-managed certificates, so that neither an upgrade nor a GitOps tool resets the one
           that the program maintains. */}}
    {{- if eq $tls.mode "secret" }}
    {{- with $tls.secret.caBundle }}
    caBundle: {{ . }}
    {{- end }}
    {{- end }}
  rules:
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [CREATE]
      resources: [pods]
      scope: Namespaced
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [UPDATE]
      resources: [pods/ephemeralcontainers]
      scope: Namespaced
  failurePolicy: {{ .failurePolicy }}
  matchPolicy: Equivalent
  reinvocationPolicy: {{ $webhook.reinvocationPolicy }}
  sideEffects: None
  timeoutSeconds: {{ $webhook.timeoutSeconds }}
  namespaceSelector:
    {{- with ($webhook.namespaceSelector).matchLabels }}
    matchLabels: {{- toYaml . | nindent 6 }}
    {{- end }}
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values: {{- include "eks-pod-identity-webhook.excludedNamespaces" .root | nindent 10 }}
      {{- with ($webhook.namespaceSelector).matchExpressions }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  objectSelector:
    {{- with (.objectSelector).matchLabels }}
    matchLabels: {{- toYaml . | nindent 6 }}
    {{- end }}
    matchExpressions:
      - key: {{ include "eks-pod-identity-webhook.key" (list .root "skip-pod-identity-webhook") }}
        operator: DoesNotExist
      {{- with (.objectSelector).matchExpressions }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  matchConditions:
    - name: not-a-mirror-pod
      expression: {{ include "eks-pod-identity-webhook.notAMirrorPod" . | quote }}
    {{- with $webhook.matchConditions }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
