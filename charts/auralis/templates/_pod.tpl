{{/* Parts of pods. "Component" is the dict of _names.tpl. */}}

{{/* The restricted pod security standard; 10001 is the user of the Auralis images. */}}
{{- define "auralis.podSecurityContext" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "auralis.containerSecurityContext" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Takes the root context. */}}
{{- define "auralis.imagePullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/*
Annotations of a service's pod; podAnnotations win. Takes a component, and may take
  scrapeScope  Prometheus scrapes /metrics?scope=…
  checksums    name to text; a changed text restarts the pods
*/}}
{{- define "auralis.podAnnotations" -}}
{{- $values := .root.Values -}}
{{- $annotations := dict "kubectl.kubernetes.io/default-container" .component -}}
{{- if $values.monitoring.annotations -}}
{{- $_ := set $annotations "prometheus.io/scrape" "true" -}}
{{- $_ := set $annotations "prometheus.io/port" (toString $values.settings.internalPort) -}}
{{- $_ := set $annotations "prometheus.io/path" "/metrics" -}}
{{- with .scrapeScope -}}
{{- $_ := set $annotations "prometheus.io/param-scope" . -}}
{{- end -}}
{{- end -}}
{{- if $values.nats.auth.enabled -}}
{{- $_ := set $annotations "checksum/nats-auth" (include "auralis.nats.authChecksum" .root) -}}
{{- end -}}
{{- if $values.nats.tls.enabled -}}
{{- $_ := set $annotations "checksum/nats-tls" (include "auralis.nats.tlsChecksum" .root) -}}
{{- end -}}
{{- range $name, $text := .checksums -}}
{{- $_ := set $annotations (printf "checksum/%s" $name) (sha256sum $text) -}}
{{- end -}}
{{- toYaml (merge (deepCopy ((get $values .component).podAnnotations | default dict)) $annotations) -}}
{{- end -}}

{{/*
Names of the internal port, separated by commas: the Services that lead to it, as pods of the namespace and of others
write them, and `settings.internalHosts`. The pod adds its own name. Takes a component.
*/}}
{{- define "auralis.internalHosts" -}}
{{- $names := list -}}
{{- $component := include "auralis.componentName" . -}}
{{- range $service := list $component (printf "%s-internal" $component) -}}
{{- $inNamespace := printf "%s.%s" $service $.root.Release.Namespace -}}
{{- $inCluster := printf "%s.svc" $inNamespace -}}
{{- $names = concat $names (list $service $inNamespace $inCluster (printf "%s.%s" $inCluster $.root.Values.clusterDomain)) -}}
{{- end -}}
{{- concat $names (.root.Values.settings.internalHosts | default list) | join "," -}}
{{- end -}}

{{/* Environment variables that every service reads (services/runtime/settings/settings.py). Takes a component. */}}
{{- define "auralis.env" -}}
{{- $settings := .root.Values.settings -}}
- {name: AURALIS_ENV, value: {{ $settings.env | quote }}}
- {name: AURALIS_HOST, value: {{ $settings.host | quote }}}
- {name: AURALIS_INTERNAL_HOST, value: {{ $settings.host | quote }}}
- {name: AURALIS_LOG_LEVEL, value: {{ $settings.logLevel | quote }}}
- {name: AURALIS_LOG_FORMAT, value: {{ $settings.logFormat | quote }}}
- {name: METRICS_PORT, value: {{ $settings.internalPort | quote }}}
- {name: AURALIS_INTERNAL_HOSTS, value: {{ include "auralis.internalHosts" . | quote }}}
{{ include "auralis.nats.clientEnv" . }}
{{- end -}}

{{/*
/healthz says that the process lives, /readyz that it can serve. A pod that is not ready is not restarted: an edge
without NATS still plays. Takes a component.
*/}}
{{- define "auralis.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: internal}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: {{ div (add (get .root.Values .component).startupSeconds 1) 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: internal}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /healthz, port: internal}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}
