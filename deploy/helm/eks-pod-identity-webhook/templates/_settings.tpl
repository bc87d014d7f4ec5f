{{/* Settings of the program, from `config`, `env` and the values that imply one. */}}

{{/* A scalar as text. Helm reads every number as a float, and would print 67108864 as 6.7108864e+07. */}}
{{- define "eks-pod-identity-webhook.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ printf "%.0f" . }}{{ else }}{{ toString . }}{{ end }}
{{- end }}

{{/* The settings that are set, as YAML: `config` without nulls, and what `roleMappings` and `containerCredentials` imply. */}}
{{- define "eks-pod-identity-webhook.config" -}}
{{- $config := dict }}
{{- range $key, $value := .Values.config }}
{{- if not (kindIs "invalid" $value) }}
{{- $_ := set $config $key $value }}
{{- end }}
{{- end }}
{{- if .Values.roleMappings }}
{{- if and (hasKey $config "watchConfigMap") (not $config.watchConfigMap) }}
{{- fail "roleMappings has entries, but config.watchConfigMap is false: remove one of the two" }}
{{- end }}
{{- $_ := set $config "watchConfigMap" true }}
{{- end }}
{{- if .Values.containerCredentials }}
{{- if hasKey $config "watchContainerCredentialsConfig" }}
{{- fail "containerCredentials and config.watchContainerCredentialsConfig are both set: remove one of the two" }}
{{- end }}
{{- $_ := set $config "watchContainerCredentialsConfig" "/etc/webhook/container-credentials/identities.json" }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* A setting as the program will see it: (list . "drainDelay" "5s"). The last item is the program's default. */}}
{{- define "eks-pod-identity-webhook.setting" -}}
{{- $root := index . 0 }}
{{- $key := index . 1 }}
{{- $config := include "eks-pod-identity-webhook.config" $root | fromYaml }}
{{- $variable := $key | snakecase | upper }}
{{- if hasKey $config $key }}{{ include "eks-pod-identity-webhook.text" (get $config $key) }}
{{- else if hasKey ($root.Values.env | default dict) $variable }}{{ include "eks-pod-identity-webhook.text" (get $root.Values.env $variable) }}
{{- else }}{{ index . 2 }}
{{- end }}
{{- end }}

{{/* An annotation or label of the webhook's: (list . "skip-pod-identity-webhook"). */}}
{{- define "eks-pod-identity-webhook.key" -}}
{{- $prefix := include "eks-pod-identity-webhook.setting" (list (index . 0) "annotationPrefix" "eks.amazonaws.com") }}
{{- printf "%s/%s" (trimSuffix "/" $prefix) (index . 1) }}
{{- end }}

{{/* "true" if the program gives roles by the ConfigMap `pod-identity-webhook`. */}}
{{- define "eks-pod-identity-webhook.watchesConfigMap" -}}
{{- include "eks-pod-identity-webhook.setting" (list . "watchConfigMap" "false") }}
{{- end }}

{{/* "true" if the program gives roles of that ConfigMap only to namespaces that permit them. */}}
{{- define "eks-pod-identity-webhook.restrictsMappings" -}}
{{- $policy := .Values.rolePolicy }}
{{- if and $policy.enabled (eq $policy.action "Deny") (eq (include "eks-pod-identity-webhook.watchesConfigMap" .) "true") }}true{{ end }}
{{- end }}

{{/* A duration such as 1m30s in seconds, rounded up. */}}
{{- define "eks-pod-identity-webhook.seconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 }}
{{- $milliseconds := 0 }}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 }}
{{- $unit := get $units (regexFind "[a-z]+" .) }}
{{- $milliseconds = add $milliseconds (mul (regexFind "[0-9]+" . | int64) $unit) }}
{{- end }}
{{- div (add $milliseconds 999) 1000 }}
{{- end }}

{{/* The settings of `config` and `env` that only the program reads, as a YAML list. */}}
{{- define "eks-pod-identity-webhook.settingsWithoutEffect" -}}
{{- $policy := list "annotationPrefix" "awsAccountId" "awsPartition" "awsRegion" "injectEnv" "sessionName" "stsRegionalEndpoints"
                    "tokenAudience" "tokenExpiration" "tokenMountPath" "tokenVolumeName" }}
{{- $ignored := list }}
{{- range $key, $_ := include "eks-pod-identity-webhook.config" . | fromYaml }}
{{- if not (has $key $policy) }}{{ $ignored = append $ignored (printf "config.%s" $key) }}{{ end }}
{{- end }}
{{- range $variable, $_ := .Values.env }}
{{- if not (has ($variable | lower | camelcase | untitle) $policy) }}{{ $ignored = append $ignored (printf "env.%s" $variable) }}{{ end }}
{{- end }}
{{- toYaml $ignored }}
{{- end }}
