"""Who asks, and whether they may: tokens, certificates, service accounts, impersonation, RBAC."""
