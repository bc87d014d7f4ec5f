{{/* What the API server asks about. */}}

{{/* The namespaces that are left out, as a YAML list. The program's own is always among them: a webhook that is down must not
     prevent itself from starting. */}}
{{- define "eks-pod-identity-webhook.excludedNamespaces" -}}
{{- append .Values.webhook.excludedNamespaces (include "eks-pod-identity-webhook.namespace" .) | uniq | toYaml }}
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
    service:
      name: {{ include "eks-pod-identity-webhook.fullname" .root }}
      namespace: {{ include "eks-pod-identity-webhook.namespace" .root }}
      path: /mutate
      port: {{ .root.Values.service.port }}
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
    {{- with $webhook.namespaceSelector.matchLabels }}
    matchLabels: {{- toYaml . | nindent 6 }}
    {{- end }}
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values: {{- include "eks-pod-identity-webhook.excludedNamespaces" .root | nindent 10 }}
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
