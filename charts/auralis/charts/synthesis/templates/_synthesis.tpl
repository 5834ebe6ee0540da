{{/* Everything a worker is; the scope gets what depends on the device. */}}
{{- define "auralis.synthesis" -}}
{{- $gpu := eq .values.device "cuda" -}}
{{- $scope := merge (dict "graceSeconds" .values.terminationGracePeriodSeconds) . -}}
{{- if $gpu -}}
{{- $_ := set $scope "gpu" true -}}
{{- $_ := set $scope "runtimeClassName" .values.gpu.runtimeClassName -}}
{{- end -}}
{{ include "auralis.serviceAccount" . }}
---
{{ include "auralis.deployment" $scope }}
---
{{ include "auralis.hpa" . }}
---
{{ include "auralis.scaledObject" . }}
---
{{ include "auralis.podDisruptionBudget" . }}
---
{{ include "auralis.monitor" . }}
---
{{ include "auralis.synthesis.networkPolicy" . }}
{{- end -}}

{{- define "auralis.synthesis.ports" -}}{{- end -}}

{{- define "auralis.synthesis.env" -}}
- {name: AURALIS_DEVICE, value: {{ .values.device }}}
- {name: GPU_BATCH_SIZE, value: {{ .values.batchSize | quote }}}
- {name: GPU_ENABLE_COMPILE, value: {{ .values.enableCompile | quote }}}
- name: OMP_NUM_THREADS
  {{- if .values.threads }}
  value: {{ .values.threads | quote }}
  {{- else }}
  # Else torch would start a thread for each core of the node.
  valueFrom:
    resourceFieldRef: {containerName: synthesis, resource: requests.cpu, divisor: "1"}
  {{- end }}
{{- end -}}

{{/* The name of what a worker asks the GPU nodes for. */}}
{{- define "auralis.synthesis.gpuResource" -}}
{{- $gpu := .values.gpu -}}
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

{{- define "auralis.synthesis.resources" -}}
{{- $resources := deepCopy .values.resources -}}
{{- if eq .values.device "cuda" -}}
{{- $limits := $resources.limits | default dict -}}
{{- $_ := set $limits (include "auralis.synthesis.gpuResource" .) .values.gpu.count -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* Out of work first: unfinished jobs go back to the queue, and other workers have them before they are due. */}}
{{- define "auralis.synthesis.lifecycle" -}}
lifecycle:
  preStop:
    httpGet: {path: /drain, port: internal}
{{- end -}}

{{/*
Workers needed if each were fully used; the target is a share of it. Demand is what is rendered (a block is a second of a
stream, however many edges share it) or what the busiest edge asks for, whichever is more: the one is exact, the other
is there before the first block and without any worker.
*/}}
{{- define "auralis.synthesis.load" -}}
{{- $edge := include "auralis.promqlSelector" (dict "root" .root "part" "edge") -}}
{{- $synthesis := include "auralis.promqlSelector" . -}}
{{- $rendered := printf "label_replace(sum(rate(auralis_render_blocks_total%s[2m])), \"of\", \"rendered\", \"\", \"\")" $synthesis -}}
{{- $asked := printf "label_replace(max(auralis_render_demand_streams%s), \"of\", \"asked\", \"\", \"\")" $edge -}}
{{- $capacity := printf "(avg(auralis_render_capacity_streams%s > 0) or vector(%v))" $synthesis .values.autoscaling.assumedStreamsPerWorker -}}
{{- printf "max(%s or %s) / %s" $rendered $asked $capacity -}}
{{- end -}}

{{- define "auralis.synthesis.hpaMetrics" -}}
# k8s/prometheus-adapter.yaml makes it: demanded streams over streams that one worker renders.
- type: External
  external:
    metric:
      name: auralis_render_load_workers
      selector:
        matchLabels: {namespace: {{ .root.Release.Namespace }}}
    target:
      type: AverageValue
      averageValue: {{ printf "%dm" (mul .values.autoscaling.targetUtilization 10) }}
{{- end -}}

{{- define "auralis.synthesis.kedaTriggers" -}}
{{- $target := divf (float64 .values.autoscaling.targetUtilization) 100 | toString -}}
{{- if eq .values.autoscaling.keda.source "telemetry" -}}
- type: metrics-api
  metadata:
    url: {{ include "auralis.telemetryUrl" . }}/api/autoscale?assumed_streams={{ .values.autoscaling.assumedStreamsPerWorker }}
    valueLocation: synthesis.load_workers
    targetValue: {{ $target | quote }}
{{- else -}}
- type: prometheus
  metadata:
    serverAddress: {{ .values.autoscaling.keda.prometheusAddress }}
    query: {{ include "auralis.synthesis.load" . }}
    threshold: {{ $target | quote }}
    ignoreNullValues: "false"
{{- end -}}
{{- end -}}

{{- define "auralis.synthesis.networkPolicy" -}}
{{- if .root.Values.networkPolicy.enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
{{ include "auralis.metadata" . }}
spec:
  podSelector:
    matchLabels:
      {{- include "auralis.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- with include "auralis.monitoringIngress" . | trim }}
  ingress:
    {{- . | nindent 4 }}
  {{- end }}
  egress:
    {{- include "auralis.nats.egress" . | nindent 4 }}
{{- end }}
{{- end -}}
