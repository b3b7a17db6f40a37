"""Tokens of an OIDC issuer. Loaded only where the settings name one."""
