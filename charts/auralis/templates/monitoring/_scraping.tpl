{{/*
How a component is scraped. The labels `service` and `instance` are those that telemetry gives its series, so that alerts
and dashboards work with either source. Takes a component (_names.tpl).
*/}}
{{- define "auralis.scrapeEndpoint" -}}
- port: internal
  path: /metrics
  {{- if eq .component "telemetry" }}
  # Without it telemetry answers with the series of the whole fleet.
  params: {scope: [self]}
  {{- end }}
  interval: {{ .root.Values.monitoring.interval }}
  scrapeTimeout: {{ .root.Values.monitoring.scrapeTimeout }}
  relabelings:
    - {sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_component], targetLabel: service}
    - {sourceLabels: [__meta_kubernetes_pod_name], targetLabel: instance}
    - {sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_instance], targetLabel: release}
{{- end -}}
