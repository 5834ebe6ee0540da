{{/* How edge and synthesis are scaled. "Component" is the dict of _names.tpl. */}}

{{/*
Pods of a Deployment: `replicas`, or the present number where an autoscaler decides. Without a number Kubernetes would
run one pod from the moment when the autoscaler is switched on to its first decision. Takes a component.
*/}}
{{- define "auralis.replicas" -}}
{{- $values := get .root.Values .component -}}
{{- if eq $values.autoscaling.type "none" -}}
{{- int $values.replicas -}}
{{- else -}}
{{- with lookup "apps/v1" "Deployment" .root.Release.Namespace (include "auralis.componentName" .) -}}
{{- .spec.replicas -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Up immediately; down one pod in two minutes, so that its listeners have moved before the next one goes. Takes a component. */}}
{{- define "auralis.scalingBehavior" -}}
{{- with (get .root.Values .component).autoscaling.behavior -}}
{{- toYaml . -}}
{{- else -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - {type: Percent, value: 100, periodSeconds: 15}
    - {type: Pods, value: 4, periodSeconds: 15}
scaleDown:
  stabilizationWindowSeconds: 300
  selectPolicy: Max
  policies:
    - {type: Pods, value: 1, periodSeconds: 120}
{{- end -}}
{{- end -}}

{{/* Listeners per edge that the autoscaler aims at: below maxConnections, so that there is capacity while a pod starts. Takes the root context. */}}
{{- define "auralis.edge.targetListeners" -}}
{{- $edge := .Values.edge -}}
{{- $edge.autoscaling.targetListeners | default (max 1 (div (mul $edge.maxConnections 7) 10)) | int -}}
{{- end -}}

{{/* The PromQL selector of a component's series in this release. Takes a component. */}}
{{- define "auralis.promqlSelector" -}}
{{- printf "{namespace=%q,pod=~%q}" .root.Release.Namespace (printf "%s-.*" (include "auralis.componentName" .)) -}}
{{- end -}}

{{/*
PromQL: workers needed at full use of each. Demand is the larger of rendered streams (a block is a second of a stream,
shared by all edges) and the streams that the busiest edge asks for: the first is exact, the second exists before the
first block and without any worker. Takes the root context.
*/}}
{{- define "auralis.synthesis.loadQuery" -}}
{{- $edge := include "auralis.promqlSelector" (dict "root" . "component" "edge") -}}
{{- $synthesis := include "auralis.promqlSelector" (dict "root" . "component" "synthesis") -}}
{{- $rendered := printf "label_replace(sum(rate(auralis_render_blocks_total%s[2m])), \"of\", \"rendered\", \"\", \"\")" $synthesis -}}
{{- $asked := printf "label_replace(max(auralis_render_demand_streams%s), \"of\", \"asked\", \"\", \"\")" $edge -}}
{{- $capacity := printf "(avg(auralis_render_capacity_streams%s > 0) or vector(%v))" $synthesis .Values.synthesis.autoscaling.assumedStreamsPerWorker -}}
{{- printf "max(%s or %s) / %s" $rendered $asked $capacity -}}
{{- end -}}
