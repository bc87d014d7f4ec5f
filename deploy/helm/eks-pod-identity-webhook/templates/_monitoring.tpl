{{/* What the Prometheus Operator and Grafana read. */}}

{{/* The metadata of an object with its own namespace, labels and annotations: (list . .Values.serviceMonitor). */}}
{{- define "eks-pod-identity-webhook.monitorMetadata" -}}
{{- with index . 1 }}
{{- dict "root" (index $ 0) "namespace" .namespace "labels" .labels "annotations" .annotations
    | include "eks-pod-identity-webhook.metadata" }}
{{- end }}
{{- end }}

{{/* What a ServiceMonitor or PodMonitor selects: (list . .Values.serviceMonitor). */}}
{{- define "eks-pod-identity-webhook.monitorSelector" -}}
{{- $root := index . 0 }}
{{- $namespace := include "eks-pod-identity-webhook.namespace" $root -}}
selector:
  matchLabels: {{- include "eks-pod-identity-webhook.selectorLabels" $root | nindent 4 }}
{{- if ne $namespace ((index . 1).namespace | default $namespace) }}
namespaceSelector:
  matchNames: [{{ $namespace }}]
{{- end }}
{{- end }}

{{/* Where metrics are, from the values of a monitor. */}}
{{- define "eks-pod-identity-webhook.monitorEndpoint" -}}
- port: admin
  path: /metrics
  {{- with .interval }}
  interval: {{ . }}
  {{- end }}
  {{- with .scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  {{- if .honorLabels }}
  honorLabels: true
  {{- end }}
  {{- with .relabelings }}
  relabelings: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .metricRelabelings }}
  metricRelabelings: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The same of a PodMonitor: (list . .Values.podMonitor). On the control plane no port is declared that it could name. */}}
{{- define "eks-pod-identity-webhook.podMonitorEndpoint" -}}
{{- $root := index . 0 }}
{{- $endpoint := include "eks-pod-identity-webhook.monitorEndpoint" (index . 1) | fromYamlArray | first }}
{{- if $root.Values.controlPlane.enabled }}
{{- $container := dict "action" "keep" "sourceLabels" (list "__meta_kubernetes_pod_container_name") "regex" "webhook" }}
{{- $port := dict "sourceLabels" (list "__meta_kubernetes_pod_ip") "targetLabel" "__address__"
    "replacement" (printf "$1:%d" (int $root.Values.controlPlane.adminPort)) }}
{{- $relabelings := concat (list $container $port) ($endpoint.relabelings | default list) }}
{{- $endpoint = merge (dict "relabelings" $relabelings) (omit $endpoint "port") }}
{{- end }}
{{- list $endpoint | toYaml }}
{{- end }}

{{/* The groups of files/rules.yaml, without the disabled alerts, with the overrides and links to the runbook. */}}
{{- define "eks-pod-identity-webhook.ruleGroups" -}}
{{- $values := .Values.prometheusRule }}
{{- $alerts := list }}
{{- $groups := list }}
{{- range $group := (.Files.Get "files/rules.yaml" | fromYaml).groups }}
{{- $rules := list }}
{{- range $rule := $group.rules }}
{{- $alerts = append $alerts $rule.alert }}
{{- if not (has $rule.alert ($values.disabled | default list)) }}
{{- $rules = append $rules (include "eks-pod-identity-webhook.rule" (list $ $rule) | fromYaml) }}
{{- end }}
{{- end }}
{{- with $rules }}
{{- $groups = append $groups (set $group "rules" .) }}
{{- end }}
{{- end }}
{{- range concat ($values.disabled | default list) (keys ($values.overrides | default dict)) }}
{{- if not (has . $alerts) }}
{{- fail (printf "prometheusRule: there is no alert %s, see files/rules.yaml of the chart" .) }}
{{- end }}
{{- end }}
{{- toYaml $groups }}
{{- end }}

{{/* One rule of files/rules.yaml, as the values want it: (list . $rule). */}}
{{- define "eks-pod-identity-webhook.rule" -}}
{{- $values := (index . 0).Values }}
{{- $rule := index . 1 }}
{{- if $rule.alert }}
{{- $override := get ($values.prometheusRule.overrides | default dict) $rule.alert | default dict }}
{{- with $override.for }}{{ $_ := set $rule "for" . }}{{ end }}
{{- with $override.severity }}{{ $_ := set $rule.labels "severity" . }}{{ end }}
{{- with $values.runbookUrl }}{{ $_ := set $rule.annotations "runbook_url" (printf "%s#%s" . (lower $rule.alert)) }}{{ end }}
{{- end }}
{{- toYaml $rule }}
{{- end }}

{{/* Links panels to the section of the runbook that their description names: (list $panels $url). */}}
{{- define "eks-pod-identity-webhook.linkPanels" -}}
{{- $url := index . 1 }}
{{- range $panel := index . 0 }}
{{- with regexFind "Runbook: [A-Za-z]+" ($panel.description | default "") }}
{{- $section := trimPrefix "Runbook: " . | lower }}
{{- $link := dict "type" "link" "title" "Runbook" "icon" "doc" "targetBlank" true "url" (printf "%s#%s" $url $section) }}
{{- $_ := list $link | set $panel "links" }}
{{- end }}
{{- include "eks-pod-identity-webhook.linkPanels" (list ($panel.panels | default list) $url) }}
{{- end }}
{{- end }}

{{/* A dashboard, with links to the runbook: (list . "files/dashboards/overview.json"). Without a URL, the file as it is. */}}
{{- define "eks-pod-identity-webhook.dashboard" -}}
{{- $root := index . 0 }}
{{- $text := $root.Files.Get (index . 1) }}
{{- with $root.Values.runbookUrl }}
{{- $dashboard := fromJson $text }}
{{- $link := dict "type" "link" "title" "Runbook" "icon" "doc" "targetBlank" true "tags" list "asDropdown" false
                  "includeVars" false "keepTime" false "tooltip" "What each alert means and what to do" "url" . }}
{{- include "eks-pod-identity-webhook.linkPanels" (list $dashboard.panels .) }}
{{- append ($dashboard.links | default list) $link | set $dashboard "links" | toPrettyJson }}
{{- else }}
{{- $text }}
{{- end }}
{{- end }}
