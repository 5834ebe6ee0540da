{{/* Where a pod may run: node selector, tolerations, affinity, spread and priority. Takes a component (_names.tpl). */}}
{{- define "auralis.placement" -}}
{{- $values := get .root.Values .component -}}
{{- $nodeSelector := $values.nodeSelector -}}
{{- $tolerations := $values.tolerations -}}
{{- if include "auralis.usesGpu" . -}}
{{- $nodeSelector = merge (deepCopy $values.nodeSelector) $values.gpu.nodeSelector -}}
{{- $tolerations = concat $values.tolerations $values.gpu.tolerations -}}
{{- end -}}
{{- with $nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $affinity := include "auralis.affinity" . | fromYaml }}
{{- with $values.affinity | default $affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if ne ($values.topologySpread | default "none") "none" }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $values.topologySpread }}
    labelSelector:
      matchLabels:
        {{- include "auralis.selector" $ | nindent 8 }}
    {{- /* Each version is spread by itself, so that an upgrade does not count the old pods. */}}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- with include "auralis.priorityClassName" . }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* "true" if the pod needs a GPU, else empty. Takes a component. */}}
{{- define "auralis.usesGpu" -}}
{{- if and (eq .component "synthesis") (eq .root.Values.synthesis.device "cuda") -}}
true
{{- end -}}
{{- end -}}

{{/* The affinity that gpuNodes and antiAffinity make. Takes a component. */}}
{{- define "auralis.affinity" -}}
{{- $gpuNodes := .root.Values.gpuNodes -}}
{{- if and (not (include "auralis.usesGpu" .)) (ne $gpuNodes.avoid "none") }}
nodeAffinity:
  {{- if eq $gpuNodes.avoid "required" }}
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
      - matchExpressions:
          - {key: {{ $gpuNodes.label }}, operator: NotIn, values: ["true"]}
  {{- else }}
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      preference:
        matchExpressions:
          - {key: {{ $gpuNodes.label }}, operator: NotIn, values: ["true"]}
  {{- end }}
{{- end }}
{{- $antiAffinity := (get .root.Values .component).antiAffinity | default "none" }}
{{- if eq $antiAffinity "hard" }}
podAntiAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- include "auralis.selector" . | nindent 10 }}
{{- else if eq $antiAffinity "soft" }}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 50
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "auralis.selector" . | nindent 12 }}
{{- end }}
{{- end -}}

{{/* Takes a component. */}}
{{- define "auralis.priorityClassName" -}}
{{- $levels := dict "edge" "delivery" "nats" "delivery" "synthesis" "rendering" "telemetry" "watching" -}}
{{- with (get .root.Values .component).priorityClassName -}}
{{- . -}}
{{- else -}}
{{- if .root.Values.priorityClasses.create -}}
{{- include "auralis.priorityClass" (dict "root" .root "level" (get $levels .component)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
