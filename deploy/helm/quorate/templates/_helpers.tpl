{{- define "quorate.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "quorate.selector" -}}
app.kubernetes.io/name: quorate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "quorate.labels" -}}
{{ include "quorate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: quorate
{{- end -}}

{{- define "quorate.metadata" -}}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "quorate.labels" . | nindent 2 }}
{{- end -}}

{{/* By its digest where there is one: that cannot come to mean something else. */}}
{{- define "quorate.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where pods of the headless service are found. The namespace is known to the pod, so that kustomize may change it. */}}
{{- define "quorate.peerDomain" -}}
{{ include "quorate.name" . }}-peers.$(POD_NAMESPACE).svc.{{ .Values.clusterDomain }}
{{- end -}}

{{/* The nodes that form the cluster: pod 0 is node 1. */}}
{{- define "quorate.peers" -}}
{{- $peers := list -}}
{{- range $ordinal := until (int .Values.firstNodes) -}}
{{- $pod := printf "%s-%d" (include "quorate.name" $) $ordinal -}}
{{- $peers = append $peers (printf "%d=%s.%s:7421" (add1 $ordinal) $pod (include "quorate.peerDomain" $)) -}}
{{- end -}}
{{- join "," $peers -}}
{{- end -}}

{{/* A JSON value is a TOML value, of what settings are made of. */}}
{{- define "quorate.settings" -}}
{{- range $name, $value := . }}{{ if not (kindIs "map" $value) }}{{ $name }} = {{ toJson $value }}
{{ end }}{{ end -}}
{{- end -}}

{{- define "quorate.toml" -}}
{{- $listen := dict "client" "0.0.0.0:7411" "peer" "0.0.0.0:7421" "http" "0.0.0.0:7431" -}}
{{- $own := dict "data_dir" "/var/lib/quorate" "listen" $listen -}}
{{- $all := mergeOverwrite (deepCopy .Values.config) $own -}}
{{ include "quorate.settings" $all }}
{{- range $section, $settings := $all }}{{ if kindIs "map" $settings }}
[{{ $section }}]
{{ include "quorate.settings" $settings }}
{{- end }}{{ end -}}
{{- end -}}

{{- define "quorate.check" -}}
{{- $first := int .Values.firstNodes -}}
{{- if not (has $first (list 1 3 5)) -}}
{{- fail "firstNodes is 1, 3 or 5: an even number survives no more failures than the odd one below it" -}}
{{- end -}}
{{- if lt (int .Values.replicas) $first -}}
{{- fail (printf "replicas (%d) is less than firstNodes (%d): the cluster forms when all of its first nodes are up" (int .Values.replicas) $first) -}}
{{- end -}}
{{- if and .Values.tls.clientCertificates (not (and .Values.tls.enabled .Values.auth.enabled)) -}}
{{- fail "tls.clientCertificates says who clients are: it needs tls.enabled and auth.enabled" -}}
{{- end -}}
{{- if and (not .Values.insecure) (not (and .Values.tls.enabled .Values.auth.enabled)) -}}
{{- fail "neither encrypted nor authenticated: use values-tls.yaml, or say insecure=true in a network that only trusted programs reach" -}}
{{- end -}}
{{- end -}}
