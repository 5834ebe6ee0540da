{{/* Secrets that the chart generates and keeps over upgrades. */}}

{{/*
A random text of letters and digits. Each template is rendered by itself, so the text is stored for the others that
include it by the same name. It begins with a letter, because NATS reads a text that begins with a digit as a number.
Takes root and name.
*/}}
{{- define "auralis.generated" -}}
{{- $made := get .root.Values "_made" | default dict -}}
{{- $_ := set .root.Values "_made" $made -}}
{{- if not (hasKey $made .name) -}}
{{- $_ := set $made .name (printf "a%s" (randAlphaNum 31)) -}}
{{- end -}}
{{- get $made .name -}}
{{- end -}}

{{/* The data of a Secret in the cluster as YAML; nothing if the Secret does not exist, or without a cluster. Takes root and name. */}}
{{- define "auralis.foundSecret" -}}
{{- with lookup "v1" "Secret" .root.Release.Namespace .name -}}
{{- toYaml (.data | default dict) -}}
{{- end -}}
{{- end -}}

{{/* Takes the root context. */}}
{{- define "auralis.edge.secretName" -}}
{{- .Values.edge.existingSecret | default (include "auralis.componentName" (dict "root" . "component" "edge")) -}}
{{- end -}}

{{/* All edges sign resume tokens with one key, so that any edge accepts them, also after an upgrade. Takes the root context. */}}
{{- define "auralis.edge.secretData" -}}
{{- $found := include "auralis.foundSecret" (dict "root" . "name" (include "auralis.edge.secretName" .)) | fromYaml -}}
{{- if .Values.edge.existingSecret -}}
{{- toYaml $found -}}
{{- else -}}
{{- $made := include "auralis.generated" (dict "root" . "name" "resume-secret") -}}
resume-secret: {{ index $found "resume-secret" | default ($made | b64enc) }}
{{- if .Values.edge.jwt.enabled }}
jwt-key: {{ .Values.edge.jwt.key | b64enc }}
{{- end }}
{{- end -}}
{{- end -}}
