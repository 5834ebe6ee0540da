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
# An account for each service: the answers of JetStream stay in the account of the request.
accounts {
  {{- range $service, $rights := include "auralis.nats.rights" . | fromJson }}
  {{ upper $service }} {
    {{- if $rights.jetstream }}
    jetstream: enabled
    {{- end }}
    users: [
      {
        user: {{ get $nats.auth.users $service | quote }}
        password: ${{ upper $service }}_PASSWORD
        permissions: {{ dict "publish" (dict "allow" $rights.publish) "subscribe" (dict "allow" $rights.subscribe) | toRawJson }}
      }
    ]
    mappings: {{ toRawJson $rights.mappings }}
    exports: {{ toRawJson $rights.exports }}
    imports: {{ toRawJson $rights.imports }}
  }
  {{- end }}
}
{{- end }}
{{- end -}}

{{/* The address to listen on; an IPv6 address is written in brackets. */}}
{{- define "auralis.nats.host" -}}
{{- $host := .Values.settings.host -}}
{{- contains ":" $host | ternary (printf "[%s]" $host) $host -}}
{{- end -}}

{{/* What each service may do, as JSON; see services/runtime/bus/rights.py. */}}
{{- define "auralis.nats.rights" -}}
{{- $text := .Files.Get "files/bus-rights.json" -}}
{{- range $service, $user := .Values.nats.auth.users -}}
{{- $text = replace (printf "{%s}" $service) $user $text -}}
{{- end -}}
{{- $text -}}
{{- end -}}
