{{/*
Names, labels and images. A helper takes the chart's root context ($) or, where it says "component", a dict of
  root       the chart's root context
  component  "edge", "synthesis", "telemetry", "nats"; for labels and names alone also others, such as "test"
*/}}

{{/* The prefix of all object names. Takes the root context. */}}
{{- define "auralis.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of a component's objects. Takes a component. */}}
{{- define "auralis.componentName" -}}
{{- printf "%s-%s" (include "auralis.fullname" .root) .component -}}
{{- end -}}

{{/* Labels that select the pods of a release. Takes the root context. */}}
{{- define "auralis.releaseSelector" -}}
app.kubernetes.io/name: auralis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels that select the pods of a component. A Deployment's selector is immutable: never change them. Takes a component. */}}
{{- define "auralis.selector" -}}
{{ include "auralis.releaseSelector" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of an object. Takes a component. */}}
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

{{/* Labels of a pod: without a version, so that a new chart restarts only the pods that it changes. Takes a component. */}}
{{- define "auralis.podLabels" -}}
{{ include "auralis.selector" . }}
app.kubernetes.io/part-of: auralis
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with (get .root.Values .component).podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The image of a component. The registry and tag of `image` are those of the Auralis images, so NATS has its own. Takes a component. */}}
{{- define "auralis.image" -}}
{{- $all := .root.Values.image -}}
{{- $image := (get .root.Values .component).image -}}
{{- $repository := $image.repository -}}
{{- $tag := $image.tag -}}
{{- if ne .component "nats" -}}
{{- $tag = $tag | default $all.tag | default .root.Chart.AppVersion -}}
{{- with $all.registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository $tag -}}
{{- end -}}
{{- end -}}

{{/* Takes a component. */}}
{{- define "auralis.serviceAccountName" -}}
{{- $account := (get .root.Values .component).serviceAccount -}}
{{- $account.name | default ($account.create | ternary (include "auralis.componentName" .) "default") -}}
{{- end -}}

{{/* A PriorityClass belongs to the whole cluster, so its name holds the namespace. Takes root and level. */}}
{{- define "auralis.priorityClass" -}}
{{- printf "%s-%s-%s" .root.Release.Namespace (include "auralis.fullname" .root) .level -}}
{{- end -}}

{{/* The address of telemetry inside the cluster. Takes the root context. */}}
{{- define "auralis.telemetryUrl" -}}
{{- printf "http://%s-telemetry.%s.svc.%s:%v" (include "auralis.fullname" .) .Release.Namespace .Values.clusterDomain .Values.telemetry.service.port -}}
{{- end -}}
