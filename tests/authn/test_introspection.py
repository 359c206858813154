"""Looking into tokens and taking them back: to whom what is told, and what ends (attacks O13, O14)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from authn.clients.registry import Registered
from authn.errors import InvalidToken
from authn.rights import NoRights
from authn.tokens.refresh import GrantStart
from tests.authn.forge import Key, claims_of, malleated
from tests.authn.harness import ISSUER, Clock, Identity, basic, running, token_proof

API = "https://files.example"
KEY = Key()


class Everybody(NoRights):
    """Every account is there; tokens carry a zookie."""

    def __init__(self) -> None:
        super().__init__(zookie=lambda: "zookie-7")

    async def is_active(self, subject: str) -> bool:
        return True


@pytest.fixture
async def identity(database_url: str) -> AsyncIterator[Identity]:
    async with running(database_url, rights=Everybody()) as identity:
        yield identity


@pytest.fixture(params=["jwt", "opaque"])
async def caller(request: pytest.FixtureRequest, identity: Identity) -> Registered:
    """A client with tokens of each format for a resource."""
    return await identity.client(resources=[API], access_token_format=request.param)


@pytest.fixture
async def server(identity: Identity) -> Registered:
    """The client that serves the resource."""
    return await identity.client(client_id="server", audiences=[API])


async def test_what_is_told(identity: Identity, caller: Registered, server: Registered) -> None:
    """The members of RFC 7662, section 2.2, and the zookie; the same for both formats."""
    reply = await identity.token(caller, resource=API, scope="a b")
    found = await identity.introspect(server, reply.json["access_token"])
    assert found.pop("exp") - found.pop("iat") == 600
    assert len(found.pop("jti")) == 36
    assert found == {
        "active": True,
        "token_type": "Bearer",
        "scope": "a b",
        "client_id": caller.client.client_id,
        "sub": caller.client.subject,
        "aud": API,
        "iss": ISSUER,
        "zookie": "zookie-7",
    }


async def test_bound_tokens(identity: Identity, caller: Registered, server: Registered) -> None:
    """The resource server learns which key to ask for."""
    reply = await identity.token(caller, resource=API, dpop=token_proof(KEY))
    found = await identity.introspect(server, reply.json["access_token"])
    assert (found["token_type"], found["cnf"]) == ("DPoP", {"jkt": KEY.jkt})


async def test_o13_to_whom(identity: Identity, caller: Registered, server: Registered) -> None:
    """The token's client, who serves its audience, and nobody else; for our own API its administrators."""
    stranger = await identity.client()
    admin = await identity.client(scope="admin")
    token = (await identity.token(caller, resource=API)).json["access_token"]
    own = (await identity.token(caller)).json["access_token"]
    assert [(await identity.introspect(by, token))["active"] for by in (caller, server, stranger, admin)] == [
        True,
        True,
        False,
        False,
    ]
    assert [(await identity.introspect(by, own))["active"] for by in (caller, server, stranger, admin)] == [
        True,
        False,
        False,
        True,
    ]


async def test_o13_one_answer_for_everything_else(identity: Identity, caller: Registered, server: Registered) -> None:
    """Unknown, expired, foreign, malformed, another's: nothing tells them apart."""
    stranger = await identity.client()
    good = (await identity.token(stranger)).json["access_token"]
    tokens = [
        "x",
        "tat_" + "A" * 43,
        "trt_" + "A" * 43,
        good,
        good + "==",
        malleated(good) if "." in good else good,
        "é",
        "\x00",
        "x" * 60_000,
        ".".join(["a"] * 3),
    ]
    bodies = set()
    for token in tokens:
        assert server.secret is not None
        reply = await identity.post("/oauth2/introspect", {"token": token}, auth=basic("server", server.secret))
        assert reply.status == 200
        bodies.add(reply.body)
    assert bodies == {b'{"active":false}'}
    del caller


@pytest.mark.parametrize("path", ["/oauth2/introspect", "/oauth2/revoke"])
async def test_o13_nobody_asks_unauthenticated(identity: Identity, path: str) -> None:
    """No credential, a wrong one, or a client that has none."""
    await identity.client(client_id="public", token_endpoint_auth_method="none", grant_types=["refresh_token"])
    client = await identity.client()
    token = (await identity.token(client)).json["access_token"]
    no_credential = await identity.post(path, {"token": token})
    wrong = await identity.post(path, {"token": token}, auth=basic(client.client.client_id, "wrong-secret"))
    assert [reply.error for reply in (no_credential, wrong)] == ["invalid_client"] * 2
    public = await identity.post(path, {"token": token, "client_id": "public"})
    assert public.error == ("invalid_client" if path.endswith("introspect") else "unauthorized_client")
    assert (await identity.introspect(client, token))["active"] is True
    missing = await identity.post(path, {}, auth=basic(client.client.client_id, client.secret or ""))
    assert missing.error == "invalid_request"


async def test_a_bot_introspects_with_its_key(identity: Identity) -> None:
    """A client whose key is its credential proves it at each endpoint by that endpoint's URL."""
    from tests.authn.forge import proof

    bot = await identity.client(client_id="bot", token_endpoint_auth_method="none", dpop_jkts=[KEY.jkt])
    token = (await identity.token(bot, dpop=token_proof(KEY))).json["access_token"]
    form = {"token": token, "client_id": "bot"}
    for dpop, status in [
        (proof(KEY, "POST", ISSUER + "/oauth2/introspect"), 200),
        (token_proof(KEY), 400),
        (proof(Key(), "POST", ISSUER + "/oauth2/introspect"), 401),
    ]:
        assert (await identity.post("/oauth2/introspect", form, dpop=dpop)).status == status
    assert (await identity.post("/oauth2/introspect", form)).status == 401


async def test_expired(database_url: str) -> None:
    """Is not active any more."""
    clock = Clock()
    async with running(database_url, clock) as identity:
        for access_token_format in ("jwt", "opaque"):
            client = await identity.client(access_token_format=access_token_format)
            token = (await identity.token(client)).json["access_token"]
            assert (await identity.introspect(client, token))["active"] is True
            clock.advance(600)
            assert await identity.introspect(client, token) == {"active": False}


async def test_revocation(identity: Identity, caller: Registered, server: Registered) -> None:
    """At once here, for whoever asks; again and unknown tokens are fine."""
    token = (await identity.token(caller, resource=API)).json["access_token"]
    other = (await identity.token(caller, resource=API)).json["access_token"]
    assert (await identity.introspect(server, token))["active"] is True
    for revoked in (token, token, "rubbish", "tat_x", "trt_x"):
        reply = await identity.revoke(caller, revoked)
        assert (reply.status, reply.body) == (200, b"")
    assert await identity.introspect(server, token) == {"active": False}
    assert (await identity.introspect(server, other))["active"] is True


async def test_revoking_our_own_apis_tokens(identity: Identity, caller: Registered) -> None:
    """Also for the API itself, with a token that it had found good."""
    token = (await identity.token(caller)).json["access_token"]
    await identity.authn.verify(token)
    identity.authn.verify_bearer(token)
    await identity.revoke(caller, token)
    with pytest.raises(InvalidToken):
        identity.authn.verify_bearer(token)


async def test_j9_revocation_by_id(identity: Identity) -> None:
    """Another spelling of a revoked token is revoked too, by whatever is known of it: its id, not its text."""
    client = await identity.client()
    token = (await identity.token(client)).json["access_token"]
    await identity.revoke(client, token)
    for spelling in (token, malleated(token)):
        assert await identity.introspect(client, spelling) == {"active": False}


async def test_o14_revoking_what_is_anothers(identity: Identity, caller: Registered, server: Registered) -> None:
    """Refused, and nothing ends; who serves the audience may look and not take back."""
    stranger = await identity.client()
    token = (await identity.token(caller, resource=API)).json["access_token"]
    for by in (stranger, server):
        reply = await identity.revoke(by, token)
        assert (reply.status, reply.error) == (400, "unauthorized_client")
    assert (await identity.introspect(server, token))["active"] is True


async def test_o14_revoking_anothers_refresh_token(identity: Identity) -> None:
    """Likewise."""
    client = await identity.client(grant_types=["refresh_token"])
    stranger = await identity.client()
    _, token = await identity.authn.begin_grant(
        GrantStart(client=client.client, subject="ann", scopes=("a",), audience=ISSUER)
    )
    assert (await identity.revoke(stranger, token)).error == "unauthorized_client"
    assert (await identity.introspect(stranger, token)) == {"active": False}
    found = await identity.introspect(client, token)
    assert (found["active"], found["sub"], found["scope"]) == (True, "ann", "a")
    reply = await identity.grant(client, "refresh_token", refresh_token=token)
    assert reply.status == 200
    assert await identity.introspect(client, token) == {"active": False}


async def test_taking_back_everything_of_a_subject(identity: Identity) -> None:
    """Everything made until now; what is made afterwards is good."""
    client = await identity.client(grant_types=["refresh_token", "client_credentials"])
    start = GrantStart(client=client.client, subject="ann", scopes=("a",), audience=ISSUER)
    _, refresh = await identity.authn.begin_grant(start)
    first = (await identity.grant(client, "refresh_token", refresh_token=refresh)).json
    own = (await identity.token(client)).json["access_token"]
    await identity.authn.revoker.revoke_subject("ann", "test")
    assert await identity.introspect(client, first["access_token"]) == {"active": False}
    again = await identity.grant(client, "refresh_token", refresh_token=first["refresh_token"])
    assert again.error == "invalid_grant"
    assert (await identity.introspect(client, own))["active"] is True
    await identity.authn.feed.poll()
    _, later = await identity.authn.begin_grant(start)
    fresh = (await identity.grant(client, "refresh_token", refresh_token=later)).json["access_token"]
    assert (await identity.introspect(client, fresh))["active"] is True


async def test_taking_back_a_session(identity: Identity) -> None:
    """Everything that was made in it."""
    client = await identity.client(grant_types=["refresh_token"])
    tokens = {}
    for session in ("s1", "s2"):
        start = GrantStart(client=client.client, subject="ann", scopes=("a",), audience=ISSUER, session_id=session)
        _, refresh = await identity.authn.begin_grant(start)
        tokens[session] = (await identity.grant(client, "refresh_token", refresh_token=refresh)).json
        assert claims_of(tokens[session]["access_token"])["sid"] == session
    await identity.authn.revoker.revoke_session("s1", "signed out")
    states = [(await identity.introspect(client, tokens[s]["access_token"]))["active"] for s in ("s1", "s2")]
    assert states == [False, True]
    for session, status in (("s1", 400), ("s2", 200)):
        token = tokens[session]["refresh_token"]
        assert (await identity.grant(client, "refresh_token", refresh_token=token)).status == status


async def test_disabling_a_client_ends_its_tokens(identity: Identity, caller: Registered) -> None:
    """Those that it has, and they stay dead when it is enabled again; new ones are good."""
    token = (await identity.token(caller)).json["access_token"]
    await identity.authn.verify(token)
    await identity.authn.admin.disable_client(caller.client.client_id, "test")
    with pytest.raises(InvalidToken):
        await identity.authn.verify(token)
    await identity.authn.admin.enable_client(caller.client.client_id, "test")
    with pytest.raises(InvalidToken):
        await identity.authn.verify(token)
    await identity.authn.feed.poll()
    await identity.authn.verify((await identity.token(caller)).json["access_token"])


async def test_two_processes(database_url: str) -> None:
    """What one revokes the other refuses within a second, for every kind of revocation."""
    async with running(database_url) as here, running(database_url) as there:
        client = await here.client()
        tokens = [(await here.token(client)).json["access_token"] for _ in range(2)]
        for token in tokens:
            there.authn.verify_bearer(token)
        await here.revoke(client, tokens[0])
        await asyncio.sleep(0.8)
        with pytest.raises(InvalidToken):
            there.authn.verify_bearer(tokens[0])
        there.authn.verify_bearer(tokens[1])
        await here.authn.admin.disable_client(client.client.client_id, "test")
        await asyncio.sleep(0.8)
        with pytest.raises(InvalidToken):
            there.authn.verify_bearer(tokens[1])
        assert (await there.token(client)).error == "invalid_client"


async def test_a_process_that_did_not_know_yet(database_url: str) -> None:
    """A token made by a process that had not heard of the revocation falls under it all the same."""
    clock = Clock()
    async with running(database_url, clock) as here, running(database_url, clock) as there:
        client = await here.client()
        await there.authn.feed.poll()
        await there.token(client)
        there.authn.feed._on_client = lambda client_id: None  # it goes on with what it remembers
        await here.authn.revoker.revoke_client(client.client.client_id, "test")
        token = (await there.token(client)).json["access_token"]
        await there.authn.feed.poll()
        for process in (here, there):
            with pytest.raises(InvalidToken):
                process.authn.verify_bearer(token)
        fresh = (await there.token(client)).json["access_token"]
        here.authn.verify_bearer(fresh)


async def test_revocations_outlive_a_restart(database_url: str) -> None:
    """They are in the database."""
    async with running(database_url) as first:
        client = await first.client()
        token = (await first.token(client)).json["access_token"]
        await first.revoke(client, token)
    async with running(database_url) as second:
        with pytest.raises(InvalidToken):
            second.authn.verify_bearer(token)
