{{/* Pods that run another command of the program: `audit`, `oidc verify`, `doctor`. */}}

{{/* A CronJob that fails if its command finds something:
     (dict "root" . "name" "audit" "values" .Values.checks.audit "pod" (dict …)), the pod without root, name and account. */}}
{{- define "eks-pod-identity-webhook.cronJob" -}}
{{- $full := printf "%s-%s" (include "eks-pod-identity-webhook.fullname" .root) .name -}}
apiVersion: batch/v1
kind: CronJob
metadata: {{- include "eks-pod-identity-webhook.metadata" (dict "root" .root "name" $full) | nindent 2 }}
spec:
  schedule: {{ .values.schedule | quote }}
  concurrencyPolicy: Forbid
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      # A failed Job is the report: it is not repeated before the next run.
      backoffLimit: 0
      activeDeadlineSeconds: 600
      template:
        metadata:
          labels: {{- include "eks-pod-identity-webhook.commandLabels" (dict "root" .root "name" .name) | nindent 12 }}
        spec: {{- merge (dict "root" .root "name" .name "account" $full) .pod | include "eks-pod-identity-webhook.commandPod" | nindent 10 }}
{{- end }}

{{/* The labels of such a pod. The selector of the Service must not match them. */}}
{{- define "eks-pod-identity-webhook.commandLabels" -}}
{{- $own := dict "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/component" .name }}
{{- merge $own (omit (.root.Values.commonLabels | default dict) "app.kubernetes.io/name") | toYaml }}
{{- end }}

{{/* The spec of such a pod: (dict "root" . "name" … "account" … "args" … "env" … "volumeMounts" … "volumes" …). The last four
     are YAML lists; only args is required. */}}
{{- define "eks-pod-identity-webhook.commandPod" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: true
restartPolicy: Never
{{- with include "eks-pod-identity-webhook.imagePullSecrets" .root | trim }}
imagePullSecrets: {{- . | nindent 2 }}
{{- end }}
{{- with $values.podSecurityContext }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .name }}
    image: {{ include "eks-pod-identity-webhook.image" .root }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    args: {{- .args | trim | nindent 6 }}
    {{- with .env | default "" | trim }}
    env: {{- . | nindent 6 }}
    {{- end }}
    {{- with $values.resources }}
    resources: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $values.securityContext }}
    securityContext: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .volumeMounts | default "" | trim }}
    volumeMounts: {{- . | nindent 6 }}
    {{- end }}
{{- with .volumes | default "" | trim }}
volumes: {{- . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The authorities of public web sites, which the image does not have, as argument, mount and volume. */}}
{{- define "eks-pod-identity-webhook.authoritiesArgs" -}}
{{- with .Values.checks.certificateAuthorities }}
{{- if .configMap }}
- --ca-file=/etc/webhook/authorities/{{ .key }}
{{- end }}
{{- end }}
{{- end }}

{{- define "eks-pod-identity-webhook.authoritiesVolumeMounts" -}}
{{- if .Values.checks.certificateAuthorities.configMap }}
- name: authorities
  mountPath: /etc/webhook/authorities
  readOnly: true
{{- end }}
{{- end }}

{{- define "eks-pod-identity-webhook.authoritiesVolumes" -}}
{{- with .Values.checks.certificateAuthorities.configMap }}
- name: authorities
  configMap:
    name: {{ . }}
{{- end }}
{{- end }}
