{{/* How the services reach NATS, whether the chart installs it or `nats.url` names it. */}}

{{/* Takes the root context. */}}
{{- define "auralis.nats.name" -}}
{{- include "auralis.fullname" . }}-nats
{{- end -}}

{{/* Takes the root context. */}}
{{- define "auralis.nats.url" -}}
{{- if .Values.nats.url -}}
{{- .Values.nats.url | nospace -}}
{{- else -}}
{{- printf "%s://%s.%s.svc.%s:4222" (.Values.nats.tls.enabled | ternary "tls" "nats") (include "auralis.nats.name" .) .Release.Namespace .Values.clusterDomain -}}
{{- end -}}
{{- end -}}

{{/* Environment variables of a service. Takes a component (_names.tpl). */}}
{{- define "auralis.nats.clientEnv" -}}
{{- $nats := .root.Values.nats -}}
- {name: NATS_URL, value: {{ include "auralis.nats.url" .root | quote }}}
{{- if $nats.auth.enabled }}
{{- if $nats.auth.credentialsSecret }}
- {name: NATS_CREDENTIALS_FILE, value: /etc/auralis/nats-credentials/{{ .component }}.creds}
{{- else }}
- {name: NATS_USER, value: {{ get $nats.auth.users .component | quote }}}
- name: NATS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "auralis.nats.authSecretName" .root }}, key: {{ .component }}}
{{- end }}
{{- end }}
{{- if $nats.tls.enabled }}
- {name: NATS_TLS_CA_FILE, value: /etc/auralis/nats-tls/ca.crt}
{{- end }}
{{- end -}}

{{/* Volume mounts of a service. Takes the root context. */}}
{{- define "auralis.nats.clientMounts" -}}
{{- $nats := .Values.nats -}}
{{- if and $nats.auth.enabled $nats.auth.credentialsSecret }}
- {name: nats-credentials, mountPath: /etc/auralis/nats-credentials, readOnly: true}
{{- end }}
{{- if $nats.tls.enabled }}
- {name: nats-tls, mountPath: /etc/auralis/nats-tls, readOnly: true}
{{- end }}
{{- end -}}

{{/* Volumes of a service: its own credentials and the CA certificate, nothing of the server's. Takes a component (_names.tpl). */}}
{{- define "auralis.nats.clientVolumes" -}}
{{- $nats := .root.Values.nats -}}
{{- if and $nats.auth.enabled $nats.auth.credentialsSecret }}
- name: nats-credentials
  secret:
    secretName: {{ $nats.auth.credentialsSecret }}
    items: [{key: {{ .component }}.creds, path: {{ .component }}.creds}]
{{- end }}
{{- if $nats.tls.enabled }}
- name: nats-tls
  secret:
    secretName: {{ include "auralis.nats.tlsSecretName" .root }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end -}}
