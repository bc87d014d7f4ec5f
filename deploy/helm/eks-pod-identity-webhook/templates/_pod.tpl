{{/* The pods that run `serve`. */}}

{{/* What a Deployment has as its `template`. */}}
{{- define "eks-pod-identity-webhook.podTemplate" -}}
{{- $selector := include "eks-pod-identity-webhook.selectorLabels" . | fromYaml -}}
metadata:
  labels: {{- merge dict $selector (.Values.podLabels | default dict) (.Values.commonLabels | default dict) | toYaml | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "eks-pod-identity-webhook.serviceAccountName" . }}
  automountServiceAccountToken: true
  {{- with include "eks-pod-identity-webhook.imagePullSecrets" . | trim }}
  imagePullSecrets: {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- if .Values.hostNetwork }}
  hostNetwork: true
  {{- end }}
  {{- with .Values.hostAliases }}
  hostAliases: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.dnsPolicy | default (.Values.hostNetwork | ternary "ClusterFirstWithHostNet" "") }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with .Values.dnsConfig }}
  dnsConfig: {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "eks-pod-identity-webhook.terminationGracePeriodSeconds" . }}
  {{- with .Values.podSecurityContext }}
  securityContext: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    {{- include "eks-pod-identity-webhook.container" . | nindent 4 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with include "eks-pod-identity-webhook.volumes" . | trim }}
  volumes: {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    {{- $counted := dict "labelSelector" (dict "matchLabels" $selector) }}
    - {{ hasKey . "labelSelector" | ternary . (merge $counted .) | toYaml | nindent 6 | trim }}
    {{- end }}
  {{- end }}
{{- end }}

{{- define "eks-pod-identity-webhook.container" -}}
- name: webhook
  image: {{ include "eks-pod-identity-webhook.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: {{- include "eks-pod-identity-webhook.args" . | nindent 4 }}
  {{- with include "eks-pod-identity-webhook.env" . | trim }}
  env: {{- . | nindent 4 }}
  {{- end }}
  ports:
    - name: webhook
      containerPort: {{ .Values.containerPort }}
      protocol: TCP
    - name: admin
      containerPort: {{ .Values.adminPort }}
      protocol: TCP
  {{- with .Values.startupProbe }}
  startupProbe: {{- include "eks-pod-identity-webhook.probe" (list "/livez" .) | nindent 4 }}
  {{- end }}
  livenessProbe: {{- include "eks-pod-identity-webhook.probe" (list "/livez" .Values.livenessProbe) | nindent 4 }}
  readinessProbe: {{- include "eks-pod-identity-webhook.probe" (list "/readyz" .Values.readinessProbe) | nindent 4 }}
  {{- with .Values.resources }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.securityContext }}
  securityContext: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "eks-pod-identity-webhook.volumeMounts" . | trim }}
  volumeMounts: {{- . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "eks-pod-identity-webhook.env" -}}
{{- range $name, $value := .Values.env }}
- name: {{ $name }}
  value: {{ include "eks-pod-identity-webhook.text" $value | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A probe of the admin port: (list "/livez" .Values.livenessProbe). */}}
{{- define "eks-pod-identity-webhook.probe" -}}
httpGet:
  path: {{ index . 0 }}
  port: admin
{{- with index . 1 }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "eks-pod-identity-webhook.volumes" -}}
{{- if ne .Values.tls.mode "selfManaged" }}
- name: certificate
  secret:
    secretName: {{ include "eks-pod-identity-webhook.tlsSecretName" . }}
{{- end }}
{{- include "eks-pod-identity-webhook.settingVolumes" . }}
{{- end }}

{{- define "eks-pod-identity-webhook.volumeMounts" -}}
{{- if ne .Values.tls.mode "selfManaged" }}
- name: certificate
  mountPath: /etc/webhook/certs
  readOnly: true
{{- end }}
{{- include "eks-pod-identity-webhook.settingVolumeMounts" . }}
{{- end }}

{{/* The files that settings name. `audit` reads them too. */}}
{{- define "eks-pod-identity-webhook.settingVolumes" -}}
{{- if .Values.containerCredentials }}
- name: container-credentials
  configMap:
    name: {{ include "eks-pod-identity-webhook.fullname" . }}-identities
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "eks-pod-identity-webhook.settingVolumeMounts" -}}
{{- if .Values.containerCredentials }}
- name: container-credentials
  mountPath: /etc/webhook/container-credentials
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
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
