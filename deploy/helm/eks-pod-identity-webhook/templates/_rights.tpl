{{/* Who has a role. */}}

{{/* Gives a role to a ServiceAccount of the program's namespace: (dict "root" . "kind" "ClusterRole" "role" … "account" … "name" …
     "namespace" … "annotations" …). The binding has the role's name, unless there is a name. */}}
{{- define "eks-pod-identity-webhook.binding" -}}
{{- $name := .name | default .role -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  {{- dict "root" .root "name" $name "namespace" .namespace "clusterWide" (eq .kind "ClusterRole") "annotations" .annotations
      | include "eks-pod-identity-webhook.metadata" | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .role }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ include "eks-pod-identity-webhook.namespace" .root }}
{{- end }}

{{/* The ServiceAccount of a command: (dict "root" . "name" … "annotations" …). Only its own pod gets the token. */}}
{{- define "eks-pod-identity-webhook.commandAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "eks-pod-identity-webhook.metadata" . | nindent 2 }}
automountServiceAccountToken: false
{{- end }}
