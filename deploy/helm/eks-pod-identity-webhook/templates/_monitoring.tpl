{{/* The metadata of an object for the Prometheus Operator: (list . .Values.serviceMonitor). */}}
{{- define "eks-pod-identity-webhook.monitorMetadata" -}}
{{- $root := index . 0 -}}
name: {{ include "eks-pod-identity-webhook.fullname" $root }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "eks-pod-identity-webhook.labels" $root | nindent 2 }}
  {{- with (index . 1).labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Where metrics are, of the values of a monitor. */}}
{{- define "eks-pod-identity-webhook.monitorEndpoint" -}}
- port: admin
  path: /metrics
  {{- with .interval }}
  interval: {{ . }}
  {{- end }}
  {{- with .scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  {{- with .relabelings }}
  relabelings: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .metricRelabelings }}
  metricRelabelings: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
