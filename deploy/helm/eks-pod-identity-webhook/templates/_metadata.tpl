{{/* Labels and annotations. */}}

{{/* The labels that select the pods. They never change. */}}
{{- define "eks-pod-identity-webhook.selectorLabels" -}}
app.kubernetes.io/name: {{ include "eks-pod-identity-webhook.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The chart's own labels of every object. */}}
{{- define "eks-pod-identity-webhook.labels" -}}
{{ include "eks-pod-identity-webhook.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The metadata of an object: (dict "root" . "name" … "namespace" … "clusterWide" true "labels" … "annotations" …). Only root
     is required. The chart's own labels win over the object's, and these over commonLabels. */}}
{{- define "eks-pod-identity-webhook.metadata" -}}
{{- $root := .root -}}
name: {{ .name | default (include "eks-pod-identity-webhook.fullname" $root) }}
{{- if not .clusterWide }}
namespace: {{ .namespace | default (include "eks-pod-identity-webhook.namespace" $root) }}
{{- end }}
{{- $own := include "eks-pod-identity-webhook.labels" $root | fromYaml }}
labels: {{- merge dict $own (.labels | default dict) ($root.Values.commonLabels | default dict) | toYaml | nindent 2 }}
{{- with merge dict (.annotations | default dict) ($root.Values.commonAnnotations | default dict) }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
