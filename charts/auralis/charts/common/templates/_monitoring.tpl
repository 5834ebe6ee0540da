{{/*
A monitor for the Prometheus operator. `scrapeScope` in the scope becomes ?scope=. Series get the labels `service` and
`instance` that telemetry gives them too, so that rules and dashboards work with either.
*/}}
{{- define "auralis.monitor" -}}
{{- $monitoring := .root.Values.monitoring -}}
{{- if ne $monitoring.monitors "none" }}
{{- if eq $monitoring.monitors "ServiceMonitor" }}
apiVersion: v1
kind: Service
{{ include "auralis.metadata" (merge (dict "suffix" "internal" "moreLabels" (dict "auralis/internal" "true")) .) }}
spec:
  clusterIP: None
  # Metrics of a pod that is not ready are the interesting ones.
  publishNotReadyAddresses: true
  selector:
    {{- include "auralis.selector" . | nindent 4 }}
  ports:
    - {name: internal, port: {{ .root.Values.settings.internalPort }}, targetPort: internal}
---
{{- end }}
apiVersion: monitoring.coreos.com/v1
kind: {{ $monitoring.monitors }}
{{ include "auralis.metadata" (merge (dict "moreLabels" $monitoring.labels) .) }}
spec:
  # `auralis` whatever the release is called: the alert of silent processes goes by it.
  jobLabel: app.kubernetes.io/name
  selector:
    matchLabels:
      {{- include "auralis.selector" . | nindent 6 }}
      {{- if eq $monitoring.monitors "ServiceMonitor" }}
      auralis/internal: "true"
      {{- end }}
  {{ eq $monitoring.monitors "PodMonitor" | ternary "podMetricsEndpoints" "endpoints" }}:
    - port: internal
      path: /metrics
      {{- with .scrapeScope }}
      params: {scope: [{{ . }}]}
      {{- end }}
      interval: {{ $monitoring.interval }}
      scrapeTimeout: {{ $monitoring.scrapeTimeout }}
      relabelings:
        - {sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_component], targetLabel: service}
        - {sourceLabels: [__meta_kubernetes_pod_name], targetLabel: instance}
{{- end }}
{{- end -}}

{{/* A duration such as 15s in milliseconds. */}}
{{- define "auralis.milliseconds" -}}
{{- $factor := get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+$" .) -}}
{{- mul (regexFind "^[0-9]+" . | int64) $factor -}}
{{- end -}}
