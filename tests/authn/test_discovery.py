"""Discovery tells the truth: everything it lists works, and what it does not list does not."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from authn.rights import NoRights
from authn.tokens.refresh import GrantStart
from tests.authn.forge import Key, assertion
from tests.authn.harness import ISSUER, Identity, running, token_proof

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


class Judged(NoRights):
    details_types = ("relation_check",)


@pytest.fixture
async def identity() -> AsyncIterator[Identity]:
    async with running(rights=Judged(), details_types=("payment",)) as identity:
        yield identity


async def metadata(identity: Identity) -> dict[str, Any]:
    return (await identity.ask("GET", "/.well-known/openid-configuration")).json


async def test_both_documents_are_the_same(identity: Identity) -> None:
    """And cacheable; the issuer is the tokens' to the byte, and every address begins with it."""
    first = await identity.ask("GET", "/.well-known/openid-configuration")
    second = await identity.ask("GET", "/.well-known/oauth-authorization-server")
    assert first.body == second.body
    assert first.headers["content-type"] == "application/json"
    assert first.headers["cache-control"] == "public, max-age=300"
    again = await identity.ask(
        "GET", "/.well-known/openid-configuration", headers=[("if-none-match", first.headers["etag"])]
    )
    assert (again.status, again.body) == (304, b"")
    assert first.json["issuer"] == ISSUER
    for name, value in first.json.items():
        if name.endswith(("_endpoint", "_uri")):
            assert value.startswith(ISSUER + "/oauth2/")


async def test_addresses(identity: Identity) -> None:
    """Each endpoint is there, and there is none that is not named."""
    found = await metadata(identity)
    named = {value.removeprefix(ISSUER) for name, value in found.items() if name.endswith(("_endpoint", "_uri"))}
    assert named == {"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke", "/oauth2/jwks"}
    assert named < set(identity._endpoints)


async def test_grant_types(identity: Identity) -> None:
    """Those listed are answered; others are not, whatever a client is registered for."""
    listed = (await metadata(identity))["grant_types_supported"]
    client = await identity.client(grant_types=["client_credentials", "refresh_token", EXCHANGE])
    token = (await identity.token(client)).json["access_token"]
    _, refresh = await identity.authn.begin_grant(
        GrantStart(client=client.client, subject=client.client.subject, scopes=("a",), audience=ISSUER)
    )
    forms = {
        "client_credentials": {},
        "refresh_token": {"refresh_token": refresh},
        EXCHANGE: {"subject_token": token, "subject_token_type": ACCESS_TOKEN},
    }
    assert sorted(listed) == sorted(forms)
    for grant_type, form in forms.items():
        assert (await identity.grant(client, grant_type, **form)).status == 200
    for other in ("authorization_code", "password", "urn:ietf:params:oauth:grant-type:device_code"):
        assert (await identity.grant(client, other)).error == "unsupported_grant_type"


async def test_ways_of_client_authentication(identity: Identity) -> None:
    """At the token, introspection and revocation endpoints."""
    found = await metadata(identity)
    key = Key()
    clients: dict[str, dict[str, Any]] = {
        "client_secret_basic": {"token_endpoint_auth_method": "client_secret_basic"},
        "client_secret_post": {"token_endpoint_auth_method": "client_secret_post"},
        "private_key_jwt": {"jwks": {"keys": [key.jwk]}},
        "none": {"token_endpoint_auth_method": "none", "dpop_jkts": [key.jkt]},
    }
    forms: dict[str, dict[str, str]] = {
        "token": {"grant_type": "client_credentials"},
        "introspection": {"token": "x"},
        "revocation": {"token": "x"},
    }
    for endpoint, form in forms.items():
        assert sorted(found[f"{endpoint}_endpoint_auth_methods_supported"]) == sorted(clients)
        url = found[f"{endpoint}_endpoint"]
        for method, registered in clients.items():
            client = await identity.client(**registered)
            reply = await _ask_by(identity, method, client.client.client_id, client.secret, url, form, key)
            assert reply == 200, (endpoint, method)


async def _ask_by(
    identity: Identity, method: str, client_id: str, secret: str | None, url: str, form: dict[str, str], key: Key
) -> int:
    from tests.authn.forge import proof
    from tests.authn.harness import basic

    path = url.removeprefix(ISSUER)
    match method:
        case "client_secret_basic":
            return (await identity.post(path, form, auth=basic(client_id, secret or ""))).status
        case "client_secret_post":
            pair = {"client_id": client_id, "client_secret": secret or ""}
            return (await identity.post(path, {**form, **pair})).status
        case "private_key_jwt":
            text = assertion(key, client_id, ISSUER)
            signed = {"client_assertion": text, "client_assertion_type": ASSERTION_TYPE}
            return (await identity.post(path, {**form, **signed})).status
        case _:
            return (await identity.post(path, {**form, "client_id": client_id}, dpop=proof(key, "POST", url))).status


async def test_algorithms(identity: Identity) -> None:
    """Each listed one is taken, in assertions and in proofs; others are not."""
    found = await metadata(identity)
    listed = found["token_endpoint_auth_signing_alg_values_supported"]
    assert listed == found["dpop_signing_alg_values_supported"]
    assert not {"none", "HS256", "HS384", "HS512"} & set(listed)
    for alg in listed:
        key = Key(alg)
        client = await identity.client(jwks={"keys": [key.jwk]})
        text = assertion(key, client.client.client_id, ISSUER)
        form = {"grant_type": "client_credentials", "client_assertion": text, "client_assertion_type": ASSERTION_TYPE}
        assert (await identity.post("/oauth2/token", form, dpop=token_proof(key))).status == 200, alg


async def test_scopes_and_details(identity: Identity) -> None:
    """Those of our own API, and the types that can be granted."""
    found = await metadata(identity)
    assert identity.admin is not None
    admin = await identity.authn.admin.client(identity.admin[0])
    assert tuple(found["scopes_supported"]) == admin.scopes
    assert found["authorization_details_types_supported"] == ["relation_check", "payment"]
    client = await identity.client(authorization_details_types=["payment", "other"])
    assert (await identity.token(client, authorization_details='[{"type":"payment"}]')).status == 200
    refused = await identity.token(client, authorization_details='[{"type":"other"}]')
    assert refused.error == "invalid_authorization_details"


async def test_without_a_graph_no_details_are_promised() -> None:
    """What cannot be judged is not listed."""
    async with running() as identity:
        assert "authorization_details_types_supported" not in await metadata(identity)


async def test_our_api_as_a_protected_resource(identity: Identity) -> None:
    """RFC 9728: whose tokens it takes, and how they are sent."""
    reply = await identity.ask("GET", "/.well-known/oauth-protected-resource")
    assert reply.json["resource"] == ISSUER
    assert reply.json["authorization_servers"] == [ISSUER]
    assert reply.json["bearer_methods_supported"] == ["header"]
    assert reply.json["jwks_uri"] == ISSUER + "/oauth2/jwks"
    assert (await metadata(identity))["protected_resources"] == [ISSUER]
    token = (await identity.token(await identity.client())).json["access_token"]
    assert identity.authn.verify_bearer(token).audiences == (reply.json["resource"],)
