{{/* Passwords and certificates of NATS: generated, found in the cluster, or from existing Secrets. All take the root context. */}}

{{- define "auralis.nats.authSecretName" -}}
{{- .Values.nats.auth.existingSecret | default (printf "%s-passwords" (include "auralis.nats.name" .)) -}}
{{- end -}}

{{- define "auralis.nats.authData" -}}
{{- $name := include "auralis.nats.authSecretName" . -}}
{{- if .Values.nats.auth.existingSecret -}}
{{- include "auralis.foundSecret" (dict "root" . "name" $name) -}}
{{- else -}}
{{- $keys := dict "synthesis" "nats-synthesis" "edge" "nats-edge" "telemetry" "nats-telemetry" -}}
{{- include "auralis.keptData" (dict "root" . "name" $name "earlier" (printf "%s-auth" (include "auralis.nats.name" .)) "keys" $keys) | trim -}}
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
{{- .Values.nats.tls.existingSecret | default (printf "%s-certificate" (include "auralis.nats.name" .)) -}}
{{- end -}}

{{/* The generated certificate is stored like the texts of auralis.generated. */}}
{{- define "auralis.nats.tlsData" -}}
{{- $found := include "auralis.foundSecret" (dict "root" . "name" (include "auralis.nats.tlsSecretName" .)) | fromYaml -}}
{{- if not (or .Values.nats.tls.existingSecret $found) -}}
{{- /* What an earlier chart generated. */}}
{{- $found = include "auralis.earlierData" (dict "root" . "name" (printf "%s-tls" (include "auralis.nats.name" .))) | fromYaml -}}
{{- end -}}
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
