{{- define "quorate.secureEnv" -}}
{{- with .Values.tls }}{{ if .enabled -}}
- name: QUORATE_TLS_CLIENT_CERT
  value: /etc/quorate-tls/client/tls.crt
- name: QUORATE_TLS_CLIENT_KEY
  value: /etc/quorate-tls/client/tls.key
{{- if .clientCertificates }}
- name: QUORATE_TLS_CLIENT_CA
  value: /etc/quorate-tls/client/ca.crt
{{- end }}
- name: QUORATE_TLS_PEER_CERT
  value: /etc/quorate-tls/peer/tls.crt
- name: QUORATE_TLS_PEER_KEY
  value: /etc/quorate-tls/peer/tls.key
- name: QUORATE_TLS_PEER_CA
  value: /etc/quorate-tls/peer/ca.crt
# What commands in this container go by: the preStop hook, and `kubectl exec`.
- name: QUORATE_CA
  value: /etc/quorate-tls/client/ca.crt
{{ end }}{{ end -}}
{{- with .Values.auth }}{{ if .enabled -}}
- name: QUORATE_AUTH
  value: "true"
- name: QUORATE_AUTH_ADMIN_PASSWORD_FILE
  value: /etc/quorate-admin/password
- name: QUORATE_USER
  value: admin
- name: QUORATE_PASSWORD_FILE
  value: /etc/quorate-admin/password
{{- if .jwksConfigMap }}
- name: QUORATE_AUTH_JWKS_FILE
  value: /etc/quorate-jwks/jwks.json
- name: QUORATE_AUTH_JWT_ISSUER
  value: {{ .jwtIssuer | quote }}
- name: QUORATE_AUTH_JWT_AUDIENCE
  value: {{ .jwtAudience | quote }}
{{- end }}
{{ end }}{{ end -}}
{{- end -}}

{{/* The preStop hook: the image has no shell, so the command is all of it. */}}
{{- define "quorate.drain" -}}
- /quorate
- cluster
- drain
- --local
- --timeout={{ .Values.drain.timeoutSeconds }}s
{{/* From its beginning: the drain, the stop, and the start of the pod that comes after. */}}
{{- printf "- --lasts=%ds" (add .Values.drain.timeoutSeconds .Values.drain.stopSeconds .Values.probes.startupSeconds) }}
{{- end -}}
