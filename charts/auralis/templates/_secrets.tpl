{{/*
Secrets that the chart generates. Helm makes them as hooks and forgets them: no upgrade and no rollback writes a password again
that was changed meanwhile. A hook is rendered only where its Secret is missing, or lacks a key.
*/}}

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

{{/*
The same of a Secret that an earlier chart generated under that name; nothing once its texts have been taken over, or a deleted
Secret would get its old password again. Takes root and name.
*/}}
{{- define "auralis.earlierData" -}}
{{- with lookup "v1" "Secret" .root.Release.Namespace .name -}}
{{- if not (get (.metadata.annotations | default dict) "auralis/taken-over") -}}
{{- toYaml (.data | default dict) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The data of a generated Secret as YAML: what is in the cluster, what an earlier chart generated under another name, new texts.
Takes root, name, earlier, and keys: key -> name of the generated text.
*/}}
{{- define "auralis.keptData" -}}
{{- $found := include "auralis.foundSecret" . | fromYaml -}}
{{- $earlier := include "auralis.earlierData" (dict "root" .root "name" .earlier) | fromYaml -}}
{{- range $key, $text := .keys }}
{{ $key }}: {{ get $found $key | default (get $earlier $key) | default (include "auralis.generated" (dict "root" $.root "name" $text) | b64enc) }}
{{- end }}
{{- end -}}

{{/* A generated Secret. Takes a component, name, type and data (YAML). */}}
{{- define "auralis.keptSecret" -}}
{{- $found := include "auralis.foundSecret" . | fromYaml -}}
{{- $missing := list -}}
{{- range $key, $_ := .data | fromYaml -}}
{{- if not (hasKey $found $key) -}}{{- $missing = append $missing $key -}}{{- end -}}
{{- end -}}
{{- if $missing -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "auralis.labels" . | nindent 4 }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    # Argo CD renders without looking into the cluster; it would make new passwords at each sync.
    argocd.argoproj.io/hook: Skip
type: {{ .type }}
data:
  {{- .data | trim | nindent 2 }}
{{- end -}}
{{- end -}}

{{/*
A Secret that an earlier chart made, as it is in the cluster: pods of that chart need it while an upgrade replaces them, and a
rollback to it. A new installation has none. Takes a component, name and type.
*/}}
{{- define "auralis.earlierSecret" -}}
{{- with include "auralis.foundSecret" . -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ $.name }}
  namespace: {{ $.root.Release.Namespace }}
  labels:
    {{- include "auralis.labels" $ | nindent 4 }}
  annotations:
    auralis/taken-over: "true"
type: {{ $.type }}
data:
  {{- . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The Secret with `jwt-key`. Takes the root context. */}}
{{- define "auralis.edge.secretName" -}}
{{- .Values.edge.existingSecret | default (include "auralis.componentName" (dict "root" . "component" "edge")) -}}
{{- end -}}

{{/* The Secret with `resume-secret`. Takes the root context. */}}
{{- define "auralis.edge.resumeSecretName" -}}
{{- .Values.edge.existingSecret | default (printf "%s-resume" (include "auralis.edge.secretName" .)) -}}
{{- end -}}

{{/* All edges sign resume tokens with one key, so that any edge accepts them, also after an upgrade. Takes the root context. */}}
{{- define "auralis.edge.resumeData" -}}
{{- include "auralis.keptData" (dict "root" . "name" (include "auralis.edge.resumeSecretName" .) "earlier" (include "auralis.edge.secretName" .) "keys" (dict "resume-secret" "resume-secret")) | trim -}}
{{- end -}}

{{/* In pod annotations: a changed key restarts the edges. Takes the root context. */}}
{{- define "auralis.edge.secretData" -}}
{{- if .Values.edge.existingSecret -}}
{{- include "auralis.foundSecret" (dict "root" . "name" .Values.edge.existingSecret) -}}
{{- else -}}
{{- include "auralis.edge.resumeData" . }}
{{- if .Values.edge.jwt.enabled }}
jwt-key: {{ .Values.edge.jwt.key | b64enc }}
{{- end }}
{{- end -}}
{{- end -}}
