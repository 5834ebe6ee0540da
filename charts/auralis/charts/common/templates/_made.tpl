{{/*
What the chart makes up itself. Templates are evaluated one by one and a random value would be another one in each, so
what was made is kept for the rest of the rendering. Letters and digits, a letter first: NATS reads it as a text.
*/}}
{{- define "auralis.once" -}}
{{- $made := get .root.Values "_made" | default dict -}}
{{- $_ := set .root.Values "_made" $made -}}
{{- if not (hasKey $made .name) -}}
{{- $_ := set $made .name (printf "a%s" (randAlphaNum 31)) -}}
{{- end -}}
{{- get $made .name -}}
{{- end -}}

{{/* The data of a Secret that is in the cluster, as YAML; nothing where it is not, or without a cluster. Takes root and name. */}}
{{- define "auralis.foundSecret" -}}
{{- with lookup "v1" "Secret" .root.Release.Namespace .name -}}
{{- toYaml (.data | default dict) -}}
{{- end -}}
{{- end -}}
