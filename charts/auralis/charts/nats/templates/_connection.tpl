{{/* How the services reach the bus, whether the chart installs it or it was there before. Takes any scope. */}}

{{- define "auralis.nats.name" -}}
{{- include "auralis.fullname" . }}-nats
{{- end -}}

{{- define "auralis.nats.url" -}}
{{- $nats := .root.Values.nats -}}
{{- if $nats.url -}}
{{- $nats.url | nospace -}}
{{- else -}}
{{- printf "%s://%s.%s.svc.%s:4222" ($nats.tls.enabled | ternary "tls" "nats") (include "auralis.nats.name" .) .root.Release.Namespace .root.Values.clusterDomain -}}
{{- end -}}
{{- end -}}

{{- define "auralis.nats.clientEnv" -}}
{{- $nats := .root.Values.nats -}}
- {name: NATS_URL, value: {{ include "auralis.nats.url" . | quote }}}
{{- if $nats.auth.enabled }}
{{- if $nats.auth.credentialsSecret }}
- {name: NATS_CREDENTIALS_FILE, value: /etc/auralis/nats-credentials/{{ .part }}.creds}
{{- else }}
- {name: NATS_USER, value: {{ get $nats.auth.users .part | quote }}}
- name: NATS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "auralis.nats.authSecretName" . }}, key: {{ .part }}}
{{- end }}
{{- end }}
{{- if $nats.tls.enabled }}
- {name: NATS_TLS_CA_FILE, value: /etc/auralis/nats-tls/ca.crt}
{{- end }}
{{- end -}}

{{- define "auralis.nats.clientMounts" -}}
{{- $nats := .root.Values.nats -}}
{{- if and $nats.auth.enabled $nats.auth.credentialsSecret }}
- {name: nats-credentials, mountPath: /etc/auralis/nats-credentials, readOnly: true}
{{- end }}
{{- if $nats.tls.enabled }}
- {name: nats-tls, mountPath: /etc/auralis/nats-tls, readOnly: true}
{{- end }}
{{- end -}}

{{/* A service sees its own credentials and the certificate to check against, nothing of the server's. */}}
{{- define "auralis.nats.clientVolumes" -}}
{{- $nats := .root.Values.nats -}}
{{- if and $nats.auth.enabled $nats.auth.credentialsSecret }}
- name: nats-credentials
  secret:
    secretName: {{ $nats.auth.credentialsSecret }}
    items: [{key: {{ .part }}.creds, path: {{ .part }}.creds}]
{{- end }}
{{- if $nats.tls.enabled }}
- name: nats-tls
  secret:
    secretName: {{ include "auralis.nats.tlsSecretName" . }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end -}}

{{/* A service may reach the bus and resolve its name. */}}
{{- define "auralis.nats.egress" -}}
{{- $nats := .root.Values.nats -}}
{{- if $nats.url -}}
- ports:
    {{- $ports := list -}}
    {{- range splitList "," (include "auralis.nats.url" .) -}}
    {{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default "4222") -}}
    {{- end -}}
    {{- range uniq $ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .root.Values.networkPolicy.externalNats }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- else -}}
- to:
    {{- include "auralis.peers" (dict "root" .root "parts" (list "nats")) | nindent 4 }}
  ports:
    - {port: client}
{{- end }}
{{ include "auralis.dnsEgress" . }}
{{- end -}}

{{- define "auralis.nats.authSecretName" -}}
{{- .root.Values.nats.auth.existingSecret | default (printf "%s-auth" (include "auralis.nats.name" .)) -}}
{{- end -}}

{{- define "auralis.nats.authData" -}}
{{- $found := include "auralis.foundSecret" (dict "root" .root "name" (include "auralis.nats.authSecretName" .)) | fromYaml -}}
{{- if .root.Values.nats.auth.existingSecret -}}
{{- toYaml $found -}}
{{- else -}}
{{- $root := .root -}}
{{- range list "synthesis" "edge" "telemetry" }}
{{- $made := include "auralis.once" (dict "root" $root "name" (printf "nats-%s" .)) }}
{{ . }}: {{ get $found . | default ($made | b64enc) }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Changed passwords restart who uses them. */}}
{{- define "auralis.nats.authChecksum" -}}
{{- $nats := .root.Values.nats -}}
{{- if $nats.auth.credentialsSecret -}}
{{- include "auralis.foundSecret" (dict "root" .root "name" $nats.auth.credentialsSecret) | sha256sum -}}
{{- else -}}
{{- include "auralis.nats.authData" . | sha256sum -}}
{{- end -}}
{{- end -}}

{{- define "auralis.nats.tlsSecretName" -}}
{{- .root.Values.nats.tls.existingSecret | default (printf "%s-tls" (include "auralis.nats.name" .)) -}}
{{- end -}}

{{- define "auralis.nats.tlsData" -}}
{{- $found := include "auralis.foundSecret" (dict "root" .root "name" (include "auralis.nats.tlsSecretName" .)) | fromYaml -}}
{{- if or .root.Values.nats.tls.existingSecret $found -}}
{{- toYaml $found -}}
{{- else -}}
{{- $made := get .root.Values "_made" | default dict -}}
{{- $_ := set .root.Values "_made" $made -}}
{{- if not (hasKey $made "nats-certificate") -}}
{{- $name := include "auralis.nats.name" . -}}
{{- $service := printf "%s.%s" $name .root.Release.Namespace -}}
{{- $names := list $name $service (printf "%s.svc" $service) (printf "%s.svc.%s" $service .root.Values.clusterDomain) -}}
{{- $authority := genCA (printf "%s authority" $name) 3650 -}}
{{- $_ := set $made "nats-authority" $authority.Cert -}}
{{- $_ := set $made "nats-certificate" (genSignedCert $name nil $names 3650 $authority) -}}
{{- end -}}
{{- $certificate := get $made "nats-certificate" -}}
ca.crt: {{ get $made "nats-authority" | b64enc }}
tls.crt: {{ $certificate.Cert | b64enc }}
tls.key: {{ $certificate.Key | b64enc }}
{{- end -}}
{{- end -}}

{{- define "auralis.nats.tlsChecksum" -}}
{{- include "auralis.nats.tlsData" . | sha256sum -}}
{{- end -}}
