{{/* The server's configuration. A helper, because the StatefulSet holds its checksum. All take the root context. */}}
{{- define "auralis.nats.conf" -}}
{{- $nats := .Values.nats -}}
server_name: {{ include "auralis.nats.name" . }}
listen: {{ printf "%s:4222" (include "auralis.nats.host" .) | quote }}
# Answers the probes.
http: {{ printf "%s:8222" (include "auralis.nats.host" .) | quote }}
jetstream {
  store_dir: "/data"
  max_memory_store: {{ mul $nats.jetstream.memoryStoreMiB 1048576 }}
  # Streams are in memory; what is on disk is what JetStream notes of them.
  max_file_store: 67108864
}
{{- if $nats.tls.enabled }}
tls {
  cert_file: "/etc/nats-tls/tls.crt"
  key_file: "/etc/nats-tls/tls.key"
}
{{- end }}
{{- if $nats.auth.enabled }}
{{- $permissions := include "auralis.nats.permissions" . | fromYaml }}
authorization {
  users: [
    {{- range list "synthesis" "edge" "telemetry" }}
    {
      user: {{ get $nats.auth.users . | quote }}
      password: ${{ upper . }}_PASSWORD
      permissions: {{ get $permissions . | toRawJson }}
    }
    {{- end }}
  ]
}
{{- end }}
{{- end -}}

{{/* The address to listen on; an IPv6 address is written in brackets. */}}
{{- define "auralis.nats.host" -}}
{{- $host := .Values.settings.host -}}
{{- contains ":" $host | ternary (printf "[%s]" $host) $host -}}
{{- end -}}

{{/*
What each user may do, as YAML; the subjects are those of services/contract/subjects.py. Every service checks the streams
and creates missing ones. Replies arrive on the user's own inboxes; a service also publishes to its own inbox, to know
when everything before has arrived. A service may answer each request once.
*/}}
{{- define "auralis.nats.permissions" -}}
{{- $users := .Values.nats.auth.users -}}
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
