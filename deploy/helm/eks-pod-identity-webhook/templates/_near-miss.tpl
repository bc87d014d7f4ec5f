{{/* Near misses of annotation keys, in CEL: the rules of src/injection/near_miss.rs, and the names of src/injection/annotation.rs. */}}

{{/* The annotations of ServiceAccounts, without the prefix. */}}
{{- define "eks-pod-identity-webhook.annotationNames" -}}
[role-arn, audience, token-expiration, sts-regional-endpoints, region, skip-containers, include-containers, session-name]
{{- end }}

{{/* Whether the text `written` is a CEL string but for one place of at most so many characters in either:
     (list "written" "eks.amazonaws.com" 4). The place begins at `i`, and takes `k` characters of the string. */}}
{{- define "eks-pod-identity-webhook.isNear" -}}
{{- $written := index . 0 }}
{{- $text := index . 1 }}
{{- $window := index . 2 | int -}}
[{{ untilStep 0 (add1 (len $text) | int) 1 | join ", " }}].exists(i, [{{ untilStep 0 (add1 $window | int) 1 | join ", " }}].exists(k,
  i + k <= {{ len $text }} && {{ $written }}.startsWith('{{ $text }}'.substring(0, i)) && {{ $written }}.endsWith('{{ $text }}'.substring(i + k))
  && size({{ $written }}) >= {{ len $text }} - k && size({{ $written }}) <= {{ add (len $text) $window }} - k))
{{- end }}

{{/* Whether the prefix `written` is nearly ours. */}}
{{- define "eks-pod-identity-webhook.isPrefixMeant" -}}
{{- include "eks-pod-identity-webhook.isNear" (list "written" . 4) }}
{{- if eq . "eks.amazonaws.com" }} ||
written in ['eks.aws.com', 'aws.amazon.com', 'eks.aws.amazon.com']
{{- end }}
{{- end }}
