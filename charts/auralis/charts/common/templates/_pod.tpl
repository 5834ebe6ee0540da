{{/* What the restricted pod security standard asks for; 10001 is the user of our images. */}}
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

{{/*
Where a pod may run. The scope's values hold nodeSelector, tolerations, affinity; topologySpread and antiAffinity where
the part has several pods. `gpu` in the scope: the pod wants a node with a GPU.
*/}}
{{- define "auralis.placement" -}}
{{- $values := .values -}}
{{- $nodeSelector := $values.nodeSelector -}}
{{- $tolerations := $values.tolerations -}}
{{- if .gpu -}}
{{- $nodeSelector = merge (deepCopy $values.nodeSelector) $values.gpu.nodeSelector -}}
{{- $tolerations = concat $values.tolerations $values.gpu.tolerations -}}
{{- end -}}
{{- with $nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $affinity := include "auralis.affinity" . | fromYaml }}
{{- with $values.affinity | default $affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpread }}
{{- if ne . "none" }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $values.topologySpread }}
    labelSelector:
      matchLabels:
        {{- include "auralis.selector" $ | nindent 8 }}
    {{- /* Each version is spread by itself, so that an upgrade does not count the pods that are going. */}}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}
{{- with include "auralis.priorityClassName" . }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "auralis.affinity" -}}
{{- $gpuNodes := .root.Values.gpuNodes -}}
{{- if and (not .gpu) (ne $gpuNodes.avoid "none") }}
nodeAffinity:
  {{- if eq $gpuNodes.avoid "required" }}
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
      - matchExpressions:
          - {key: {{ $gpuNodes.label }}, operator: NotIn, values: ["true"]}
  {{- else }}
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      preference:
        matchExpressions:
          - {key: {{ $gpuNodes.label }}, operator: NotIn, values: ["true"]}
  {{- end }}
{{- end }}
{{- $apart := .values.antiAffinity | default "none" }}
{{- if eq $apart "hard" }}
podAntiAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- include "auralis.selector" . | nindent 10 }}
{{- else if eq $apart "soft" }}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 50
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "auralis.selector" . | nindent 12 }}
{{- end }}
{{- end -}}

{{/* Alive is /healthz, ready is /readyz. Not being ready never restarts a pod: without NATS an edge still plays. */}}
{{- define "auralis.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: internal}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: {{ div (add .values.startupSeconds 1) 2 }}
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

{{/* The settings that every service reads (services/runtime/settings/settings.py). */}}
{{- define "auralis.env" -}}
{{- $settings := .root.Values.settings -}}
- {name: AURALIS_ENV, value: {{ $settings.env | quote }}}
- {name: AURALIS_HOST, value: {{ $settings.host | quote }}}
- {name: AURALIS_INTERNAL_HOST, value: {{ $settings.host | quote }}}
- {name: AURALIS_LOG_LEVEL, value: {{ $settings.logLevel | quote }}}
- {name: AURALIS_LOG_FORMAT, value: {{ $settings.logFormat | quote }}}
- {name: METRICS_PORT, value: {{ $settings.internalPort | quote }}}
{{ include "auralis.nats.clientEnv" . }}
{{- end -}}

{{/* A pod that Prometheus may find by annotations. `scrapeScope` in the scope becomes ?scope=. */}}
{{- define "auralis.podAnnotations" -}}
{{- $annotations := dict "kubectl.kubernetes.io/default-container" .part -}}
{{- if .root.Values.monitoring.annotations -}}
{{- $_ := set $annotations "prometheus.io/scrape" "true" -}}
{{- $_ := set $annotations "prometheus.io/port" (toString .root.Values.settings.internalPort) -}}
{{- $_ := set $annotations "prometheus.io/path" "/metrics" -}}
{{- with .scrapeScope -}}
{{- $_ := set $annotations "prometheus.io/param-scope" . -}}
{{- end -}}
{{- end -}}
{{- if .root.Values.nats.auth.enabled -}}
{{- $_ := set $annotations "checksum/nats-auth" (include "auralis.nats.authChecksum" .) -}}
{{- end -}}
{{- if .root.Values.nats.tls.enabled -}}
{{- $_ := set $annotations "checksum/nats-tls" (include "auralis.nats.tlsChecksum" .) -}}
{{- end -}}
{{- range $name, $text := .checksums -}}
{{- $_ := set $annotations (printf "checksum/%s" $name) $text -}}
{{- end -}}
{{- toYaml (merge (deepCopy .values.podAnnotations) $annotations) -}}
{{- end -}}

{{/*
The Deployment of a service. What is particular to a part is in its own templates:
  auralis.<part>.env, .ports and, where the part has them, .lifecycle, .volumes, .mounts, .limits
The scope may hold
  gpu, checksums, scrapeScope  see above
  graceSeconds                 from a pod's deletion to SIGKILL, preStop included
  token                        "true": mounts the service account's token
*/}}
{{- define "auralis.deployment" -}}
{{- $part := printf "auralis.%s" .part -}}
apiVersion: apps/v1
kind: Deployment
{{ include "auralis.metadata" . }}
spec:
  {{- if eq (dig "autoscaling" "type" "none" .values) "none" }}
  replicas: {{ dig "replicas" 1 .values | int }}
  {{- else }}
  {{- with lookup "apps/v1" "Deployment" .root.Release.Namespace (include "auralis.partname" .) }}
  # As many as run now. Left out, it would be one pod from the moment when the autoscaler is switched on to its first look.
  replicas: {{ .spec.replicas }}
  {{- end }}
  {{- end }}
  revisionHistoryLimit: 5
  # Pulling an image with torch and warming kernels may take minutes.
  progressDeadlineSeconds: {{ max 600 (add .values.startupSeconds 300) }}
  selector:
    matchLabels:
      {{- include "auralis.selector" . | nindent 6 }}
  {{- with .values.strategy }}
  strategy:
    type: {{ .type }}
    {{- if eq .type "RollingUpdate" }}
    rollingUpdate:
      {{- toYaml .rollingUpdate | nindent 6 }}
    {{- end }}
  {{- end }}
  template:
    metadata:
      labels:
        {{- include "auralis.podLabels" . | nindent 8 }}
      annotations:
        {{- include "auralis.podAnnotations" . | nindent 8 }}
    spec:
      serviceAccountName: {{ include "auralis.serviceAccountName" . }}
      automountServiceAccountToken: {{ .token | default "false" }}
      # Variables such as AURALIS_EDGE_PORT, which Kubernetes makes of Services, would be read as settings.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ .graceSeconds }}
      {{- include "auralis.podSecurityContext" . | nindent 6 }}
      {{- include "auralis.placement" . | trim | nindent 6 }}
      {{- with .runtimeClassName }}
      runtimeClassName: {{ . }}
      {{- end }}
      {{- with .root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      containers:
        - name: {{ .part }}
          image: {{ include "auralis.image" . | quote }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          {{- include "auralis.containerSecurityContext" . | nindent 10 }}
          ports:
            {{- with include (printf "%s.ports" $part) . }}
            {{- . | nindent 12 }}
            {{- end }}
            - {name: internal, containerPort: {{ .root.Values.settings.internalPort }}}
          env:
            {{- include "auralis.env" . | nindent 12 }}
            {{- include (printf "%s.env" $part) . | nindent 12 }}
            {{- with .values.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- with .values.extraEnvFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- include "auralis.probes" . | nindent 10 }}
          {{- with include (printf "%s.lifecycle" $part) . }}
          {{- . | nindent 10 }}
          {{- end }}
          resources:
            {{- include (printf "%s.resources" $part) . | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- with include "auralis.nats.clientMounts" . | trim }}
            {{- . | nindent 12 }}
            {{- end }}
            {{- with .values.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: {{ .values.scratchSize | default "64Mi" }}}
        {{- with include "auralis.nats.clientVolumes" . | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with .values.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}

{{- define "auralis.podDisruptionBudget" -}}
{{- if .values.podDisruptionBudget.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
{{ include "auralis.metadata" . }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  # A pod that never became ready must not hold up a drain.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "auralis.selector" . | nindent 6 }}
{{- end }}
{{- end -}}
