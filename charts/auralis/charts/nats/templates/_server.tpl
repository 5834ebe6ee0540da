{{/* The bus that the chart installs. Nothing of it needs to be kept: streams hold seconds of audio, in memory, and the
services make them anew; while it restarts, edges loop the last seconds. So there is one, and no volume. */}}
{{- define "auralis.nats" -}}
{{ include "auralis.serviceAccount" . }}
---
{{ include "auralis.nats.config" . }}
---
{{ include "auralis.nats.authSecret" . }}
---
{{ include "auralis.nats.tlsSecret" . }}
---
{{ include "auralis.nats.service" . }}
---
{{ include "auralis.nats.statefulSet" . }}
---
{{ include "auralis.nats.networkPolicy" . }}
{{- end -}}

{{/*
What each user may do, as YAML. services/contract/subjects.py has the names; everybody checks the streams and makes them
where they are missing. Answers come on inboxes of one's own, on which a service also writes to itself, to know when all
before has arrived; whoever is asked something may answer the asker once.
*/}}
{{- define "auralis.nats.permissions" -}}
{{- $users := .values.auth.users -}}
{{- $streams := list -}}
{{- range $stream := list "RENDER" "AUDIO" -}}
{{- range list "INFO" "CREATE" "UPDATE" -}}
{{- $streams = append $streams (printf "$JS.API.STREAM.%s.%s" . $stream) -}}
{{- end -}}
{{- end -}}
synthesis:
  publish:
    allow:
      {{- toYaml $streams | nindent 6 }}
      - _INBOX.{{ $users.synthesis }}.>
      - auralis.audio.*
      - auralis.presence.synthesis
      - $JS.API.CONSUMER.CREATE.RENDER.>
      - $JS.API.CONSUMER.MSG.NEXT.RENDER.*
      - $JS.ACK.RENDER.>
      - $JS.API.STREAM.INFO.KV_auralis-poison
      - $JS.API.STREAM.CREATE.KV_auralis-poison
      - $JS.API.STREAM.UPDATE.KV_auralis-poison
      - $JS.API.DIRECT.GET.KV_auralis-poison
      - $KV.auralis-poison.>
  subscribe:
    allow: [auralis.roll-call, auralis.scrape, _INBOX.{{ $users.synthesis }}.>]
  allow_responses: {max: 1, expires: 10s}
edge:
  publish:
    allow:
      {{- toYaml $streams | nindent 6 }}
      - _INBOX.{{ $users.edge }}.>
      - auralis.render.*.now.>
      - auralis.render.*.ahead.>
      - auralis.roll-call
      - $JS.API.DIRECT.GET.AUDIO
      - $JS.API.DIRECT.GET.KV_auralis-poison
  subscribe:
    allow: [auralis.audio.*, auralis.presence.synthesis, auralis.scrape, _INBOX.{{ $users.edge }}.>]
  allow_responses: {max: 1, expires: 10s}
telemetry:
  publish:
    allow:
      {{- toYaml $streams | nindent 6 }}
      - _INBOX.{{ $users.telemetry }}.>
      - auralis.scrape
  subscribe:
    allow: [auralis.presence.synthesis, auralis.scrape, _INBOX.{{ $users.telemetry }}.>]
  allow_responses: {max: 1, expires: 10s}
{{- end -}}

{{- define "auralis.nats.conf" -}}
server_name: {{ include "auralis.nats.name" . }}
listen: {{ printf "%s:4222" (include "auralis.nats.host" .) | quote }}
# Answers the probes.
http: {{ printf "%s:8222" (include "auralis.nats.host" .) | quote }}
jetstream {
  store_dir: "/data"
  max_memory_store: {{ mul .values.jetstream.memoryStoreMiB 1048576 }}
  # Streams are in memory; what is on disk is what JetStream notes of them.
  max_file_store: 67108864
}
{{- if .values.tls.enabled }}
tls {
  cert_file: "/etc/nats-tls/tls.crt"
  key_file: "/etc/nats-tls/tls.key"
}
{{- end }}
{{- if .values.auth.enabled }}
{{- $permissions := include "auralis.nats.permissions" . | fromYaml }}
authorization {
  users: [
    {{- range $part := list "synthesis" "edge" "telemetry" }}
    {
      user: {{ get $.values.auth.users $part | quote }}
      password: ${{ upper $part }}_PASSWORD
      permissions: {{ get $permissions $part | toRawJson }}
    }
    {{- end }}
  ]
}
{{- end }}
{{- end -}}

{{/* An IPv6 address is written in brackets. */}}
{{- define "auralis.nats.host" -}}
{{- $host := .root.Values.settings.host -}}
{{- contains ":" $host | ternary (printf "[%s]" $host) $host -}}
{{- end -}}

{{- define "auralis.nats.config" -}}
apiVersion: v1
kind: ConfigMap
{{ include "auralis.metadata" . }}
data:
  nats.conf: |
    {{- include "auralis.nats.conf" . | nindent 4 }}
{{- end -}}

{{- define "auralis.nats.authSecret" -}}
{{- if and .values.auth.enabled (not .values.auth.existingSecret) }}
apiVersion: v1
kind: Secret
{{ include "auralis.metadata" (merge (dict "suffix" "auth") .) }}
type: Opaque
data:
  {{- include "auralis.nats.authData" . | trim | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "auralis.nats.tlsSecret" -}}
{{- if and .values.tls.enabled (not .values.tls.existingSecret) }}
apiVersion: v1
kind: Secret
{{ include "auralis.metadata" (merge (dict "suffix" "tls") .) }}
type: kubernetes.io/tls
data:
  {{- include "auralis.nats.tlsData" . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "auralis.nats.service" -}}
apiVersion: v1
kind: Service
{{ include "auralis.metadata" . }}
spec:
  selector:
    {{- include "auralis.selector" . | nindent 4 }}
  ports:
    - {name: client, port: 4222, targetPort: client}
{{- end -}}

{{- define "auralis.nats.statefulSet" -}}
apiVersion: apps/v1
kind: StatefulSet
{{ include "auralis.metadata" . }}
spec:
  replicas: 1
  serviceName: {{ include "auralis.nats.name" . }}
  revisionHistoryLimit: 5
  selector:
    matchLabels:
      {{- include "auralis.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "auralis.podLabels" . | nindent 8 }}
      annotations:
        kubectl.kubernetes.io/default-container: nats
        checksum/config: {{ include "auralis.nats.conf" . | sha256sum }}
        {{- if .values.auth.enabled }}
        checksum/auth: {{ include "auralis.nats.authChecksum" . }}
        {{- end }}
        {{- if .values.tls.enabled }}
        checksum/tls: {{ include "auralis.nats.tlsChecksum" . }}
        {{- end }}
        {{- with .values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "auralis.serviceAccountName" . }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      # There is no second server to hand over to: the quicker it is back, the shorter edges play from what they have.
      terminationGracePeriodSeconds: 10
      {{- include "auralis.podSecurityContext" . | nindent 6 }}
      {{- include "auralis.placement" . | trim | nindent 6 }}
      {{- with .root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      containers:
        - name: nats
          image: {{ include "auralis.image" . | quote }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          {{- include "auralis.containerSecurityContext" . | nindent 10 }}
          args: [--config, /etc/nats/nats.conf]
          ports:
            - {name: client, containerPort: 4222}
            - {name: monitor, containerPort: 8222}
          env:
            {{- with .values.resources.limits.memory }}
            # Go frees memory before the limit ends the server.
            - {name: GOMEMLIMIT, value: {{ printf "%dMiB" (div (mul (include "auralis.mebibytes" .) 9) 10) }}}
            {{- end }}
            {{- if .values.auth.enabled }}
            {{- range list "synthesis" "edge" "telemetry" }}
            - name: {{ upper . }}_PASSWORD
              valueFrom:
                secretKeyRef: {name: {{ include "auralis.nats.authSecretName" $ }}, key: {{ . }}}
            {{- end }}
            {{- end }}
          startupProbe:
            httpGet: {path: "/healthz?js-server-only=true", port: monitor}
            periodSeconds: 1
            failureThreshold: 60
          readinessProbe:
            httpGet: {path: "/healthz?js-server-only=true", port: monitor}
            periodSeconds: 2
            timeoutSeconds: 2
          livenessProbe:
            httpGet: {path: "/healthz?js-enabled-only=true", port: monitor}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          volumeMounts:
            - {name: config, mountPath: /etc/nats, readOnly: true}
            - {name: data, mountPath: /data}
            {{- if .values.tls.enabled }}
            - {name: tls, mountPath: /etc/nats-tls, readOnly: true}
            {{- end }}
      volumes:
        - name: config
          configMap: {name: {{ include "auralis.nats.name" . }}}
        - name: data
          emptyDir: {sizeLimit: 128Mi}
        {{- if .values.tls.enabled }}
        - name: tls
          secret:
            secretName: {{ include "auralis.nats.tlsSecretName" . }}
        {{- end }}
{{- end -}}

{{/* A memory quantity in whole MiB. Plain bytes are a number, which as a text would be 2.147483648e+09. */}}
{{- define "auralis.mebibytes" -}}
{{- $text := kindIs "string" . | ternary . (int64 .) | toString -}}
{{- $number := regexFind "^[0-9.]+" $text | float64 -}}
{{- $bytes := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $factor := get $bytes (regexFind "[A-Za-z]*$" $text) -}}
{{- divf (mulf $number $factor) 1048576 | int64 -}}
{{- end -}}

{{- define "auralis.nats.networkPolicy" -}}
{{- if .root.Values.networkPolicy.enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
{{ include "auralis.metadata" . }}
spec:
  podSelector:
    matchLabels:
      {{- include "auralis.selector" . | nindent 6 }}
  # It answers and never calls.
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        {{- include "auralis.peers" (dict "root" .root "parts" (list "synthesis" "edge" "telemetry")) | nindent 8 }}
      ports:
        - {port: client}
{{- end }}
{{- end -}}
