{{/* The program's arguments, as YAML lists. */}}

{{/* The arguments of `serve`. The program rejects a flag that is given twice. */}}
{{- define "eks-pod-identity-webhook.args" -}}
{{- $own := include "eks-pod-identity-webhook.ownArgs" . }}
{{- $flags := list }}
{{- range fromYamlArray $own }}
{{- $flags = append $flags (splitList "=" . | first) }}
{{- end }}
{{- $own }}
{{- range .Values.extraArgs }}
{{- $flag := toString . | splitList "=" | first }}
{{- if has $flag $flags }}
{{- fail (printf "extraArgs repeats %s, which the chart sets from another value: change that one (config, tls, rolePolicy, listenAddress, containerPort, adminPort, controlPlane)" $flag) }}
{{- end }}
{{- $flags = append $flags $flag }}
- {{ toString . | quote }}
{{- end }}
{{- end }}

{{/* Those that follow from other values than extraArgs. */}}
{{- define "eks-pod-identity-webhook.ownArgs" -}}
- serve
{{- if .Values.controlPlane.enabled }}
- {{ printf "--listen=%s:%d" (include "eks-pod-identity-webhook.loopback" .) (int .Values.controlPlane.port) | quote }}
- {{ printf "--admin-listen=%s:%d" .Values.controlPlane.adminAddress (int .Values.controlPlane.adminPort) | quote }}
- --reuse-port
- --probe-socket={{ include "eks-pod-identity-webhook.probeSocket" . }}
{{- else }}
- {{ printf "--listen=%s:%d" .Values.listenAddress (int .Values.containerPort) | quote }}
- {{ printf "--admin-listen=%s:%d" .Values.listenAddress (int .Values.adminPort) | quote }}
{{- end }}
{{- if eq .Values.tls.mode "selfManaged" }}
{{- $full := include "eks-pod-identity-webhook.fullname" . }}
- --tls-self-managed
- --tls-secret-name={{ include "eks-pod-identity-webhook.tlsSecretName" . }}
- --tls-service-name={{ $full }}
{{- if .Values.controlPlane.enabled }}
- --tls-server-name={{ include "eks-pod-identity-webhook.loopback" . }}
{{- end }}
- --webhook-configuration-name={{ $full }}
- --namespace={{ include "eks-pod-identity-webhook.namespace" . }}
{{- with .Values.tls.clusterDomain }}
- --tls-cluster-domain={{ . }}
{{- end }}
{{- range $key, $value := omit .Values.tls.selfManaged "secretName" }}
{{- with $value }}
- --tls-{{ kebabcase $key }}={{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- include "eks-pod-identity-webhook.settingArgs" (include "eks-pod-identity-webhook.config" . | fromYaml) }}
{{- if include "eks-pod-identity-webhook.restrictsMappings" . }}
- {{ printf "--role-policy=%s" .Values.rolePolicy.default | quote }}
{{- end }}
{{- end }}

{{/* Settings as flags: `awsRegion: x` as `--aws-region=x`, and a list as one flag for each item. */}}
{{- define "eks-pod-identity-webhook.settingArgs" -}}
{{- range $key, $value := . }}
{{- range (kindIs "slice" $value | ternary $value (list $value)) }}
- {{ printf "--%s=%s" (kebabcase $key) (include "eks-pod-identity-webhook.text" .) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The arguments of `audit`, which expects pods to be as `serve` makes them. */}}
{{- define "eks-pod-identity-webhook.auditArgs" -}}
{{- $settings := include "eks-pod-identity-webhook.config" . | fromYaml }}
- audit
- --excluded-namespaces={{ include "eks-pod-identity-webhook.excludedNamespaces" . | fromYamlArray | join "," }}
{{- if eq (include "eks-pod-identity-webhook.watchesConfigMap" .) "true" }}
- --config-map-namespace={{ include "eks-pod-identity-webhook.namespace" . }}
{{- end }}
{{- if .Values.rolePolicy.enabled }}
- {{ printf "--role-policy=%s" .Values.rolePolicy.default | quote }}
{{- end }}
{{- range include "eks-pod-identity-webhook.auditSettings" . | fromYamlArray }}
{{- if hasKey $settings . }}
{{- include "eks-pod-identity-webhook.settingArgs" (pick $settings .) }}
{{- end }}
{{- end }}
{{- range .Values.checks.audit.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* The settings of `serve` that `audit` has as well. */}}
{{- define "eks-pod-identity-webhook.auditSettings" -}}
[annotationPrefix, awsAccountId, awsPartition, awsRegion, compat, containerCredentialsAudience,
 containerCredentialsFullUri, containerCredentialsTokenMountPath, containerCredentialsTokenPath,
 containerCredentialsTokenVolumeName, context, injectEnv, kubeconfig, sessionName, stsRegionalEndpoints, tokenAudience, tokenExpiration,
 tokenMountPath, tokenVolumeName, watchContainerCredentialsConfig]
{{- end }}

{{/* The arguments of `doctor`, which `helm test` runs. */}}
{{- define "eks-pod-identity-webhook.doctorArgs" -}}
- doctor
- --namespace={{ include "eks-pod-identity-webhook.namespace" . }}
- --webhook-configuration-name={{ include "eks-pod-identity-webhook.fullname" . }}
- --as-service-account={{ include "eks-pod-identity-webhook.serviceAccountName" . }}
{{- if eq .Values.tls.mode "selfManaged" }}
- --tls-secret-name={{ include "eks-pod-identity-webhook.tlsSecretName" . }}
{{- end }}
{{- with include "eks-pod-identity-webhook.setting" (list . "tokenAudience" "") }}
- {{ printf "--token-audience=%s" . | quote }}
{{- end }}
{{- with .Values.test.serviceAccount }}
- --service-account={{ . }}
{{- end }}
{{- include "eks-pod-identity-webhook.authoritiesArgs" . }}
{{- end }}
