"""What deploy/ uses before the program has it. What has come is checked like everything else, on this list or not."""

# Settings of the node, and of commands, by their environment variables.
SETTINGS = {
    "QUORATE_ZONE",
    "QUORATE_JOIN",
    "QUORATE_INSECURE",
    "QUORATE_TLS_CLIENT_CERT",
    "QUORATE_TLS_CLIENT_KEY",
    "QUORATE_TLS_CLIENT_CA",
    "QUORATE_TLS_PEER_CERT",
    "QUORATE_TLS_PEER_KEY",
    "QUORATE_TLS_PEER_CA",
    "QUORATE_AUTH",
    "QUORATE_AUTH_ADMIN_PASSWORD_FILE",
    "QUORATE_AUTH_JWKS_FILE",
    "QUORATE_AUTH_JWT_ISSUER",
    "QUORATE_AUTH_JWT_AUDIENCE",
    "QUORATE_CA",
    "QUORATE_USER",
    "QUORATE_PASSWORD_FILE",
}
# Beginnings of command lines.
COMMANDS = {("cluster", "drain"), ("cluster", "undrain"), ("cluster", "remove"), ("user", "password")}
METRICS = {"quorate_tls_certificate_expiry_seconds"}
REASONS = {"MEMORY_HIGH", "QUOTA_EXCEEDED"}
