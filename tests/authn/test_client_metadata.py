"""What may be registered of a client (RFC 7591), and what is refused by name."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from authn.clients.metadata import is_resource, normalise
from authn.errors import BadMetadata, BadRedirectUri, ClientExists, ClientNotFound
from tests.authn.forge import Key
from tests.authn.harness import Identity, running

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
KEY = Key()


@pytest.fixture
async def identity() -> AsyncIterator[Identity]:
    async with running() as identity:
        yield identity


async def create(identity: Identity, *many: dict[str, Any]) -> list[dict[str, Any]]:
    return [made.to_json() for made in await identity.authn.admin.create_clients(many, "test")]


async def test_defaults(identity: Identity) -> None:
    """What is not said is written out, a secret is made, and what nobody understands is dropped."""
    (made,) = await create(identity, {"client_name": "svc", "unknown_member": 1, "software_id": "x"})
    assert len(made.pop("client_secret")) == 43
    assert len(made.pop("client_id")) == 36
    assert made.pop("client_id_issued_at") > 1_700_000_000
    assert made == {
        "client_secret_expires_at": 0,
        "disabled": False,
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["client_credentials"],
        "scope": "",
        "redirect_uris": [],
        "resources": [],
        "audiences": [],
        "authorization_details_types": [],
        "dpop_bound_access_tokens": False,
        "dpop_nonce_required": False,
        "dpop_jkts": [],
        "access_token_format": "jwt",
        "access_token_signed_response_alg": "ES256",
        "refresh_token_rotation": "always",
        "assertion_audience": "issuer",
        "assertion_lifetime_max": 300,
        "client_name": "svc",
        "software_id": "x",
    }


async def test_what_is_given_is_kept(identity: Identity) -> None:
    """Id, secret and keys."""
    jwks = {"keys": [{**KEY.jwk, "kid": "1", "use": "sig", "alg": "ES256"}]}
    made = await create(
        identity,
        {"client_id": "one", "client_secret": "a-secret-of-mine"},
        {"client_id": "two", "jwks": jwks, "scope": "a a b"},
    )
    assert (made[0]["client_id"], made[0]["client_secret"]) == ("one", "a-secret-of-mine")
    assert (made[1]["client_id"], made[1]["jwks"], made[1]["scope"]) == ("two", jwks, "a b")
    assert made[1]["token_endpoint_auth_method"] == "private_key_jwt"
    assert "client_secret" not in made[1]


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_id": "a\n"}, "client_id"),
        ({"client_id": "é"}, "client_id"),
        ({"client_id": "x" * 256}, "client_id"),
        ({"client_id": 1}, "client_id"),
        ({"client_secret": "short"}, "client_secret"),
        ({"client_secret": "x" * 513}, "client_secret"),
        ({"client_secret": "secret\nsecret"}, "client_secret"),
        ({"client_secret": 12345678}, "client_secret"),
        ({"client_secret": "s" * 32, "token_endpoint_auth_method": "none", "grant_types": []}, "client_secret"),
        ({"client_secret": "s" * 32, "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [KEY.jwk]}},
         "client_secret"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": "client_secret"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": None}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": ["none"]}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "jwks"),
        ({"token_endpoint_auth_method": "none"}, "grant_types"),
        ({"token_endpoint_auth_method": "none", "grant_types": [EXCHANGE]}, "grant_types"),
        ({"grant_types": ["password"]}, "grant_types"),
        ({"grant_types": "client_credentials"}, "grant_types"),
        ({"grant_types": [1]}, "grant_types"),
        ({"grant_types": ["authorization_code"]}, "redirect_uris"),
        ({"grant_types": ["client_credentials"] * 129}, "grant_types"),
        ({"scope": ["a"]}, "scope"),
        ({"scope": 'a"b'}, "scope"),
        ({"scope": "é"}, "scope"),
        ({"scope": " ".join(f"s{n}" for n in range(129))}, "scope"),
        ({"resources": ["/relative"]}, "resources"),
        ({"resources": ["https://a.example#x"]}, "resources"),
        ({"resources": "https://a.example"}, "resources"),
        ({"audiences": ["a b"]}, "audiences"),
        ({"dpop_jkts": ["short"]}, "dpop_jkts"),
        ({"dpop_jkts": ["x" * 44]}, "dpop_jkts"),
        ({"dpop_bound_access_tokens": "true"}, "dpop_bound_access_tokens"),
        ({"dpop_nonce_required": 1}, "dpop_nonce_required"),
        ({"access_token_format": "saml"}, "access_token_format"),
        ({"access_token_signed_response_alg": "HS256"}, "access_token_signed_response_alg"),
        ({"access_token_signed_response_alg": "none"}, "access_token_signed_response_alg"),
        ({"access_token_lifetime": 0}, "access_token_lifetime"),
        ({"access_token_lifetime": 86_401}, "access_token_lifetime"),
        ({"access_token_lifetime": True}, "access_token_lifetime"),
        ({"access_token_lifetime": 1.5}, "access_token_lifetime"),
        ({"refresh_token_lifetime": 366 * 86_400}, "refresh_token_lifetime"),
        ({"refresh_token_rotation": "never"}, "refresh_token_rotation"),
        ({"assertion_audience": "anything"}, "assertion_audience"),
        ({"assertion_lifetime_max": 86_400}, "assertion_lifetime_max"),
        ({"token_endpoint_auth_signing_alg": "none"}, "token_endpoint_auth_signing_alg"),
        ({"token_endpoint_auth_signing_alg": "HS256"}, "token_endpoint_auth_signing_alg"),
        ({"jwks": {}}, "jwks"),
        ({"jwks": {"keys": []}}, "jwks"),
        ({"jwks": {"keys": [1]}}, "jwks"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "AA"}]}}, "jwks"),
        ({"jwks": {"keys": [KEY.private_jwk]}}, "jwks"),
        ({"jwks": {"keys": [Key("RS256", rsa_bits=1024).jwk]}}, "jwks"),
        ({"jwks": {"keys": [KEY.jwk] * 17}}, "jwks"),
        ({"jwks": [KEY.jwk]}, "jwks"),
        ({"jwks": {"keys": [KEY.jwk]}, "jwks_uri": "https://a.example/"}, "jwks_uri"),
        ({"authorization_details_types": [""]}, "authorization_details_types"),
    ],
)  # fmt: skip
async def test_refused_by_name(identity: Identity, metadata: dict[str, Any], field: str) -> None:
    """What is wrong is named, and nothing is registered, not even what came along."""
    with pytest.raises(BadMetadata) as refused:
        await create(identity, {"client_id": "good"}, metadata)
    assert refused.value.field == field
    assert await identity.authn.clients.find("good") is None


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/callback",
        "https://app.example/callback?x=1",
        "https://app.example:8443/",
        "http://localhost:3000/cb",
        "http://127.0.0.1/cb",
        "http://[::1]:8080/cb",
        "com.example.app:/callback",
    ],
)
def test_redirect_uris(uri: str) -> None:
    """Kept as they are."""
    assert normalise({"redirect_uris": [uri]})["redirect_uris"] == [uri]


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example/callback",
        "https://app.example/#fragment",
        "https://user@app.example/",
        "https://app.example@evil.example/",
        "http://localhost:80@evil.example/",
        "https:///callback",
        "//app.example/",
        "/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "app:/callback",
        "https://app.example\\@evil.example",
        "https://app.example/\t",
        "https://app.example/ x",
        "https://äpp.example/",
        "https://app.example:port/",
        "com.example.app://host/callback",
        "ftp://app.example/",
        "",
    ],
)
def test_o1_redirect_uris_that_cannot_be_registered(uri: str) -> None:
    """Plain http to elsewhere, fragments, users, scripts and spellings that others read differently."""
    with pytest.raises(BadMetadata) as refused:
        normalise({"redirect_uris": [uri]})
    assert isinstance(refused.value, BadRedirectUri) is bool(uri)


async def test_an_id_that_is_taken(identity: Identity) -> None:
    """Nothing is changed, and none of several is registered."""
    await create(identity, {"client_id": "one", "scope": "a"})
    with pytest.raises(ClientExists):
        await create(identity, {"client_id": "two"}, {"client_id": "one", "scope": "b"})
    with pytest.raises(ClientExists):
        await create(identity, {"client_id": "three"}, {"client_id": "three"})
    assert [client.client_id for client in await identity.authn.admin.clients()] == ["admin", "one"]
    assert (await identity.authn.admin.client("one")).scopes == ("a",)


async def test_changes(identity: Identity) -> None:
    """Member by member; null takes one away; the rules stay."""
    await create(identity, {"client_id": "one", "scope": "a", "access_token_lifetime": 60})
    changed = await identity.authn.admin.change_client("one", {"scope": "b", "access_token_lifetime": None}, "test")
    assert (changed.scopes, changed.token_lifetime_s) == (("b",), None)
    assert changed.auth_methods == {"client_secret_basic", "client_secret_post"}
    for bad in ({"scope": 1}, {"client_id": "two"}, {"client_secret": "s" * 32}, {"grant_types": ["password"]}):
        with pytest.raises(BadMetadata):
            await identity.authn.admin.change_client("one", bad, "test")
    with pytest.raises(ClientNotFound):
        await identity.authn.admin.change_client("nobody", {}, "test")


async def test_pages(identity: Identity) -> None:
    """In order of the ids, by their bytes."""
    await create(identity, *({"client_id": client_id} for client_id in ("b", "a", "B", "c", "a-1")))
    admin = identity.authn.admin
    first = await admin.clients("", 3)
    second = await admin.clients(first[-1].client_id, 3)
    assert [client.client_id for client in (*first, *second)] == sorted(["a", "a-1", "admin", "B", "b", "c"])


async def test_things_that_need_a_client(identity: Identity) -> None:
    """Say so where there is none."""
    admin = identity.authn.admin
    for act in (
        admin.client("nobody"),
        admin.disable_client("nobody", "test"),
        admin.enable_client("nobody", "test"),
        admin.remove_client("nobody", "test"),
        admin.rotate_secret("nobody", "test", overlap_s=0),
        admin.revoke_client_tokens("nobody", "test"),
    ):
        with pytest.raises(ClientNotFound):
            await act
    await create(identity, {"client_id": "k", "jwks": {"keys": [KEY.jwk]}})
    with pytest.raises(BadMetadata):
        await admin.rotate_secret("k", "test", overlap_s=0)
    with pytest.raises(BadMetadata):
        await admin.create_clients([], "test")


@pytest.mark.parametrize(
    ("uri", "good"),
    [
        ("https://a.example", True),
        ("urn:example:a", True),
        ("spiffe://domain/service", True),
        ("a", False),
        ("", False),
        ("https:", False),
        ("https://a.example/#", False),
        ("https://[", False),
    ],
)
def test_resources(uri: str, good: bool) -> None:
    """Absolute URIs without a fragment (RFC 8707, section 2)."""
    assert is_resource(uri) is good
