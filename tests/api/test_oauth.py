"""The identity part through the assembled application: its documents, its tokens at our own API, and DPoP there."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api.app import Service, http_app
from api.settings import read_settings
from tests.authn.forge import Key, claims_of, proof

ISSUER = "http://id.example"
CHECK = "/v1/permissions/check"
KEY = Key()
pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def application(**settings: str) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    """The application in this process, over a database in memory."""
    given = {"TESSERA_DATABASE_URL": "sqlite:///:memory:", "TESSERA_ISSUER": ISSUER, "TESSERA_GRPC_ADDR": ""}
    service = Service(read_settings({**given, "TESSERA_PRESHARED_KEYS": "psk", **settings}))
    await service.start()
    try:
        transport = httpx.ASGITransport(http_app(service))
        async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as http:
            yield service, http
    finally:
        await service.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with application() as (service, http):
        await service.authn.admin.create_clients(
            [
                {"client_id": "svc", "client_secret": "svc-secret", "scope": "permissions:check"},
                {"client_id": "reader", "client_secret": "reader-secret", "scope": "relationships:read"},
                {"client_id": "boss", "client_secret": "boss-secret", "scope": "admin"},
                {
                    "client_id": "other",
                    "client_secret": "other-secret",
                    "scope": "permissions:check",
                    "resources": ["https://other.example"],
                },
                {
                    "client_id": "opaque",
                    "client_secret": "opaque-secret",
                    "scope": "permissions:check",
                    "access_token_format": "opaque",
                },
            ],
            "test",
        )
        yield http


async def token(http: httpx.AsyncClient, client_id: str = "svc", dpop: str = "", **form: str) -> str:
    answer = await http.post(
        "/oauth2/token",
        data={"grant_type": "client_credentials", **form},
        auth=(client_id, f"{client_id}-secret"),
        headers={"dpop": dpop} if dpop else {},
    )
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["access_token"]
    return text


async def check(http: httpx.AsyncClient, **headers: Any) -> httpx.Response:
    """An empty check: 400 for who is let in, since it asks nothing."""
    return await http.post(CHECK, json={}, headers=headers)


def token_proof(**claims: Any) -> str:
    return proof(KEY, "POST", f"{ISSUER}/oauth2/token", **claims)


async def test_documents(http: httpx.AsyncClient) -> None:
    """Public, cacheable, and readable from other origins' scripts; without credentials."""
    for path in (
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource",
        "/oauth2/jwks",
        "/oauth2/jwks/compromised",
    ):
        answer = await http.get(path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"].startswith("public, max-age=")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        head = await http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == answer.headers["content-length"]
        assert (await http.post(path)).status_code == 405


@pytest.mark.parametrize("client_id", ["svc", "opaque"])
async def test_tokens_open_our_api(http: httpx.AsyncClient, client_id: str) -> None:
    """Either format; the token carries the zookie of the default store."""
    text = await token(http, client_id)
    assert (await check(http, authorization=f"Bearer {text}")).status_code == 400
    assert (await check(http, authorization=f"bearer {text}")).status_code == 400
    found = await http.post("/oauth2/introspect", data={"token": text}, auth=("boss", "boss-secret"))
    assert found.json()["active"] is True
    assert found.json()["zookie"]
    if client_id == "svc":
        assert claims_of(text)["authz_rev"] == found.json()["zookie"]


@pytest.mark.parametrize(
    ("make", "status"),
    [
        pytest.param(lambda text: {}, 401, id="none"),
        pytest.param(lambda text: {"authorization": "Bearer rubbish"}, 401, id="rubbish"),
        pytest.param(lambda text: {"authorization": "Bearer"}, 401, id="empty"),
        pytest.param(lambda text: {"authorization": f"Basic {text}"}, 401, id="another scheme"),
        pytest.param(lambda text: {"authorization": f"Bearer {text}x"}, 401, id="longer"),
        pytest.param(lambda text: {"authorization": f"Bearer {text}, Bearer {text}"}, 401, id="two"),
        pytest.param(lambda text: {"authorization": f"DPoP {text}"}, 401, id="DPoP without a proof"),
    ],
)
async def test_refused_credentials(
    http: httpx.AsyncClient, make: Callable[[str], dict[str, str]], status: int
) -> None:
    """With a challenge, and before anything else is looked at."""
    answer = await check(http, **make(await token(http)))
    assert answer.status_code == status
    assert answer.json()["code"] == 16
    assert answer.headers["www-authenticate"].split()[0] in {"Bearer", "DPoP"}


async def test_challenges_say_what_is_wrong(http: httpx.AsyncClient) -> None:
    """RFC 6750, section 3: an error only where there was a credential."""
    assert (await check(http)).headers["www-authenticate"] == "Bearer"
    wrong = await check(http, authorization="Bearer rubbish")
    assert wrong.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    proofless = await check(http, authorization=f"DPoP {await token(http)}")
    assert proofless.headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof", algs="ES256 ')


async def test_a_good_token_without_the_right(http: httpx.AsyncClient) -> None:
    """403, and no challenge."""
    answer = await check(http, authorization=f"Bearer {await token(http, 'reader')}")
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    full = {
        "resource": {"objectType": "document", "objectId": "1"},
        "permission": "view",
        "subject": {"object": {"objectType": "user", "objectId": "ann"}},
    }
    denied = await http.post(CHECK, json=full, headers={"authorization": f"Bearer {await token(http, 'reader')}"})
    assert (denied.status_code, denied.json()["code"]) == (403, 7)
    assert "www-authenticate" not in denied.headers


async def test_a_token_for_somebody_else(http: httpx.AsyncClient) -> None:
    """Another audience's token does not open our API (attack J14)."""
    text = await token(http, "other", resource="https://other.example")
    assert (await check(http, authorization=f"Bearer {text}")).status_code == 401


async def test_a_revoked_token(http: httpx.AsyncClient) -> None:
    """Does not either, from the moment it was taken back."""
    text = await token(http)
    assert (await check(http, authorization=f"Bearer {text}")).status_code == 400
    revoked = await http.post("/oauth2/revoke", data={"token": text}, auth=("svc", "svc-secret"))
    assert revoked.status_code == 200
    assert (await check(http, authorization=f"Bearer {text}")).status_code == 401


async def test_a_bound_token_with_its_proof(http: httpx.AsyncClient) -> None:
    """Once for each proof, for the path that it names, by the scheme DPoP alone."""
    text = await token(http, dpop=token_proof())
    once = proof(KEY, "POST", ISSUER + CHECK, access_token=text)
    assert (await check(http, authorization=f"DPoP {text}", dpop=once)).status_code == 400
    again = await check(http, authorization=f"DPoP {text}", dpop=once)
    assert again.status_code == 401
    assert again.headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof"')
    other = proof(KEY, "POST", ISSUER + "/v1/schema/read", access_token=text)
    assert (await check(http, authorization=f"DPoP {text}", dpop=other)).status_code == 401
    fresh = proof(KEY, "POST", ISSUER + CHECK, access_token=text)
    downgraded = await check(http, authorization=f"Bearer {text}", dpop=fresh)
    assert downgraded.status_code == 401
    stolen = proof(Key(), "POST", ISSUER + CHECK, access_token=text)
    thief = await check(http, authorization=f"DPoP {text}", dpop=stolen)
    assert thief.headers["www-authenticate"].startswith('DPoP error="invalid_token"')


async def test_nonces_at_our_api(http: httpx.AsyncClient) -> None:
    """A nonce that is not ours is answered with one that is."""
    text = await token(http, dpop=token_proof())
    wrong = proof(KEY, "POST", ISSUER + CHECK, access_token=text, nonce="A" * 30)
    refused = await check(http, authorization=f"DPoP {text}", dpop=wrong)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith('DPoP error="use_dpop_nonce"')
    nonce = refused.headers["dpop-nonce"]
    right = proof(KEY, "POST", ISSUER + CHECK, access_token=text, nonce=nonce)
    assert (await check(http, authorization=f"DPoP {text}", dpop=right)).status_code == 400


async def test_two_proofs_at_our_api(http: httpx.AsyncClient) -> None:
    """Attack D1, here as at the token endpoint."""
    text = await token(http, dpop=token_proof())
    headers = [("authorization", f"DPoP {text}")]
    headers += [("dpop", proof(KEY, "POST", ISSUER + CHECK, access_token=text)) for _ in range(2)]
    assert (await http.post(CHECK, json={}, headers=headers)).status_code == 401


async def test_d21_proofs_are_for_our_url(http: httpx.AsyncClient) -> None:
    """Whatever host the request says it asked."""
    text = await token(http, dpop=token_proof())
    for header in ("host", "x-forwarded-host"):
        evil = proof(KEY, "POST", "http://evil.example" + CHECK, access_token=text)
        answer = await check(http, authorization=f"DPoP {text}", dpop=evil, **{header: "evil.example"})
        assert answer.status_code == 401


async def test_other_doors_take_proofs(http: httpx.AsyncClient) -> None:
    """AuthZEN's and the administration's."""
    text = await token(http, dpop=token_proof())
    path = "/access/v1/evaluation"
    dpop = proof(KEY, "POST", ISSUER + path, access_token=text)
    assert (
        await http.post(path, json={}, headers={"authorization": f"DPoP {text}", "dpop": dpop})
    ).status_code == 400
    boss = await token(http, "boss", dpop=token_proof())
    for path, status in (("/admin/clients", 200), ("/admin/keys", 200)):
        dpop = proof(KEY, "GET", ISSUER + path, access_token=boss)
        answer = await http.get(path, headers={"authorization": f"DPoP {boss}", "dpop": dpop})
        assert answer.status_code == status


async def test_a_body_in_pieces(http: httpx.AsyncClient) -> None:
    """A form may come in chunks, and a large one is refused before it has all come."""
    headers = {"content-type": "application/x-www-form-urlencoded"}

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"grant_type=client", b"_credentials&client_id=svc&client", b"_secret=svc-secret"):
            yield piece

    answer = await http.post("/oauth2/token", content=pieces(), headers=headers)
    assert answer.status_code == 200
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100:
            sent += 1
            yield b"x" * 16_384

    refused = await http.post("/oauth2/token", content=endless(), headers=headers)
    assert refused.status_code == 413
    assert sent < 10


async def test_the_openapi_document_tells_of_every_endpoint(http: httpx.AsyncClient) -> None:
    """Paths and methods, those of administration too."""
    paths = (await http.get("/openapi.json")).json()["paths"]
    for path in ("/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"):
        assert list(paths[path]) == ["post"]
    for path in ("/oauth2/jwks", "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"):
        assert "get" in paths[path]
    assert set(paths["/admin/clients"]) == {"get", "post"}
    assert set(paths["/admin/clients/{client_id}"]) == {"get", "patch", "delete"}


async def test_metrics(http: httpx.AsyncClient) -> None:
    """Counted by what happened, never by who."""
    await token(http)
    await check(http, authorization="Bearer rubbish")
    await http.post("/oauth2/token", data={"grant_type": "client_credentials"}, auth=("svc", "wrong-secret"))
    text = (await http.get("/metrics")).text
    assert 'authn_tokens_issued_total{alg="ES256",bound="none",grant="client_credentials"}' in text
    assert 'authn_token_errors_total{endpoint="token",error="invalid_client"} 1.0' in text
    assert "authn_denylist_size" in text
    assert "authn_signing_seconds_bucket" in text
    assert "svc" not in text
