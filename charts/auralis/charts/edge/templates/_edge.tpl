{{- define "auralis.edge" -}}
{{- $drain := int .values.drainSeconds -}}
{{- $grace := .values.terminationGracePeriodSeconds | default (add $drain 25) -}}
{{- $checksums := dict "secret" (include "auralis.edge.secretChecksum" .) -}}
{{- $scope := merge (dict "graceSeconds" $grace "checksums" $checksums) . -}}
{{ include "auralis.serviceAccount" . }}
---
{{ include "auralis.edge.secret" . }}
---
{{ include "auralis.deployment" $scope }}
---
{{ include "auralis.edge.service" . }}
---
{{ include "auralis.edge.ingress" . }}
---
{{ include "auralis.edge.httpRoute" . }}
---
{{ include "auralis.hpa" . }}
---
{{ include "auralis.scaledObject" . }}
---
{{ include "auralis.podDisruptionBudget" . }}
---
{{ include "auralis.monitor" . }}
---
{{ include "auralis.edge.networkPolicy" . }}
{{- end -}}

{{- define "auralis.edge.ports" -}}
- {name: http, containerPort: 8000}
{{- end -}}

{{- define "auralis.edge.env" -}}
{{- $edge := .values -}}
- {name: AURALIS_PORT, value: "8000"}
- {name: WS_MAX_CONNECTIONS, value: {{ $edge.maxConnections | int | quote }}}
- {name: WS_RATE_LIMIT_CHUNKS_PER_SEC, value: {{ $edge.rateLimitChunksPerSecond | int | quote }}}
- {name: AURALIS_MAX_STREAMS, value: {{ $edge.maxStreams | int | quote }}}
- {name: AURALIS_MAX_PER_IP, value: {{ $edge.maxPerIp | int | quote }}}
- {name: AURALIS_ALLOWED_ORIGINS, value: {{ join "," $edge.allowedOrigins | quote }}}
{{- with $edge.trustedProxies }}
- {name: AURALIS_TRUSTED_PROXIES, value: {{ join "," . | quote }}}
{{- end }}
- {name: BUFFER_INITIAL_TIER, value: {{ $edge.buffer.initialTier }}}
- {name: BUFFER_MIN_CAPACITY_MS, value: {{ $edge.buffer.minCapacityMs | int | quote }}}
- {name: BUFFER_MAX_CAPACITY_MS, value: {{ $edge.buffer.maxCapacityMs | int | quote }}}
- {name: AURALIS_DRAIN_SECONDS, value: {{ $edge.drainSeconds | int | quote }}}
{{- /* Where workers come only once somebody listens, an edge cannot wait for them. */}}
{{- $scaling := .root.Values.synthesis.autoscaling }}
{{- $fromZero := and (eq $scaling.type "keda") (eq (int $scaling.minReplicas) 0) }}
- {name: AURALIS_WAIT_FOR_RENDERERS_SECONDS, value: {{ ternary 0 $edge.waitForRenderersSeconds $fromZero | int | quote }}}
- name: AURALIS_SECRET
  valueFrom:
    secretKeyRef: {name: {{ include "auralis.edge.secretName" . }}, key: resume-secret}
{{- if $edge.jwt.enabled }}
- name: AURALIS_JWT_KEY
  valueFrom:
    secretKeyRef: {name: {{ include "auralis.edge.secretName" . }}, key: jwt-key}
{{- with $edge.jwt.audience }}
- {name: AURALIS_JWT_AUDIENCE, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "auralis.edge.resources" -}}
{{- toYaml .values.resources -}}
{{- end -}}

{{/* Not ready, goodbyes with resume tokens spread over AURALIS_DRAIN_SECONDS, then SIGTERM finds nobody left. */}}
{{- define "auralis.edge.lifecycle" -}}
lifecycle:
  preStop:
    httpGet: {path: /drain, port: internal}
{{- end -}}

{{- define "auralis.edge.secretName" -}}
{{- .values.existingSecret | default (include "auralis.partname" .) -}}
{{- end -}}

{{/* All edges sign resume tokens alike, so that another edge takes them; also after an upgrade. */}}
{{- define "auralis.edge.secretData" -}}
{{- $name := include "auralis.edge.secretName" . -}}
{{- $found := include "auralis.foundSecret" (dict "root" .root "name" $name) | fromYaml -}}
{{- if .values.existingSecret -}}
{{- toYaml $found -}}
{{- else -}}
{{- $made := include "auralis.once" (dict "root" .root "name" "resume-secret") -}}
resume-secret: {{ index $found "resume-secret" | default ($made | b64enc) }}
{{- if .values.jwt.enabled }}
jwt-key: {{ .values.jwt.key | b64enc }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "auralis.edge.secretChecksum" -}}
{{- include "auralis.edge.secretData" . | sha256sum -}}
{{- end -}}

{{- define "auralis.edge.secret" -}}
{{- if not .values.existingSecret }}
apiVersion: v1
kind: Secret
{{ include "auralis.metadata" . }}
type: Opaque
data:
  {{- include "auralis.edge.secretData" . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "auralis.edge.service" -}}
{{- $service := .values.service -}}
apiVersion: v1
kind: Service
{{ include "auralis.metadata" (merge (dict "annotations" $service.annotations) .) }}
spec:
  type: {{ $service.type }}
  {{- if ne $service.type "ClusterIP" }}
  externalTrafficPolicy: {{ $service.externalTrafficPolicy }}
  {{- end }}
  {{- with $service.loadBalancerClass }}
  loadBalancerClass: {{ . }}
  {{- end }}
  selector:
    {{- include "auralis.selector" . | nindent 4 }}
  ports:
    - name: http
      port: {{ $service.port }}
      targetPort: http
      appProtocol: http
      {{- with $service.nodePort }}
      nodePort: {{ . }}
      {{- end }}
{{- end -}}

{{/* What each controller calls "keep a connection that is silent, and do not collect answers before passing them on". */}}
{{- define "auralis.edge.ingressAnnotations" -}}
{{- $seconds := int .values.ingress.timeoutSeconds -}}
{{- $controller := .values.ingress.controller -}}
{{- $annotations := dict -}}
{{- if eq $controller "nginx" -}}
{{- $annotations = dict "nginx.ingress.kubernetes.io/proxy-read-timeout" (toString $seconds) "nginx.ingress.kubernetes.io/proxy-send-timeout" (toString $seconds) "nginx.ingress.kubernetes.io/proxy-buffering" "off" -}}
{{- else if eq $controller "haproxy" -}}
{{- $annotations = dict "haproxy.org/timeout-tunnel" (printf "%ds" $seconds) -}}
{{- else if eq $controller "alb" -}}
{{- $annotations = dict "alb.ingress.kubernetes.io/target-type" "ip" "alb.ingress.kubernetes.io/load-balancer-attributes" (printf "idle_timeout.timeout_seconds=%d" (min $seconds 4000)) -}}
{{- end -}}
{{- toYaml (merge (deepCopy .values.ingress.annotations) $annotations) -}}
{{- end -}}

{{- define "auralis.edge.ingress" -}}
{{- $ingress := .values.ingress -}}
{{- if $ingress.enabled }}
apiVersion: networking.k8s.io/v1
kind: Ingress
{{ include "auralis.metadata" (merge (dict "annotations" (include "auralis.edge.ingressAnnotations" . | fromYaml)) .) }}
spec:
  {{- with $ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with $ingress.tlsSecretName }}
  tls:
    - secretName: {{ . }}
      hosts: {{ toJson $ingress.hosts }}
  {{- end }}
  rules:
    {{- range $ingress.hosts }}
    - host: {{ . | quote }}
      http:
        paths:
          - path: {{ $ingress.path }}
            pathType: Prefix
            backend:
              service:
                name: {{ include "auralis.partname" $ }}
                port: {name: http}
    {{- end }}
{{- end }}
{{- end -}}

{{- define "auralis.edge.httpRoute" -}}
{{- $route := .values.httpRoute -}}
{{- if $route.enabled }}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
{{ include "auralis.metadata" (merge (dict "annotations" $route.annotations) .) }}
spec:
  parentRefs:
    {{- toYaml $route.parentRefs | nindent 4 }}
  hostnames: {{ toJson $route.hostnames }}
  rules:
    - matches:
        - path: {type: PathPrefix, value: /}
      # A stream has no end: the time-outs of Gateways are meant for requests that have one.
      timeouts: {request: {{ $route.timeout }}, backendRequest: {{ $route.timeout }}}
      backendRefs:
        - name: {{ include "auralis.partname" . }}
          port: {{ .values.service.port }}
{{- end }}
{{- end -}}

{{/* Below what a pod takes, so that there is room while another one starts. */}}
{{- define "auralis.edge.targetListeners" -}}
{{- .values.autoscaling.targetListeners | default (max 1 (div (mul .values.maxConnections 7) 10)) | int -}}
{{- end -}}

{{- define "auralis.edge.hpaMetrics" -}}
- type: Pods
  pods:
    metric: {name: {{ .values.autoscaling.metric }}}
    target:
      type: AverageValue
      averageValue: {{ include "auralis.edge.targetListeners" . | quote }}
{{- end -}}

{{- define "auralis.edge.kedaTriggers" -}}
{{- $target := include "auralis.edge.targetListeners" . -}}
{{- if eq .values.autoscaling.keda.source "telemetry" -}}
- type: metrics-api
  metadata:
    url: {{ include "auralis.telemetryUrl" . }}/api/autoscale
    valueLocation: edge.{{ eq .values.autoscaling.metric "auralis_listeners" | ternary "listeners" "websocket_connections" }}
    targetValue: {{ $target | quote }}
{{- else -}}
- type: prometheus
  metadata:
    serverAddress: {{ .values.autoscaling.keda.prometheusAddress }}
    query: sum({{ .values.autoscaling.metric }}{{ include "auralis.promqlSelector" . }})
    threshold: {{ $target | quote }}
    ignoreNullValues: "false"
{{- end -}}
{{- end -}}

{{- define "auralis.edge.networkPolicy" -}}
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
    - ports:
        - {port: http}
      {{- with $policy.listeners }}
      from:
        {{- toYaml . | nindent 8 }}
        {{- include "auralis.peers" (dict "root" $.root "parts" (list "test")) | nindent 8 }}
      {{- end }}
    {{- include "auralis.monitoringIngress" . | nindent 4 }}
  egress:
    {{- include "auralis.nats.egress" . | nindent 4 }}
{{- end }}
{{- end -}}
