{{/* The pods that run `serve`. */}}

{{/* What a Deployment or DaemonSet has as its `template`. */}}
{{- define "eks-pod-identity-webhook.podTemplate" -}}
{{- include "eks-pod-identity-webhook.podChecks" . }}
{{- $hostNetwork := or .Values.hostNetwork .Values.controlPlane.enabled }}
{{- $placement := .Values.controlPlane.enabled | ternary .Values.controlPlane .Values }}
{{- $spread := .Values.controlPlane.enabled | ternary list .Values.topologySpreadConstraints }}
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
  {{- with include "eks-pod-identity-webhook.priorityClassName" . }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- if $hostNetwork }}
  hostNetwork: true
  {{- end }}
  {{- with .Values.hostAliases }}
  hostAliases: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.dnsPolicy | default ($hostNetwork | ternary "ClusterFirstWithHostNet" "") }}
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
  {{- with $placement.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $placement.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $spread }}
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
  {{- if .Values.controlPlane.enabled }}
  # Ports are not declared: the scheduler would see a conflict between the old pod of a node and the new one.
  startupProbe: {{- include "eks-pod-identity-webhook.ownProbe" . | nindent 4 }}
  {{- else }}
  ports:
    - name: webhook
      containerPort: {{ .Values.containerPort }}
      protocol: TCP
    - name: admin
      containerPort: {{ .Values.adminPort }}
      protocol: TCP
  {{- with .Values.startupProbe }}
  startupProbe: {{- include "eks-pod-identity-webhook.probe" (list $ "/livez" .) | nindent 4 }}
  {{- end }}
  {{- end }}
  livenessProbe: {{- include "eks-pod-identity-webhook.probe" (list . "/livez" .Values.livenessProbe) | nindent 4 }}
  readinessProbe: {{- include "eks-pod-identity-webhook.probe" (list . "/readyz" .Values.readinessProbe) | nindent 4 }}
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

{{/* A probe of the admin port: (list . "/livez" .Values.livenessProbe). */}}
{{- define "eks-pod-identity-webhook.probe" -}}
{{- $root := index . 0 -}}
httpGet:
  path: {{ index . 1 }}
  {{- if $root.Values.controlPlane.enabled }}
  {{- $address := trimAll "[]" $root.Values.controlPlane.adminAddress }}
  host: {{ has $address (list "::" "0.0.0.0") | ternary "127.0.0.1" $address | quote }}
  port: {{ $root.Values.controlPlane.adminPort }}
  {{- else }}
  port: admin
  {{- end }}
{{- with index . 2 }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The probe that lets an update go on. Old and new pod share the admin port, where the old one could answer for the new one; this
     one asks the process of the container itself. The other probes begin after it. */}}
{{- define "eks-pod-identity-webhook.ownProbe" -}}
exec:
  command: [/eks-pod-identity-webhook, probe, --probe-socket={{ include "eks-pod-identity-webhook.probeSocket" . }}]
{{ merge dict (.Values.startupProbe | default dict) (dict "periodSeconds" 1 "timeoutSeconds" 5 "failureThreshold" 600) | toYaml }}
{{- end }}

{{- define "eks-pod-identity-webhook.priorityClassName" -}}
{{- .Values.controlPlane.enabled | ternary .Values.controlPlane.priorityClassName .Values.priorityClassName }}
{{- end }}

{{/* Stops if values of the pods contradict each other. */}}
{{- define "eks-pod-identity-webhook.podChecks" -}}
{{- $values := .Values.controlPlane.enabled | ternary .Values.controlPlane .Values }}
{{- $port := .Values.controlPlane.enabled | ternary "port" "containerPort" }}
{{- $ports := list (index $values $port | int) (int $values.adminPort) }}
{{- if eq (first $ports) (last $ports) }}
{{- fail (printf "%s and adminPort are both %d" $port (last $ports)) }}
{{- end }}
{{- if and (or .Values.hostNetwork .Values.controlPlane.enabled) (has 10250 $ports) }}
{{- fail "hostNetwork: port 10250 of the node is the kubelet's" }}
{{- end }}
{{- if and (eq .Values.tls.mode "selfManaged") (include "eks-pod-identity-webhook.setting" (list . "serviceAccounts" "")) }}
{{- fail "config.serviceAccounts is for running without a cluster, and tls.mode selfManaged keeps the certificate in one: set tls.mode to certManager or secret" }}
{{- end }}
{{- end }}

{{- define "eks-pod-identity-webhook.volumes" -}}
{{- if .Values.controlPlane.enabled }}
- name: probe
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- if ne .Values.tls.mode "selfManaged" }}
- name: certificate
  secret:
    secretName: {{ include "eks-pod-identity-webhook.tlsSecretName" . }}
{{- end }}
{{- include "eks-pod-identity-webhook.settingVolumes" . }}
{{- end }}

{{- define "eks-pod-identity-webhook.volumeMounts" -}}
{{- if .Values.controlPlane.enabled }}
- name: probe
  mountPath: {{ include "eks-pod-identity-webhook.probeFolder" . }}
{{- end }}
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
