{{/* The chart's name, shortened to what a label takes. */}}
{{- define "eks-pod-identity-webhook.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of most objects. 45 characters leave room for the suffixes. */}}
{{- define "eks-pod-identity-webhook.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $full .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- end }}

{{/* The labels that select the pods; they never change. */}}
{{- define "eks-pod-identity-webhook.selectorLabels" -}}
app.kubernetes.io/name: {{ include "eks-pod-identity-webhook.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The labels of every object. */}}
{{- define "eks-pod-identity-webhook.labels" -}}
{{ include "eks-pod-identity-webhook.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "eks-pod-identity-webhook.serviceAccountName" -}}
{{- $own := .Values.serviceAccount.create | ternary (include "eks-pod-identity-webhook.fullname" .) "default" }}
{{- default $own .Values.serviceAccount.name }}
{{- end }}

{{- define "eks-pod-identity-webhook.image" -}}
{{- with .Values.image }}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The Secret that holds the certificate. Each mode has a name of its own, so that a change of mode never has Helm delete
     a Secret that cert-manager has begun to write. */}}
{{- define "eks-pod-identity-webhook.tlsSecretName" -}}
{{- $full := include "eks-pod-identity-webhook.fullname" . }}
{{- with .Values.tls }}
{{- if eq .mode "selfManaged" }}{{ default (printf "%s-tls" $full) .selfManaged.secretName }}
{{- else if eq .mode "certManager" }}{{ $full }}-cert
{{- else }}{{ required "tls.mode is secret: set tls.secret.name to the Secret that holds the certificate" .secret.name }}
{{- end }}
{{- end }}
{{- end }}

{{/* A scalar as text. Helm reads every number as a float, and would print 67108864 as 6.7108864e+07. */}}
{{- define "eks-pod-identity-webhook.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ printf "%.0f" . }}{{ else }}{{ toString . }}{{ end }}
{{- end }}

{{/* A setting as the program will see it: (list . "drainDelay" "5s"), the last being the program's default. */}}
{{- define "eks-pod-identity-webhook.setting" -}}
{{- $values := (index . 0).Values }}
{{- $key := index . 1 }}
{{- $env := get $values.env ($key | snakecase | upper) }}
{{- $given := get $values.config $key }}
{{- /* False is a value, and goes before what the environment says; Helm leaves null out. */}}
{{- if kindIs "bool" $given }}{{ $given }}{{ else }}{{ $given | default $env | default (index . 2) }}{{ end }}
{{- end }}

{{/* An annotation or label of the webhook's: (list . "skip-pod-identity-webhook"). */}}
{{- define "eks-pod-identity-webhook.key" -}}
{{- $prefix := include "eks-pod-identity-webhook.setting" (list (index . 0) "annotationPrefix" "eks.amazonaws.com") }}
{{- printf "%s/%s" (trimSuffix "/" $prefix) (index . 1) }}
{{- end }}

{{/* A duration such as 1m30s in seconds, rounded up. */}}
{{- define "eks-pod-identity-webhook.seconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 }}
{{- $milliseconds := 0 }}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 }}
{{- $unit := get $units (regexFind "[a-z]+" .) }}
{{- $milliseconds = add $milliseconds (mul (regexFind "[0-9]+" . | int64) $unit) }}
{{- end }}
{{- div (add $milliseconds 999) 1000 }}
{{- end }}

{{/* How long a pod may take to end: the whole drain, and 5 seconds. */}}
{{- define "eks-pod-identity-webhook.terminationGracePeriodSeconds" -}}
{{- $drain := 0 }}
{{- range list (list $ "drainDelay" "5s") (list $ "drainTimeout" "20s") }}
{{- $drain = add $drain (include "eks-pod-identity-webhook.seconds" (include "eks-pod-identity-webhook.setting" .) | int) }}
{{- end }}
{{- $given := .Values.terminationGracePeriodSeconds }}
{{- if kindIs "invalid" $given }}{{ add $drain 5 }}
{{- else if lt (int $given) (int $drain) }}
{{- fail (printf "terminationGracePeriodSeconds is %d, but the drain may take %d seconds (drainDelay and drainTimeout): requests would be lost" (int $given) $drain) }}
{{- else }}{{ int $given }}
{{- end }}
{{- end }}

{{/* The program's arguments, as a YAML list. */}}
{{- define "eks-pod-identity-webhook.args" -}}
- serve
- {{ printf "--listen=%s:%d" .Values.listenAddress (int .Values.containerPort) | quote }}
- {{ printf "--admin-listen=%s:%d" .Values.listenAddress (int .Values.adminPort) | quote }}
{{- if eq .Values.tls.mode "selfManaged" }}
{{- $full := include "eks-pod-identity-webhook.fullname" . }}
- --tls-self-managed
- --tls-secret-name={{ include "eks-pod-identity-webhook.tlsSecretName" . }}
- --tls-service-name={{ $full }}
- --webhook-configuration-name={{ $full }}
- --namespace={{ .Release.Namespace }}
{{- with .Values.tls.clusterDomain }}
- --tls-cluster-domain={{ . }}
{{- end }}
{{- range $key, $value := omit .Values.tls.selfManaged "secretName" }}
{{- with $value }}
- --tls-{{ kebabcase $key }}={{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- range $key, $value := .Values.config }}
{{- if not (kindIs "invalid" $value) }}
- {{ printf "--%s=%s" (kebabcase $key) (include "eks-pod-identity-webhook.text" $value) | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* One entry of the webhook configuration: (dict "root" . "name" … "failurePolicy" … "labelSelector" …). */}}
{{- define "eks-pod-identity-webhook.entry" -}}
{{- $webhook := .root.Values.webhook }}
{{- $tls := .root.Values.tls -}}
- name: {{ .name }}
  admissionReviewVersions: [v1]
  clientConfig:
    service:
      name: {{ include "eks-pod-identity-webhook.fullname" .root }}
      namespace: {{ .root.Release.Namespace }}
      path: /mutate
      port: {{ .root.Values.service.port }}
    {{- /* Self-managed, there is no caBundle here, so that neither an upgrade nor a GitOps tool resets the one that the
           program keeps right. */}}
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
  {{- /* The release's own namespace is left out whatever the values say: a webhook that is down must not keep itself
         from coming up. */}}
  namespaceSelector:
    {{- with $webhook.namespaceSelector.matchLabels }}
    matchLabels: {{- toYaml . | nindent 6 }}
    {{- end }}
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values: {{- append $webhook.excludedNamespaces .root.Release.Namespace | uniq | toYaml | nindent 10 }}
      {{- with $webhook.namespaceSelector.matchExpressions }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  objectSelector:
    {{- with .objectSelector.matchLabels }}
    matchLabels: {{- toYaml . | nindent 6 }}
    {{- end }}
    matchExpressions:
      - key: {{ include "eks-pod-identity-webhook.key" (list .root "skip-pod-identity-webhook") }}
        operator: DoesNotExist
      {{- with .objectSelector.matchExpressions }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  matchConditions:
    - name: not-a-mirror-pod
      expression: {{ include "eks-pod-identity-webhook.notAMirrorPod" . | quote }}
    {{- with $webhook.matchConditions }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Mirror pods show what a kubelet runs already, and may not be changed. */}}
{{- define "eks-pod-identity-webhook.notAMirrorPod" -}}
!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)
{{- end }}
