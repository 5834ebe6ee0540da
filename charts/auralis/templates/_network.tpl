{{/* Rules of NetworkPolicies. Policies add up: templates/default-deny.yaml denies everything, each component's policy allows what it needs. */}}

{{/* Pods of some components of this release. Takes root and components. */}}
{{- define "auralis.peers" -}}
- podSelector:
    matchLabels:
      {{- include "auralis.releaseSelector" .root | nindent 6 }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: {{ toJson .components }}}
{{- end -}}

{{/* Access to the internal port, for monitoring alone: the port also takes /drain. Takes the root context. */}}
{{- define "auralis.monitoringIngress" -}}
{{- with .Values.networkPolicy.monitoring }}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - {port: internal}
{{- end }}
{{- end -}}

{{/* Takes the root context. */}}
{{- define "auralis.dnsEgress" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{/* A service may reach NATS and resolve its name. Takes the root context. */}}
{{- define "auralis.natsEgress" -}}
{{- if .Values.nats.url -}}
- ports:
    {{- $ports := list -}}
    {{- range splitList "," (include "auralis.nats.url" .) -}}
    {{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default "4222") -}}
    {{- end -}}
    {{- range uniq $ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .Values.networkPolicy.externalNats }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- else -}}
- to:
    {{- include "auralis.peers" (dict "root" . "components" (list "nats")) | nindent 4 }}
  ports:
    - {port: client}
{{- end }}
{{ include "auralis.dnsEgress" . }}
{{- end -}}

{{/* The port of an address, or its scheme's default port. Takes the address. */}}
{{- define "auralis.portOf" -}}
{{- $parts := urlParse . -}}
{{- regexFind ":[0-9]+$" $parts.host | trimPrefix ":" | default (eq $parts.scheme "https" | ternary "443" "80") -}}
{{- end -}}
