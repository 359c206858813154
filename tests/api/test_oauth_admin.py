"""The administration of clients, keys and revocations over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api.oauth_admin import STATUSES, status_of
from api.statuses import Code
from authn import errors
from authn.errors import AuthnError, BadRedirectUri
from authn.keys import keeper
from tests.api.test_oauth import application
from tests.authn.forge import Key, header_of

PSK = {"authorization": "Bearer psk"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with application() as (_, http):
        yield http


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def untouched() -> AsyncIterator[httpx.AsyncClient]:
    """An application that tests leave as it is."""
    async with application() as (service, http):
        plain = {"client_id": "svc", "client_secret": "svc-secret", "scope": "permissions:check"}
        await service.authn.admin.create_clients([plain], "test")
        yield http


async def create(http: httpx.AsyncClient, body: Any) -> httpx.Response:
    return await http.post("/admin/clients", json=body, headers=PSK)


async def token(http: httpx.AsyncClient, client: dict[str, Any], **form: str) -> httpx.Response:
    return await http.post(
        "/oauth2/token",
        data={"grant_type": "client_credentials", **form},
        auth=(client["client_id"], client["client_secret"]),
    )


async def test_a_clients_life(http: httpx.AsyncClient) -> None:
    """Registered, shown without its secret, changed, given another one, disabled, forgotten."""
    made = await create(http, {"client_id": "svc", "scope": "a"})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    client = made.json()
    shown = (await http.get("/admin/clients/svc", headers=PSK)).json()
    assert "client_secret" not in shown
    assert shown.items() <= client.items()
    assert (await token(http, client)).json()["scope"] == "a"
    changed = await http.patch("/admin/clients/svc", json={"scope": "b"}, headers=PSK)
    assert changed.json()["scope"] == "b"
    assert (await token(http, client)).json()["scope"] == "b"
    second = await http.post("/admin/clients/svc/secret", json={"overlap_seconds": 60}, headers=PSK)
    assert second.status_code == 201
    for secret in (client["client_secret"], second.json()["client_secret"]):
        assert (await token(http, {**client, "client_secret": secret})).status_code == 200
    held = (await token(http, client)).json()["access_token"]
    assert (await http.post("/admin/clients/svc/disable", headers=PSK)).status_code == 204
    assert (await token(http, client)).status_code == 401
    assert (await http.post("/admin/clients/svc/enable", headers=PSK)).status_code == 204
    assert (await token(http, client)).status_code == 200
    found = await http.post("/oauth2/introspect", data={"token": held}, auth=("svc", second.json()["client_secret"]))
    assert found.json() == {"active": False}
    assert (await http.delete("/admin/clients/svc", headers=PSK)).status_code == 204
    assert (await http.get("/admin/clients/svc", headers=PSK)).status_code == 404


async def test_many_at_once(http: httpx.AsyncClient) -> None:
    """A list in, a list out; all or none; listed in pages."""
    made = await create(http, [{"client_id": name} for name in ("c", "a", "b")])
    assert [client["client_id"] for client in made.json()] == ["c", "a", "b"]
    refused = await create(http, [{"client_id": "d"}, {"client_id": "a"}])
    assert (refused.status_code, refused.json()["code"]) == (409, 6)
    first = (await http.get("/admin/clients", params={"limit": 3}, headers=PSK)).json()
    assert [client["client_id"] for client in first["clients"]] == ["a", "admin", "b"]
    second = (await http.get("/admin/clients", params={"limit": 3, "after": first["next"]}, headers=PSK)).json()
    assert ([client["client_id"] for client in second["clients"]], "next" in second) == (["c"], False)


async def test_keys(http: httpx.AsyncClient) -> None:
    """Listed without private parts; not rotated too early; revoked at once."""
    keys = (await http.get("/admin/keys", headers=PSK)).json()["keys"]
    assert {key["state"] for key in keys} == {"active", "next"}
    assert all(set(key) == {"kid", "alg", "state", "created_at", "state_since", "kek_id"} for key in keys)
    early = await http.post("/admin/keys/rotate", headers=PSK)
    assert (early.status_code, early.json()["code"]) == (400, 9)
    client = (await create(http, {"client_id": "svc"})).json()
    kid = header_of((await token(http, client)).json()["access_token"])["kid"]
    assert (await http.post(f"/admin/keys/{kid}/revoke", headers=PSK)).status_code == 204
    assert header_of((await token(http, client)).json()["access_token"])["kid"] != kid
    assert (await http.get("/oauth2/jwks/compromised")).json() == {"kids": [kid]}
    assert (await http.post("/admin/keys/none/revoke", headers=PSK)).status_code == 404


async def test_revocations(http: httpx.AsyncClient) -> None:
    """By token, subject, session and grant, whosever they are."""
    client = (await create(http, {"client_id": "svc"})).json()
    auth = (client["client_id"], client["client_secret"])
    for body in ("token", "subject"):
        text = (await token(http, client)).json()["access_token"]
        what = {"token": text} if body == "token" else {"subject": "client:svc"}
        assert (await http.post("/admin/revocations", json=what, headers=PSK)).status_code == 204
        found = await http.post("/oauth2/introspect", data={"token": text}, auth=auth)
        assert found.json() == {"active": False}
    for what in ({"sid": "s"}, {"grant_id": "g"}, {"token": "unknown"}):
        assert (await http.post("/admin/revocations", json=what, headers=PSK)).status_code == 204


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/admin/clients", b"{", 400),
        ("POST", "/admin/clients", b"7", 400),
        ("POST", "/admin/clients", b"[1]", 400),
        ("POST", "/admin/clients", b"[]", 400),
        ("POST", "/admin/clients", b'{"scope":"a","scope":"b"}', 400),
        ("POST", "/admin/clients", b'{"grant_types":["password"]}', 400),
        ("POST", "/admin/clients", b'{"redirect_uris":["javascript:x"]}', 400),
        ("POST", "/admin/clients", b'{"client_id":"admin"}', 409),
        ("POST", "/admin/clients", b'{"client_name":"' + b"x" * 1_100_000 + b'"}', 429),
        ("GET", "/admin/clients?limit=0", b"", 400),
        ("GET", "/admin/clients?limit=1001", b"", 400),
        ("GET", "/admin/clients?limit=x", b"", 400),
        ("GET", "/admin/clients/nobody", b"", 404),
        ("PATCH", "/admin/clients/nobody", b"{}", 404),
        ("PATCH", "/admin/clients/admin", b"[]", 400),
        ("PATCH", "/admin/clients/admin", b'{"client_id":"x"}', 400),
        ("DELETE", "/admin/clients/nobody", b"", 404),
        ("POST", "/admin/clients/nobody/disable", b"", 404),
        ("POST", "/admin/clients/nobody/enable", b"", 404),
        ("POST", "/admin/clients/nobody/revoke", b"", 404),
        ("POST", "/admin/clients/nobody/secret", b"{}", 404),
        ("POST", "/admin/clients/admin/secret", b'{"overlap_seconds":-1}', 400),
        ("POST", "/admin/clients/admin/secret", b'{"overlap_seconds":"1"}', 400),
        ("POST", "/admin/clients/admin/secret", b'{"client_secret":"short"}', 400),
        ("POST", "/admin/revocations", b"{}", 400),
        ("POST", "/admin/revocations", b'{"subject":""}', 400),
        ("POST", "/admin/revocations", b'{"subject":"a","sid":"b"}', 400),
        ("POST", "/admin/revocations", b'{"jti":"a"}', 400),
        ("PUT", "/admin/clients", b"{}", 405),
    ],
)
async def test_refused(untouched: httpx.AsyncClient, method: str, path: str, body: bytes, status: int) -> None:
    """With the error form of our own API, and nothing changed."""
    before = (await untouched.get("/admin/clients", headers=PSK)).json()
    answer = await untouched.request(method, path, content=body, headers=PSK)
    assert answer.status_code == status, answer.text
    assert answer.json()["message"]
    assert (await untouched.get("/admin/clients", headers=PSK)).json() == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/admin/clients"),
        ("GET", "/admin/clients"),
        ("GET", "/admin/clients/admin"),
        ("PATCH", "/admin/clients/admin"),
        ("DELETE", "/admin/clients/admin"),
        ("POST", "/admin/clients/admin/disable"),
        ("POST", "/admin/clients/admin/enable"),
        ("POST", "/admin/clients/admin/revoke"),
        ("POST", "/admin/clients/admin/secret"),
        ("GET", "/admin/keys"),
        ("POST", "/admin/keys/rotate"),
        ("POST", "/admin/keys/x/revoke"),
        ("POST", "/admin/revocations"),
    ],
)
async def test_administrators_only(untouched: httpx.AsyncClient, method: str, path: str) -> None:
    """401 for nobody, 403 for a client without the right, on every path."""
    client = {"client_id": "svc", "client_secret": "svc-secret"}
    text = (await token(untouched, client)).json()["access_token"]
    nobody = await untouched.request(method, path)
    assert nobody.status_code == 401
    assert nobody.headers["www-authenticate"] == "Bearer"
    without = await untouched.request(method, path, headers={"authorization": f"Bearer {text}"})
    assert (without.status_code, without.json()["code"]) == (403, 7)


async def test_every_error_has_a_row() -> None:
    """What an administrator can meet is in the table; the OAuth errors have their own form."""
    met = {
        kind
        for module in (errors, keeper)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, AuthnError)
    }
    oauth = {kind for kind in met if issubclass(kind, errors.OAuthError)} - {errors.TemporarilyUnavailable}
    ours = {
        errors.AuthnError,
        errors.NotMigrated,
        errors.BadConfiguration,
        errors.KeyUnreadable,
        errors.MalformedJose,
        errors.BadSignature,
        errors.NeedsStore,
    }
    assert met - oauth - ours - {BadRedirectUri} == set(STATUSES)
    assert status_of(BadRedirectUri("redirect_uris", "x")).code is Code.INVALID_ARGUMENT
    assert status_of(errors.KeyUnreadable("x")).code is Code.INTERNAL


async def test_keys_of_clients(http: httpx.AsyncClient) -> None:
    """A client with keys is registered with them and shown with them."""
    jwks = {"keys": [Key().jwk]}
    made = (await create(http, {"client_id": "k", "jwks": jwks})).json()
    assert made["jwks"] == jwks
    assert made["token_endpoint_auth_method"] == "private_key_jwt"
    assert "client_secret" not in made
