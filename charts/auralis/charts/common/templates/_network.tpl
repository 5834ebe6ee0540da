{{/* NetworkPolicies add up: everything is denied for the release's pods, then each part is given what it needs. */}}
{{- define "auralis.releaseSelector" -}}
app.kubernetes.io/name: auralis
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{/* Pods of this release of the parts in `parts`. */}}
{{- define "auralis.peers" -}}
- podSelector:
    matchLabels:
      {{- include "auralis.releaseSelector" . | nindent 6 }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: {{ toJson .parts }}}
{{- end -}}

{{/* Prometheus and whoever else may read the internal port. It also takes /drain, so the list is short. */}}
{{- define "auralis.monitoringIngress" -}}
{{- with .root.Values.networkPolicy.monitoring }}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - {port: internal}
{{- end }}
{{- end -}}

{{- define "auralis.dnsEgress" -}}
- to:
    {{- toYaml .root.Values.networkPolicy.dns | nindent 4 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}
