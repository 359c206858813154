"""An independent client, unmodified, against a running service over TCP: Authlib's."""

import json
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.authn.forge import Key, claims_of
from tests.end_to_end.service import ServiceProcess, run_tessera

with warnings.catch_warnings(record=True):  # it would rather be used with a fork of httpx, and says so
    from authlib.integrations.httpx_client import OAuth2Client
    from authlib.oauth2.rfc7523 import PrivateKeyJWT

KEY = Key("RS256")
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
CLIENTS: list[dict[str, Any]] = [
    {"client_id": "basic", "client_secret": "basic-secret", "token_endpoint_auth_method": "client_secret_basic"},
    {"client_id": "post", "client_secret": "post-secret", "token_endpoint_auth_method": "client_secret_post"},
    {
        "client_id": "signed",
        "jwks": {"keys": [{**KEY.jwk, "kid": "k1"}]},
        "assertion_audience": "issuer_or_token_endpoint",
        "assertion_lifetime_max": 3600,
    },
    {
        "client_id": "opaque",
        "client_secret": "opaque-secret",
        "access_token_format": "opaque",
        "grant_types": ["client_credentials", "refresh_token", EXCHANGE],
    },
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service with clients from a file, registered while it runs."""
    folder = tmp_path_factory.mktemp("authlib")
    with ServiceProcess(folder, {}) as service:
        service.start()
        file = folder / "clients.json"
        file.write_text(json.dumps([{"scope": "permissions:check a b", **client} for client in CLIENTS]))
        made = run_tessera("client", "create", "--file", str(file), settings=service.settings, folder=folder)
        assert made.returncode == 0, made.stderr
        assert [client["client_id"] for client in json.loads(made.stdout)] == [c["client_id"] for c in CLIENTS]
        yield service


def client(service: ServiceProcess, client_id: str, secret: Any, method: str) -> Any:
    return OAuth2Client(client_id, secret, token_endpoint_auth_method=method, scope="permissions:check")


@pytest.mark.parametrize(
    ("client_id", "secret", "method"),
    [
        ("basic", "basic-secret", "client_secret_basic"),
        ("post", "post-secret", "client_secret_post"),
        ("opaque", "opaque-secret", "client_secret_basic"),
    ],
)
def test_client_credentials(service: ServiceProcess, client_id: str, secret: str, method: str) -> None:
    """By each way of a secret; the token opens our own API."""
    with client(service, client_id, secret, method) as session:
        token = session.fetch_token(f"{service.url}/oauth2/token", grant_type="client_credentials")
        assert token["token_type"] == "Bearer"
        assert token["scope"] == "permissions:check"
        answer = session.post(f"{service.url}/v1/permissions/check", json={})
        assert answer.status_code == 400
        assert "value is required" in answer.text


def test_private_key_jwt(service: ServiceProcess) -> None:
    """With the audience and the lifetime that this library uses, which the client was registered for."""
    pem = KEY.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    url = f"{service.url}/oauth2/token"
    with client(service, "signed", pem, "private_key_jwt") as session:
        session.register_client_auth_method(PrivateKeyJWT(url))
        token = session.fetch_token(url, grant_type="client_credentials")
        assert claims_of(token["access_token"])["client_id"] == "signed"


def test_a_wrong_secret(service: ServiceProcess) -> None:
    """The library sees the error that the RFC names."""
    from authlib.integrations.base_client import OAuthError

    with (
        client(service, "basic", "wrong-secret", "client_secret_basic") as session,
        pytest.raises(OAuthError, match="invalid_client"),
    ):
        session.fetch_token(f"{service.url}/oauth2/token", grant_type="client_credentials")


def test_refresh_introspection_and_revocation(service: ServiceProcess) -> None:
    """A family by exchange, renewed, looked into and taken back."""
    access_token = "urn:ietf:params:oauth:token-type:access_token"
    url = f"{service.url}/oauth2"
    with client(service, "opaque", "opaque-secret", "client_secret_basic") as session:
        first = session.fetch_token(f"{url}/token", grant_type="client_credentials")
        family = session.fetch_token(
            f"{url}/token",
            grant_type=EXCHANGE,
            subject_token=first["access_token"],
            subject_token_type=access_token,
            requested_token_type="urn:ietf:params:oauth:token-type:refresh_token",
        )
        renewed = session.refresh_token(f"{url}/token", refresh_token=family["access_token"])
        assert renewed["refresh_token"] != family["access_token"]
        found = session.introspect_token(f"{url}/introspect", token=renewed["access_token"]).json()
        assert (found["active"], found["client_id"]) == (True, "opaque")
        revoked = session.revoke_token(f"{url}/revoke", token=renewed["refresh_token"])
        assert revoked.status_code == 200
        ended = session.introspect_token(f"{url}/introspect", token=renewed["access_token"]).json()
        assert ended == {"active": False}


def test_the_first_admin(service: ServiceProcess) -> None:
    """The client printed at the first start may administer, by either way of its secret."""
    client_id, secret = service.admin_credential()
    for method in ("client_secret_basic", "client_secret_post"):
        with OAuth2Client(client_id, secret, token_endpoint_auth_method=method) as session:
            session.fetch_token(f"{service.url}/oauth2/token", grant_type="client_credentials")
            assert session.get(f"{service.url}/admin/clients").status_code == 200
