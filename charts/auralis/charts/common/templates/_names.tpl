{{/*
Every template takes a scope: a dict of
  root    the chart's own context ($)
  part    "synthesis", "edge", "telemetry" or "nats"
  values  that part's values
*/}}

{{- define "auralis.fullname" -}}
{{- $values := .root.Values -}}
{{- if $values.fullnameOverride -}}
{{- $values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := $values.nameOverride | default .root.Chart.Name -}}
{{- if contains $name .root.Release.Name -}}
{{- .root.Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .root.Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The prefix of a part's objects. Takes a scope. */}}
{{- define "auralis.partname" -}}
{{- printf "%s-%s" (include "auralis.fullname" .) .part -}}
{{- end -}}

{{/* What a part's pods are found by; it may never change. */}}
{{- define "auralis.selector" -}}
app.kubernetes.io/name: auralis
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "auralis.labels" -}}
{{ include "auralis.selector" . }}
app.kubernetes.io/part-of: auralis
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of pods have no version in them: a new chart restarts only what it changes. */}}
{{- define "auralis.podLabels" -}}
{{ include "auralis.selector" . }}
app.kubernetes.io/part-of: auralis
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with .values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Name, namespace and labels. The scope may hold
  suffix       of the name
  annotations  a dict
  moreLabels   a dict
*/}}
{{- define "auralis.metadata" -}}
metadata:
  name: {{ include "auralis.partname" . }}{{ with .suffix }}-{{ . }}{{ end }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "auralis.labels" . | nindent 4 }}
    {{- with .moreLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "auralis.image" -}}
{{- $image := .values.image -}}
{{- $repository := $image.repository -}}
{{- if ne .part "nats" -}}
{{- with .root.Values.image.registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else if eq .part "nats" -}}
{{- printf "%s:%s" $repository $image.tag -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "auralis.serviceAccountName" -}}
{{- if .values.serviceAccount.create -}}
{{- .values.serviceAccount.name | default (include "auralis.partname" .) -}}
{{- else -}}
{{- .values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* No service account of ours has a token mounted by itself; a pod that needs one says so. */}}
{{- define "auralis.serviceAccount" -}}
{{- if .values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "auralis.serviceAccountName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "auralis.labels" . | nindent 4 }}
  {{- with .values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end -}}

{{- define "auralis.priorityClassName" -}}
{{- $level := dict "edge" "delivery" "nats" "delivery" "synthesis" "rendering" "telemetry" "watching" -}}
{{- if .values.priorityClassName -}}
{{- .values.priorityClassName -}}
{{- else if .root.Values.priorityClasses.create -}}
{{- include "auralis.priorityClass" (dict "root" .root "level" (get $level .part)) -}}
{{- end -}}
{{- end -}}

{{/* They belong to the whole cluster, so the namespace is in their names. Takes root and level. */}}
{{- define "auralis.priorityClass" -}}
{{- printf "%s-%s-%s" .root.Release.Namespace (include "auralis.fullname" .) .level -}}
{{- end -}}
