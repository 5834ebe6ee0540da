{{/* A duration such as 15s in milliseconds. */}}
{{- define "auralis.milliseconds" -}}
{{- $factor := get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+$" .) -}}
{{- mul (regexFind "^[0-9]+" . | int64) $factor -}}
{{- end -}}

{{/* A memory quantity in whole MiB. Plain bytes are a number, whose text would be 2.147483648e+09. */}}
{{- define "auralis.mebibytes" -}}
{{- $text := kindIs "string" . | ternary . (int64 .) | toString -}}
{{- $number := regexFind "^[0-9.]+" $text | float64 -}}
{{- $bytes := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $factor := get $bytes (regexFind "[A-Za-z]*$" $text) -}}
{{- divf (mulf $number $factor) 1048576 | int64 -}}
{{- end -}}
