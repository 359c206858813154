"""What we publish about ourselves (OpenID Connect Discovery 1.0, RFC 8414, RFC 9728): true, or not there.

`tests/authn/test_discovery.py` asks of each list what it promises.
"""

from collections.abc import Sequence
from typing import Any

from authn.clients.metadata import AUTH_METHODS
from authn.jose import ASYMMETRIC_ALGORITHMS
from authn.settings import AuthnSettings
from authn.tokens.endpoint import GRANT_TYPES

TOKEN_PATH = "/oauth2/token"
JWKS_PATH = "/oauth2/jwks"
INTROSPECT_PATH = "/oauth2/introspect"
REVOKE_PATH = "/oauth2/revoke"
COMPROMISED_KEYS_PATH = "/oauth2/jwks/compromised"
OPENID_CONFIGURATION_PATH = "/.well-known/openid-configuration"
AUTHORIZATION_SERVER_PATH = "/.well-known/oauth-authorization-server"
PROTECTED_RESOURCE_PATH = "/.well-known/oauth-protected-resource"


def authorization_server(settings: AuthnSettings, details_types: Sequence[str]) -> dict[str, Any]:
    """The metadata of the authorization server (RFC 8414, section 2)."""
    methods = list(AUTH_METHODS)
    algorithms = list(ASYMMETRIC_ALGORITHMS)
    metadata: dict[str, Any] = {
        "issuer": settings.issuer,
        "token_endpoint": settings.url(TOKEN_PATH),
        "jwks_uri": settings.url(JWKS_PATH),
        "introspection_endpoint": settings.url(INTROSPECT_PATH),
        "revocation_endpoint": settings.url(REVOKE_PATH),
        "scopes_supported": list(settings.scopes),
        "response_types_supported": [],
        "grant_types_supported": list(GRANT_TYPES),
        "dpop_signing_alg_values_supported": algorithms,
        "protected_resources": [settings.audience],
    }
    for endpoint in ("token", "introspection", "revocation"):
        # a client without any credential may not look into tokens; with a registered key ``none`` is not without
        metadata[f"{endpoint}_endpoint_auth_methods_supported"] = methods
        metadata[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = algorithms
    types = [*details_types, *settings.details_types]
    if types:
        metadata["authorization_details_types_supported"] = types
    return metadata


def protected_resource(settings: AuthnSettings, details_types: Sequence[str]) -> dict[str, Any]:
    """The metadata of our own API as a protected resource (RFC 9728, section 2)."""
    metadata: dict[str, Any] = {
        "resource": settings.audience,
        "authorization_servers": [settings.issuer],
        "jwks_uri": settings.url(JWKS_PATH),
        "scopes_supported": list(settings.scopes),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(ASYMMETRIC_ALGORITHMS),
        "resource_name": "Tessera",
    }
    if details_types:
        metadata["authorization_details_types_supported"] = list(details_types)
    return metadata
