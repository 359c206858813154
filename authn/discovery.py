"""What we publish about ourselves (OpenID Connect Discovery 1.0, RFC 8414): true or not there.

`tests/authn/test_discovery.py` asks each list of every behaviour that it promises.
"""

from collections.abc import Sequence
from typing import Any

from authn.settings import AuthnSettings

TOKEN_PATH = "/oauth2/token"
JWKS_PATH = "/oauth2/jwks"
OPENID_CONFIGURATION_PATH = "/.well-known/openid-configuration"
AUTHORIZATION_SERVER_PATH = "/.well-known/oauth-authorization-server"
SUPPORTED_GRANT_TYPES = ("client_credentials",)


def authorization_server(settings: AuthnSettings, *, scopes: Sequence[str]) -> dict[str, Any]:
    """The metadata of the authorization server."""
    return {
        "issuer": settings.issuer,
        "token_endpoint": settings.url(TOKEN_PATH),
        "jwks_uri": settings.url(JWKS_PATH),
        "scopes_supported": list(scopes),
        "response_types_supported": [],
        "grant_types_supported": list(SUPPORTED_GRANT_TYPES),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }
