{{- define "auralis.telemetry" -}}
{{- $scope := merge (dict "graceSeconds" .values.terminationGracePeriodSeconds "scrapeScope" "self") . -}}
{{- if .values.podDeletionCost.enabled -}}
{{- $_ := set $scope "token" "true" -}}
{{- end -}}
{{ include "auralis.serviceAccount" . }}
---
{{ include "auralis.telemetry.rights" . }}
---
{{ include "auralis.deployment" $scope }}
---
{{ include "auralis.telemetry.service" . }}
---
{{ include "auralis.monitor" $scope }}
---
{{ include "auralis.telemetry.networkPolicy" . }}
{{- end -}}

{{- define "auralis.telemetry.ports" -}}{{- end -}}

{{- define "auralis.telemetry.env" -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef: {fieldPath: metadata.namespace}
{{- with .values.prometheusUrl }}
- {name: AURALIS_PROMETHEUS_URL, value: {{ . | quote }}}
{{- end }}
{{- end -}}

{{- define "auralis.telemetry.resources" -}}
{{- toYaml .values.resources -}}
{{- end -}}

{{/* It holds nothing that others wait for. */}}
{{- define "auralis.telemetry.lifecycle" -}}{{- end -}}

{{- define "auralis.telemetry.rights" -}}
{{- if .values.podDeletionCost.enabled -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
{{ include "auralis.metadata" . }}
rules:
  - apiGroups: [""]
    resources: [pods]
    verbs: [patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
{{ include "auralis.metadata" . }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ include "auralis.partname" . }}
subjects:
  - kind: ServiceAccount
    name: {{ include "auralis.serviceAccountName" . }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}
{{- end -}}

{{- define "auralis.telemetry.service" -}}
apiVersion: v1
kind: Service
{{ include "auralis.metadata" (merge (dict "annotations" .values.service.annotations) .) }}
spec:
  selector:
    {{- include "auralis.selector" . | nindent 4 }}
  ports:
    - {name: http, port: {{ .values.service.port }}, targetPort: internal, appProtocol: http}
{{- end -}}

{{- define "auralis.telemetry.networkPolicy" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- if $policy.enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
{{ include "auralis.metadata" . }}
spec:
  podSelector:
    matchLabels:
      {{- include "auralis.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- include "auralis.monitoringIngress" . | nindent 4 }}
    - from:
        {{- include "auralis.peers" (dict "root" .root "parts" (list "test")) | nindent 8 }}
      ports:
        - {port: internal}
  egress:
    {{- include "auralis.nats.egress" . | nindent 4 }}
    {{- if .values.podDeletionCost.enabled }}
    - ports:
        {{- range $policy.apiServerPorts }}
        - {port: {{ . }}, protocol: TCP}
        {{- end }}
      {{- with $policy.apiServer }}
      to:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- with .values.prometheusUrl }}
    - ports:
        - {port: {{ include "auralis.telemetry.prometheusPort" . }}, protocol: TCP}
      {{- with $policy.prometheus }}
      to:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
{{- end }}
{{- end -}}

{{/* The port of an address, of its scheme where it names none. */}}
{{- define "auralis.telemetry.prometheusPort" -}}
{{- $parts := urlParse . -}}
{{- regexFind ":[0-9]+$" $parts.host | trimPrefix ":" | default (eq $parts.scheme "https" | ternary "443" "80") -}}
{{- end -}}
