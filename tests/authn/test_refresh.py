"""Families of refresh tokens: renewed once, ended by reuse, never more than was granted (attacks O7, O9)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from authn.clients.registry import Registered
from authn.errors import UnauthorizedClient
from authn.rights import NoRights
from authn.tokens.refresh import GrantStart
from tests.authn.forge import Key, claims_of
from tests.authn.harness import ISSUER, Clock, Identity, Reply, running, token_proof

KEY = Key()
API = "https://files.example/api"


class Accounts(NoRights):
    """Accounts that are there until they are taken away."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: set[str] = set()

    async def is_active(self, subject: str) -> bool:
        return subject not in self.gone


class Family:
    """A family under test, with what is needed to renew it."""

    def __init__(self, identity: Identity, client: Registered, grant_id: str, token: str) -> None:
        self.identity = identity
        self.client = client
        self.grant_id = grant_id
        self.token = token

    async def refresh(self, token: str | None = None, *, dpop: str = "", **form: str) -> Reply:
        return await self.identity.grant(
            self.client, "refresh_token", refresh_token=token or self.token, dpop=[dpop] if dpop else [], **form
        )


async def begin(identity: Identity, *, client: Registered | None = None, **start: Any) -> Family:
    client = client or await identity.client(
        grant_types=["refresh_token"], resources=[API], authorization_details_types=["payment"]
    )
    values = {"subject": "ann", "scopes": ("a", "b"), "audience": ISSUER, **start}
    grant_id, token = await identity.authn.begin_grant(GrantStart(client=client.client, **values))
    return Family(identity, client, grant_id, token)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
async def identity(database_url: str, clock: Clock, accounts: Accounts) -> AsyncIterator[Identity]:
    async with running(database_url, clock, accounts, details_types=("payment",)) as identity:
        yield identity


async def test_renewal(identity: Identity) -> None:
    """A new pair; the access token names the grant; the new refresh token works in turn."""
    family = await begin(identity)
    first = await family.refresh()
    assert first.status == 200
    claims = claims_of(first.json["access_token"])
    assert (claims["sub"], claims["grant_id"], claims["scope"]) == ("ann", family.grant_id, "a b")
    assert first.json["refresh_token"] != family.token
    second = await family.refresh(first.json["refresh_token"])
    assert second.status == 200
    assert second.json["refresh_token"] not in {family.token, first.json["refresh_token"]}


async def test_o9_reuse_in_the_window(identity: Identity, clock: Clock) -> None:
    """The same client asking again at once gets the very same answer, once more and for ten seconds."""
    family = await begin(identity)
    first = await family.refresh()
    for _ in range(3):
        clock.advance(3)
        assert (await family.refresh()).json == first.json
    assert (await family.refresh(first.json["refresh_token"])).status == 200


async def test_o9_reuse_after_the_window(identity: Identity, clock: Clock) -> None:
    """Later it is reuse: the whole family ends, with every token made from it."""
    family = await begin(identity)
    first = await family.refresh()
    clock.advance(10)
    await identity.authn.feed.poll()
    assert (await family.refresh()).error == "invalid_grant"
    assert (await family.refresh(first.json["refresh_token"])).error == "invalid_grant"
    assert await identity.introspect(family.client, first.json["access_token"]) == {"active": False}
    assert identity.authn.metrics.refresh_reuse._value.get() == 1


async def test_o9_reuse_with_strict_window(clock: Clock, accounts: Accounts) -> None:
    """With a window of nothing the second use is reuse."""
    async with running(clock=clock, rights=accounts, refresh_window_ms=0) as identity:
        family = await begin(identity)
        first = await family.refresh()
        assert (await family.refresh()).error == "invalid_grant"
        assert (await family.refresh(first.json["refresh_token"])).error == "invalid_grant"


async def test_o9_reuse_after_a_restart(sqlite_url: str, accounts: Accounts) -> None:
    """What was used is remembered by the database."""
    clock = Clock()
    async with running(sqlite_url, clock, accounts) as identity:
        family = await begin(identity)
        first = await family.refresh()
    clock.advance(11)
    async with running(sqlite_url, clock, accounts) as identity:
        family.identity = identity
        assert (await family.refresh()).error == "invalid_grant"
        assert (await family.refresh(first.json["refresh_token"])).error == "invalid_grant"


async def test_o9_another_client(identity: Identity, clock: Clock) -> None:
    """Another client with the token gets nothing, and does no harm either, used or unused."""
    family = await begin(identity)
    other = await identity.client(grant_types=["refresh_token"])
    assert (await identity.grant(other, "refresh_token", refresh_token=family.token)).error == "invalid_grant"
    first = await family.refresh()
    clock.advance(30)
    await identity.authn.feed.poll()
    assert (await identity.grant(other, "refresh_token", refresh_token=family.token)).error == "invalid_grant"
    assert (await family.refresh(first.json["refresh_token"])).status == 200


async def test_o9_after_revocation(identity: Identity) -> None:
    """A revoked family is never renewed, not even within the window."""
    family = await begin(identity)
    first = await family.refresh()
    assert (await identity.revoke(family.client, first.json["refresh_token"])).status == 200
    for token in (family.token, first.json["refresh_token"]):
        assert (await family.refresh(token)).error == "invalid_grant"
    assert await identity.introspect(family.client, first.json["access_token"]) == {"active": False}


async def test_o9_after_the_subject_is_disabled(identity: Identity, accounts: Accounts) -> None:
    """Whether the subject is still there is asked at every renewal, and the token is not used up by a no."""
    family = await begin(identity)
    accounts.gone.add("ann")
    assert (await family.refresh()).error == "invalid_grant"
    accounts.gone.clear()
    assert (await family.refresh()).status == 200


async def test_o9_after_the_client_is_disabled(identity: Identity) -> None:
    """And the client."""
    family = await begin(identity)
    await identity.authn.admin.disable_client(family.client.client.client_id, "test")
    assert (await family.refresh()).error == "invalid_client"
    await identity.authn.admin.enable_client(family.client.client.client_id, "test")
    assert (await family.refresh()).error == "invalid_grant"


async def test_o9_an_actor_that_is_gone(identity: Identity) -> None:
    """And everybody in the chain of actors."""
    actor = await identity.client(client_id="actor")
    family = await begin(identity, actor={"sub": actor.client.subject})
    assert (await family.refresh()).status == 200
    other = await begin(identity, actor={"sub": "client:actor"})
    await identity.authn.admin.disable_client("actor", "test")
    assert (await other.refresh()).error == "invalid_grant"


async def test_lifetimes(identity: Identity, clock: Clock) -> None:
    """Unused for a fortnight, or older than three months: no more."""
    idle = await begin(identity)
    clock.advance(14 * 86_400)
    await identity.authn.feed.poll()
    assert (await idle.refresh()).error == "invalid_grant"
    family = await begin(identity)
    token = family.token
    for _ in range(8):
        clock.advance(10 * 86_400)
        await identity.authn.feed.poll()
        reply = await family.refresh(token)
        assert reply.status == 200
        token = reply.json["refresh_token"]
    clock.advance(10 * 86_400)
    await identity.authn.feed.poll()
    assert (await family.refresh(token)).error == "invalid_grant"


async def test_scope_narrows(identity: Identity) -> None:
    """For this access token; the grant keeps what it has."""
    family = await begin(identity)
    first = await family.refresh(scope="a")
    assert first.json["scope"] == "a"
    assert (await family.refresh(first.json["refresh_token"])).json["scope"] == "a b"


@pytest.mark.parametrize("scope", ["c", "a c", "admin"])
async def test_o7_scope_never_widens(identity: Identity, scope: str) -> None:
    """Not even to what the client may otherwise have."""
    family = await begin(identity)
    reply = await family.refresh(scope=scope)
    assert (reply.status, reply.error) == (400, "invalid_scope")
    assert (await family.refresh()).status == 200


async def test_scopes_that_the_client_lost(identity: Identity) -> None:
    """Are lost to its grants."""
    family = await begin(identity)
    await identity.authn.admin.change_client(family.client.client.client_id, {"scope": "b c"}, "test")
    assert (await family.refresh()).json["scope"] == "b"


async def test_resource(identity: Identity) -> None:
    """The grant's own, or none named."""
    family = await begin(identity, audience=API)
    first = await family.refresh(resource=API)
    assert claims_of(first.json["access_token"])["aud"] == API
    token = first.json["refresh_token"]
    assert (await family.refresh(token, resource=ISSUER)).error == "invalid_target"
    assert (await family.refresh(token, resource="https://other.example")).error == "invalid_target"
    await identity.authn.admin.change_client(family.client.client.client_id, {"resources": []}, "test")
    assert (await family.refresh(token)).error == "invalid_target"


async def test_details(identity: Identity) -> None:
    """Those granted, or fewer."""
    one, two = {"type": "payment", "n": 1}, {"type": "payment", "n": 2}
    family = await begin(identity, details=(one, two))
    first = await family.refresh()
    assert first.json["authorization_details"] == [one, two]
    second = await family.refresh(first.json["refresh_token"], authorization_details='[{"type":"payment","n":2}]')
    assert claims_of(second.json["access_token"])["authorization_details"] == [two]
    more = await family.refresh(second.json["refresh_token"], authorization_details='[{"type":"payment","n":3}]')
    assert more.error == "invalid_grant"


async def test_a_bound_family_stays_bound(identity: Identity, clock: Clock) -> None:
    """The same key at every renewal, though the client itself need not use one."""
    family = await begin(identity, jkt=KEY.jkt)
    for dpop in ("", token_proof(Key(), iat=clock.s)):
        assert (await family.refresh(dpop=dpop)).error == "invalid_dpop_proof"
    first = await family.refresh(dpop=token_proof(KEY, iat=clock.s))
    assert first.json["token_type"] == "DPoP"
    assert claims_of(first.json["access_token"])["cnf"] == {"jkt": KEY.jkt}


async def test_o9_reuse_with_another_key(identity: Identity, clock: Clock) -> None:
    """A used token without its key ends the family, window or not."""
    family = await begin(identity, jkt=KEY.jkt)
    first = await family.refresh(dpop=token_proof(KEY, iat=clock.s))
    assert (await family.refresh(dpop=token_proof(KEY, iat=clock.s))).json == first.json
    assert (await family.refresh(dpop=token_proof(Key(), iat=clock.s))).error == "invalid_grant"
    next_token = first.json["refresh_token"]
    assert (await family.refresh(next_token, dpop=token_proof(KEY, iat=clock.s))).error == "invalid_grant"


async def test_rotation_on_demand(identity: Identity, clock: Clock) -> None:
    """A client may keep its token until most of its time is over; then it is replaced."""
    client = await identity.client(grant_types=["refresh_token"], refresh_token_rotation="auto")
    family = await begin(identity, client=client)
    for _ in range(3):
        reply = await family.refresh()
        assert reply.status == 200
        assert "refresh_token" not in reply.json
    clock.advance(10 * 86_400)
    await identity.authn.feed.poll()
    reply = await family.refresh()
    assert (await family.refresh(reply.json["refresh_token"])).status == 200


async def test_public_clients_always_rotate(identity: Identity, clock: Clock) -> None:
    """Where nothing but the token itself is presented."""
    client = await identity.client(
        grant_types=["refresh_token"], refresh_token_rotation="auto", token_endpoint_auth_method="none"
    )
    family = await begin(identity, client=client)
    assert "refresh_token" in (await family.refresh()).json
    bound = await begin(identity, client=client, jkt=KEY.jkt)
    assert "refresh_token" not in (await bound.refresh(dpop=token_proof(KEY, iat=clock.s))).json


@pytest.mark.parametrize(
    "token", ["", "trt_", "trt_" + "A" * 43, "A" * 43, "é", "\ud800", "x" * 60_000, "a.b.c"], ids=lambda t: t[:8]
)
async def test_other_tokens(identity: Identity, token: str) -> None:
    """What is no refresh token of ours."""
    family = await begin(identity)
    encoded = token.encode("utf-8", "surrogatepass").decode("latin-1") if token == "\ud800" else token
    reply = await identity.grant(family.client, "refresh_token", refresh_token=encoded)
    assert (reply.status, reply.error) == (400, "invalid_request" if not token else "invalid_grant")


async def test_access_tokens_are_no_refresh_tokens(identity: Identity) -> None:
    """Nor the other way round (attack J6)."""
    family = await begin(identity)
    first = await family.refresh()
    assert (await family.refresh(first.json["access_token"])).error == "invalid_grant"
    with pytest.raises(Exception, match=r"base64url|three parts"):
        await identity.authn.verify(first.json["refresh_token"])


async def test_a_grant_needs_its_client_to_have_it(identity: Identity) -> None:
    """A client that is not registered for refresh tokens gets none."""
    with pytest.raises(UnauthorizedClient):
        await begin(identity, client=await identity.client())


async def test_the_answer_kept_for_repetition_is_sealed(identity: Identity) -> None:
    """The database alone yields no token."""
    from authn.stores.grants import find
    from authn.tokens.refresh import token_digest

    family = await begin(identity)
    first = await family.refresh()
    found = await find(identity.store.database, token_digest(family.token))
    assert found is not None
    answer = found[0].answer
    assert answer is not None
    for secret in (first.json["refresh_token"], first.json["access_token"], family.token):
        assert secret.encode() not in answer
