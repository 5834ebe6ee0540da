{{/* The resource by which a worker asks for a GPU, such as nvidia.com/gpu. Takes the root context. */}}
{{- define "auralis.synthesis.gpuResource" -}}
{{- $gpu := .Values.synthesis.gpu -}}
{{- if $gpu.resource -}}
{{- $gpu.resource -}}
{{- else if eq $gpu.sharing "mig" -}}
nvidia.com/mig-{{ $gpu.migProfile }}
{{- else if eq $gpu.sharing "time-slicing" -}}
nvidia.com/gpu.shared
{{- else -}}
nvidia.com/gpu
{{- end -}}
{{- end -}}

{{/* Resources of a worker, with its GPUs. Takes the root context. */}}
{{- define "auralis.synthesis.resources" -}}
{{- $synthesis := .Values.synthesis -}}
{{- $resources := deepCopy $synthesis.resources -}}
{{- if eq $synthesis.device "cuda" -}}
{{- $limits := $resources.limits | default dict -}}
{{- $_ := set $limits (include "auralis.synthesis.gpuResource" .) $synthesis.gpu.count -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
