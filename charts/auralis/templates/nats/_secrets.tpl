{{/* Passwords and certificates of NATS: generated, found in the cluster, or from existing Secrets. All take the root context. */}}

{{- define "auralis.nats.authSecretName" -}}
{{- .Values.nats.auth.existingSecret | default (printf "%s-auth" (include "auralis.nats.name" .)) -}}
{{- end -}}

{{- define "auralis.nats.authData" -}}
{{- $found := include "auralis.foundSecret" (dict "root" . "name" (include "auralis.nats.authSecretName" .)) | fromYaml -}}
{{- if .Values.nats.auth.existingSecret -}}
{{- toYaml $found -}}
{{- else -}}
{{- range list "synthesis" "edge" "telemetry" }}
{{- $made := include "auralis.generated" (dict "root" $ "name" (printf "nats-%s" .)) }}
{{ . }}: {{ get $found . | default ($made | b64enc) }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* In pod annotations: changed passwords restart the pods that use them. */}}
{{- define "auralis.nats.authChecksum" -}}
{{- with .Values.nats.auth.credentialsSecret -}}
{{- include "auralis.foundSecret" (dict "root" $ "name" .) | sha256sum -}}
{{- else -}}
{{- include "auralis.nats.authData" . | sha256sum -}}
{{- end -}}
{{- end -}}

{{- define "auralis.nats.tlsSecretName" -}}
{{- .Values.nats.tls.existingSecret | default (printf "%s-tls" (include "auralis.nats.name" .)) -}}
{{- end -}}

{{/* The generated certificate is stored like the texts of auralis.generated. */}}
{{- define "auralis.nats.tlsData" -}}
{{- $found := include "auralis.foundSecret" (dict "root" . "name" (include "auralis.nats.tlsSecretName" .)) | fromYaml -}}
{{- if or .Values.nats.tls.existingSecret $found -}}
{{- toYaml $found -}}
{{- else -}}
{{- $made := get .Values "_made" | default dict -}}
{{- $_ := set .Values "_made" $made -}}
{{- if not (hasKey $made "nats-certificate") -}}
{{- $name := include "auralis.nats.name" . -}}
{{- $service := printf "%s.%s" $name .Release.Namespace -}}
{{- $names := list $name $service (printf "%s.svc" $service) (printf "%s.svc.%s" $service .Values.clusterDomain) -}}
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
