{{/* Names of objects, and where they live. */}}

{{/* Set if the program is installed. */}}
{{- define "eks-pod-identity-webhook.isWebhook" -}}
{{- if and .Values.enabled (eq .Values.mode "webhook") }}true{{ end }}
{{- end }}

{{/* Set if the MutatingAdmissionPolicy is installed instead. */}}
{{- define "eks-pod-identity-webhook.isPolicy" -}}
{{- if and .Values.enabled (eq .Values.mode "policy") }}true{{ end }}
{{- end }}

{{/* The chart's name, shortened to the length of a label. */}}
{{- define "eks-pod-identity-webhook.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of most objects. 45 characters leave room for suffixes: the name of a CronJob has 52 at most. */}}
{{- define "eks-pod-identity-webhook.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $full .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- end }}

{{/* The namespace of the program. */}}
{{- define "eks-pod-identity-webhook.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "eks-pod-identity-webhook.serviceAccountName" -}}
{{- $own := .Values.serviceAccount.create | ternary (include "eks-pod-identity-webhook.fullname" .) "default" }}
{{- default $own .Values.serviceAccount.name }}
{{- end }}

{{/* The Secret that holds the certificate. Each mode has its own name, so that after a change of mode Helm never deletes a
     Secret that cert-manager has already written. */}}
{{- define "eks-pod-identity-webhook.tlsSecretName" -}}
{{- $full := include "eks-pod-identity-webhook.fullname" . }}
{{- with .Values.tls }}
{{- if eq .mode "selfManaged" }}{{ default (printf "%s-tls" $full) .selfManaged.secretName }}
{{- else if eq .mode "certManager" }}{{ $full }}-cert
{{- else }}{{ required "tls.mode is secret: set tls.secret.name to the Secret that holds the certificate" .secret.name }}
{{- end }}
{{- end }}
{{- end }}
