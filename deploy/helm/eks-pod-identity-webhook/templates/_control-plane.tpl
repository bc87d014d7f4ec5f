{{/* One pod next to each API server, which calls it on loopback. */}}

{{/* Set if the program runs on the control plane. */}}
{{- define "eks-pod-identity-webhook.isControlPlane" -}}
{{- if and (include "eks-pod-identity-webhook.isWebhook" .) .Values.controlPlane.enabled }}true{{ end }}
{{- end }}

{{/* The address that the API server calls. */}}
{{- define "eks-pod-identity-webhook.loopback" -}}
127.0.0.1
{{- end }}

{{/* The folder and the socket by which the kubelet asks one process, and not another one that shares its ports. */}}
{{- define "eks-pod-identity-webhook.probeFolder" -}}
/run/webhook
{{- end }}

{{- define "eks-pod-identity-webhook.probeSocket" -}}
{{ include "eks-pod-identity-webhook.probeFolder" . }}/probe
{{- end }}

{{/* Stops if other values contradict this mode. */}}
{{- define "eks-pod-identity-webhook.controlPlaneChecks" -}}
{{- $reasons := dict
    "autoscaling" "a DaemonSet has one pod on each node: set autoscaling.enabled to false"
    "networkPolicy" "a NetworkPolicy has no effect on the node's network: set networkPolicy.enabled to false"
    "serviceMonitor" "there is no Service: set podMonitor.enabled instead" }}
{{- range $value, $reason := $reasons }}
{{- if (index $.Values $value).enabled }}
{{- fail (printf "controlPlane.enabled: %s" $reason) }}
{{- end }}
{{- end }}
{{- if and .Values.podMonitor.enabled (hasPrefix "127." .Values.controlPlane.adminAddress) }}
{{- fail "controlPlane.enabled: Prometheus cannot reach a node's loopback: set controlPlane.adminAddress as well as podMonitor.enabled" }}
{{- end }}
{{- if .Values.updateStrategy }}
{{- fail "controlPlane.enabled: updateStrategy is for the Deployment; only the chart's own strategy loses no request" }}
{{- end }}
{{- end }}
