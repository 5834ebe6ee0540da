{{/* Up at once; down one pod in two minutes, so that its listeners have moved before the next one goes. */}}
{{- define "auralis.scalingBehavior" -}}
{{- if .values.autoscaling.behavior -}}
{{- toYaml .values.autoscaling.behavior -}}
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

{{/* The part gives auralis.<part>.hpaMetrics. */}}
{{- define "auralis.hpa" -}}
{{- if eq .values.autoscaling.type "hpa" }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
{{ include "auralis.metadata" . }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "auralis.partname" . }}
  minReplicas: {{ .values.autoscaling.minReplicas }}
  maxReplicas: {{ .values.autoscaling.maxReplicas }}
  metrics:
    {{- include (printf "auralis.%s.hpaMetrics" .part) . | nindent 4 }}
  behavior:
    {{- include "auralis.scalingBehavior" . | nindent 4 }}
{{- end }}
{{- end -}}

{{/* The part gives auralis.<part>.kedaTriggers. */}}
{{- define "auralis.scaledObject" -}}
{{- if eq .values.autoscaling.type "keda" }}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
{{ include "auralis.metadata" . }}
spec:
  scaleTargetRef:
    name: {{ include "auralis.partname" . }}
  minReplicaCount: {{ .values.autoscaling.minReplicas }}
  maxReplicaCount: {{ .values.autoscaling.maxReplicas }}
  pollingInterval: {{ .values.autoscaling.keda.pollingInterval }}
  cooldownPeriod: {{ .values.autoscaling.keda.cooldownPeriod }}
  # What cannot be measured must not look like "nobody listens".
  fallback:
    failureThreshold: 3
    replicas: {{ .values.autoscaling.keda.fallbackReplicas }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        {{- include "auralis.scalingBehavior" . | nindent 8 }}
  triggers:
    {{- include (printf "auralis.%s.kedaTriggers" .part) . | nindent 4 }}
{{- end }}
{{- end -}}

{{/* Series of this release's pods of one part, as PromQL selects them. */}}
{{- define "auralis.promqlSelector" -}}
{{- printf "{namespace=%q,pod=~%q}" .root.Release.Namespace (printf "%s-%s-.*" (include "auralis.fullname" .) .part) -}}
{{- end -}}

{{- define "auralis.telemetryUrl" -}}
{{- $values := .root.Values -}}
{{- printf "http://%s-telemetry.%s.svc.%s:%v" (include "auralis.fullname" .) .root.Release.Namespace $values.clusterDomain $values.telemetry.service.port -}}
{{- end -}}
