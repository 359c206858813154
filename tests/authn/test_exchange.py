"""Token exchange: delegation that says who acts, and never gives more than there was (attacks O7, O11)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from authn.clients.registry import Registered
from authn.rights import NoRights
from authn.tokens.refresh import GrantStart
from tests.authn.forge import Key, claims_of
from tests.authn.harness import ISSUER, Clock, Identity, Reply, running, token_proof

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
FILES, MAIL = "https://files.example", "https://mail.example"
KEY = Key()


class Delegations(NoRights):
    """Who may act for whom, and where; every account is there."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed: set[tuple[str, str, str]] = set()
        self.gone: set[str] = set()

    async def is_active(self, subject: str) -> bool:
        return subject not in self.gone

    async def may_act_as(self, actor: str, subject: str, audience: str) -> bool:
        return (actor, subject, audience) in self.allowed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rights() -> Delegations:
    return Delegations()


@pytest.fixture
async def identity(clock: Clock, rights: Delegations) -> AsyncIterator[Identity]:
    async with running(clock=clock, rights=rights, details_types=("payment",)) as identity:
        yield identity


async def service(identity: Identity, name: str, **metadata: Any) -> Registered:
    """A service that is somebody's resource and calls others."""
    defaults = {"client_id": name, "grant_types": [EXCHANGE, "client_credentials"], "resources": [FILES, MAIL]}
    return await identity.client(**{**defaults, **metadata})


async def user_token(identity: Identity, audience: str = FILES, jkt: str | None = None, **start: Any) -> str:
    """An access token of a person, made for a service through some application."""
    app = await identity.authn.clients.find("app")
    if app is None:
        registered = await identity.client(
            client_id="app",
            grant_types=["refresh_token"],
            resources=[FILES, MAIL],
            token_endpoint_auth_method="none",
            authorization_details_types=["payment"],
        )
        app = registered.client
    values = {"subject": "ann", "scopes": ("a", "b"), "audience": audience, "jkt": jkt, **start}
    _, refresh = await identity.authn.begin_grant(GrantStart(client=app, **values))
    dpop = token_proof(KEY, iat=identity.authn.world.now_ms() // 1000) if jkt else ""
    reply = await identity.post(
        "/oauth2/token",
        {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": "app"},
        dpop=[dpop] if dpop else [],
    )
    token: str = reply.json["access_token"]
    return token


async def exchange(identity: Identity, by: Registered, token: str, dpop: str = "", **form: str) -> Reply:
    pairs = {"subject_token": token, "subject_token_type": ACCESS_TOKEN, **form}
    return await identity.grant(by, EXCHANGE, dpop=[dpop] if dpop else [], **pairs)


async def test_delegation(identity: Identity, rights: Delegations) -> None:
    """A service that got a person's token calls the next one for her, and the token says so."""
    files = await service(identity, "files", audiences=[FILES])
    rights.allowed.add(("client:files", "ann", MAIL))
    reply = await exchange(identity, files, await user_token(identity), resource=MAIL, scope="a")
    assert reply.status == 200
    assert reply.json["issued_token_type"] == ACCESS_TOKEN
    claims = claims_of(reply.json["access_token"])
    assert (claims["sub"], claims["aud"], claims["scope"]) == ("ann", MAIL, "a")
    assert claims["client_id"] == "files"
    assert claims["act"] == {"sub": "client:files"}
    assert "refresh_token" not in reply.json


async def test_chains(identity: Identity, rights: Delegations) -> None:
    """The present actor comes first, those before within; four are as many as there may be."""
    token = await user_token(identity)
    names = [f"s{number}" for number in range(6)]
    chain: dict[str, Any] | None = None
    for number, name in enumerate(names):
        svc = await service(identity, name, audiences=[FILES])
        rights.allowed.add((f"client:{name}", "ann", FILES))
        reply = await exchange(identity, svc, token, resource=FILES)
        if number >= 4:
            assert (reply.status, reply.error) == (400, "invalid_request")
            continue
        chain = {"sub": f"client:{name}", **({"act": chain} if chain else {})}
        assert claims_of(reply.json["access_token"])["act"] == chain
        token = reply.json["access_token"]


async def test_o11_nobody_acts_unasked(identity: Identity, rights: Delegations) -> None:
    """Neither a service that the token was not meant for, nor one that nothing lets act, there or for her."""
    stranger = await service(identity, "stranger")
    files = await service(identity, "files", audiences=[FILES])
    token = await user_token(identity)
    rights.allowed |= {
        ("client:stranger", "ann", MAIL),
        ("client:files", "bob", MAIL),
        ("client:files", "ann", FILES),
    }
    assert (await exchange(identity, stranger, token, resource=MAIL)).error == "invalid_grant"
    assert (await exchange(identity, files, token, resource=MAIL)).error == "unauthorized_client"
    assert (await exchange(identity, files, token, resource=FILES)).status == 200


async def test_o11_without_a_graph_nobody_acts() -> None:
    """Where permissions cannot be asked the answer is no."""
    async with running() as identity:
        app = await identity.client(client_id="app", resources=[FILES])
        files = await service(identity, "files", audiences=[FILES])
        token = (await identity.token(app, resource=FILES)).json["access_token"]
        assert (await exchange(identity, files, token, resource=FILES)).error == "unauthorized_client"


async def test_a_client_narrows_its_own_token(identity: Identity) -> None:
    """Without asking anybody, and without an actor."""
    svc = await service(identity, "svc")
    token = (await identity.token(svc)).json["access_token"]
    reply = await exchange(identity, svc, token, scope="a", resource=MAIL)
    claims = claims_of(reply.json["access_token"])
    assert (claims["sub"], claims["scope"], claims["aud"]) == ("client:svc", "a", MAIL)
    assert "act" not in claims


async def test_o7_another_audience_for_a_person_needs_a_right(identity: Identity, rights: Delegations) -> None:
    """An application may not take a person's token elsewhere by itself."""
    app = await identity.client(client_id="app2", grant_types=["refresh_token", EXCHANGE], resources=[FILES, MAIL])
    _, refresh = await identity.authn.begin_grant(
        GrantStart(client=app.client, subject="ann", scopes=("a", "b"), audience=FILES)
    )
    token = (await identity.grant(app, "refresh_token", refresh_token=refresh)).json["access_token"]
    assert (await exchange(identity, app, token, resource=FILES, scope="a")).status == 200
    assert (await exchange(identity, app, token, resource=MAIL)).error == "unauthorized_client"
    rights.allowed.add(("client:app2", "ann", MAIL))
    reply = await exchange(identity, app, token, resource=MAIL)
    assert claims_of(reply.json["access_token"])["act"] == {"sub": "client:app2"}


@pytest.mark.parametrize(
    ("form", "error"),
    [
        pytest.param({"scope": "c"}, "invalid_scope", id="O7 scope that the subject token lacks"),
        pytest.param({"scope": "admin"}, "invalid_scope", id="O7 scope of nobody"),
        pytest.param({"resource": "https://other.example"}, "invalid_target", id="O7 unknown resource"),
        pytest.param({"audience": "other"}, "invalid_target", id="O7 unknown audience"),
        pytest.param({"resource": MAIL, "audience": FILES}, "invalid_target", id="two targets"),
        pytest.param({"subject_token_type": REFRESH_TOKEN}, "invalid_request", id="refresh token as subject"),
        pytest.param({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request", id="SAML"),
        pytest.param({"subject_token_type": ""}, "invalid_request", id="no type"),
        pytest.param({"subject_token": ""}, "invalid_request", id="no subject token"),
        pytest.param({"subject_token": "rubbish"}, "invalid_grant", id="rubbish"),
        pytest.param({"requested_token_type": REFRESH_TOKEN}, "unauthorized_client", id="refresh token unasked"),
        pytest.param(
            {"requested_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request", id="id token"
        ),
        pytest.param({"actor_token_type": ACCESS_TOKEN}, "invalid_request", id="actor type alone"),
        pytest.param({"actor_token": "x"}, "invalid_request", id="actor without type"),
        pytest.param({"actor_token": "x", "actor_token_type": ACCESS_TOKEN}, "invalid_grant", id="rubbish as actor"),
        pytest.param(
            {"authorization_details": '[{"type":"payment"}]'}, "invalid_grant", id="O7 details that were not granted"
        ),
    ],
)
async def test_refused(identity: Identity, rights: Delegations, form: dict[str, str], error: str) -> None:
    """What an exchange does not give."""
    files = await service(identity, "files", audiences=[FILES], scope="a b c admin")
    rights.allowed |= {("client:files", "ann", MAIL), ("client:files", "ann", ISSUER)}
    reply = await exchange(identity, files, await user_token(identity), **{"resource": MAIL, **form})
    assert (reply.status, reply.error) == (400, error)


async def test_o11_a_bound_token_needs_its_key(identity: Identity, rights: Delegations, clock: Clock) -> None:
    """And what comes of it is bound as well."""
    files = await service(identity, "files", audiences=[FILES])
    rights.allowed.add(("client:files", "ann", MAIL))
    token = await user_token(identity, jkt=KEY.jkt)
    for dpop in ("", token_proof(Key(), iat=clock.s)):
        assert (await exchange(identity, files, token, dpop, resource=MAIL)).error == "invalid_dpop_proof"
    reply = await exchange(identity, files, token, token_proof(KEY, iat=clock.s), resource=MAIL)
    assert reply.json["token_type"] == "DPoP"
    assert claims_of(reply.json["access_token"])["cnf"] == {"jkt": KEY.jkt}


async def test_never_longer_than_the_subject_token(identity: Identity, rights: Delegations, clock: Clock) -> None:
    """What is left of its time is all there is."""
    files = await service(identity, "files", audiences=[FILES])
    rights.allowed.add(("client:files", "ann", MAIL))
    token = await user_token(identity)
    clock.advance(500)
    await identity.authn.feed.poll()
    reply = await exchange(identity, files, token, resource=MAIL)
    assert reply.json["expires_in"] == 100
    clock.advance(100)
    await identity.authn.feed.poll()
    assert (await exchange(identity, files, token, resource=MAIL)).error == "invalid_grant"


async def test_revoking_ends_what_was_exchanged(identity: Identity, rights: Delegations) -> None:
    """Down the chain, by any token in it, and by its grant."""
    one = await service(identity, "one", audiences=[FILES])
    two = await service(identity, "two", audiences=[FILES, MAIL])
    rights.allowed |= {("client:one", "ann", FILES), ("client:two", "ann", MAIL)}
    for which in range(2):
        tokens = [await user_token(identity)]
        tokens.append((await exchange(identity, one, tokens[0], resource=FILES)).json["access_token"])
        tokens.append((await exchange(identity, two, tokens[1], resource=MAIL)).json["access_token"])
        claims = claims_of(tokens[which])
        await identity.authn.revoker.revoke_token(claims["jti"], claims["exp"] * 1000, "test")
        states = [(await identity.introspect(two, token))["active"] for token in tokens]
        assert states == ([False] * 3 if which == 0 else [True, False, False])
    tokens = [await user_token(identity)]
    tokens.append((await exchange(identity, one, tokens[0], resource=FILES)).json["access_token"])
    await identity.authn.refresh.revoke(claims_of(tokens[0])["grant_id"], "test")
    assert not any([(await identity.introspect(two, token))["active"] for token in tokens])


async def test_o11_revoked_actor(identity: Identity, rights: Delegations) -> None:
    """A disabled actor's tokens are worth nothing, and nobody exchanges them further."""
    one = await service(identity, "one", audiences=[FILES])
    two = await service(identity, "two", audiences=[FILES])
    rights.allowed |= {("client:one", "ann", FILES), ("client:two", "ann", MAIL)}
    token = (await exchange(identity, one, await user_token(identity), resource=FILES)).json["access_token"]
    further = (await exchange(identity, two, token, resource=MAIL)).json["access_token"]
    await identity.authn.admin.disable_client("one", "test")
    assert (await exchange(identity, two, token, resource=MAIL)).error == "invalid_grant"
    assert await identity.introspect(two, further) == {"active": False}


async def test_o11_a_subject_that_is_gone(identity: Identity, rights: Delegations) -> None:
    """Whether the subject is still there is asked."""
    files = await service(identity, "files", audiences=[FILES])
    rights.allowed.add(("client:files", "ann", MAIL))
    token = await user_token(identity)
    rights.gone.add("ann")
    assert (await exchange(identity, files, token, resource=MAIL)).error == "invalid_grant"


async def test_actor_tokens(identity: Identity, rights: Delegations) -> None:
    """An actor's token must be the client's own, and the right is asked of its subject."""
    files = await service(identity, "files", audiences=[FILES])
    other = await service(identity, "other")
    token = await user_token(identity)
    own = (await identity.token(files)).json["access_token"]
    foreign = (await identity.token(other)).json["access_token"]
    rights.allowed.add(("client:files", "ann", MAIL))
    reply = await exchange(identity, files, token, resource=MAIL, actor_token=own, actor_token_type=ACCESS_TOKEN)
    assert claims_of(reply.json["access_token"])["act"] == {"sub": "client:files"}
    refused = await exchange(
        identity, files, token, resource=MAIL, actor_token=foreign, actor_token_type=ACCESS_TOKEN
    )
    assert refused.error == "invalid_grant"


async def test_may_act(identity: Identity, rights: Delegations) -> None:
    """A subject token that names its actor lets that one act, and nobody else."""
    files = await service(identity, "files", audiences=[FILES])
    mail = await service(identity, "mail", audiences=[FILES])
    rights.allowed.add(("client:mail", "ann", MAIL))
    token = await user_token(identity, extra={"may_act": {"sub": "client:files"}})
    reply = await exchange(identity, files, token, resource=MAIL)
    assert claims_of(reply.json["access_token"])["act"] == {"sub": "client:files"}
    assert (await exchange(identity, mail, token, resource=MAIL)).error == "invalid_grant"


async def test_details_go_along(identity: Identity, rights: Delegations) -> None:
    """Those that the exchanging client may have; fewer if it asks for fewer."""
    one, two = {"type": "payment", "n": 1}, {"type": "payment", "n": 2}
    files = await service(identity, "files", audiences=[FILES], authorization_details_types=["payment"])
    blind = await service(identity, "blind", audiences=[FILES])
    rights.allowed |= {("client:files", "ann", MAIL), ("client:blind", "ann", MAIL)}
    token = await user_token(identity, details=(one, two))
    reply = await exchange(identity, files, token, resource=MAIL)
    assert reply.json["authorization_details"] == [one, two]
    fewer = await exchange(identity, files, token, resource=MAIL, authorization_details='[{"type":"payment","n":1}]')
    assert fewer.json["authorization_details"] == [one]
    without = await exchange(identity, blind, token, resource=MAIL)
    assert "authorization_details" not in claims_of(without.json["access_token"])


async def test_refresh_tokens_where_registered(identity: Identity, rights: Delegations) -> None:
    """A client registered for both may exchange for a family, which ends with the token that it came from."""
    job = await service(
        identity, "job", audiences=[FILES], grant_types=[EXCHANGE, "refresh_token", "client_credentials"]
    )
    rights.allowed.add(("client:job", "ann", MAIL))
    token = await user_token(identity)
    reply = await exchange(identity, job, token, resource=MAIL, requested_token_type=REFRESH_TOKEN)
    assert (reply.json["issued_token_type"], reply.json["token_type"]) == (REFRESH_TOKEN, "N_A")
    first = await identity.grant(job, "refresh_token", refresh_token=reply.json["access_token"])
    claims = claims_of(first.json["access_token"])
    assert (claims["sub"], claims["act"]) == ("ann", {"sub": "client:job"})
    told = claims_of(token)
    await identity.authn.revoker.revoke_token(told["jti"], told["exp"] * 1000, "test")
    assert await identity.introspect(job, first.json["access_token"]) == {"active": False}
    again = await identity.grant(job, "refresh_token", refresh_token=first.json["refresh_token"])
    assert again.error == "invalid_grant"


async def test_a_token_that_is_exchanged_for_ever(identity: Identity) -> None:
    """Narrowing again and again has an end."""
    svc = await service(identity, "svc")
    token = (await identity.token(svc)).json["access_token"]
    for _ in range(8):
        reply = await exchange(identity, svc, token, requested_token_type=JWT)
        assert reply.json["issued_token_type"] == JWT
        token = reply.json["access_token"]
    assert (await exchange(identity, svc, token)).error == "invalid_request"


async def test_opaque_in_and_out(identity: Identity) -> None:
    """Opaque tokens are exchanged like others; one who has only those cannot ask for a JWT."""
    svc = await service(identity, "svc", access_token_format="opaque")
    token = (await identity.token(svc)).json["access_token"]
    reply = await exchange(identity, svc, token, scope="a")
    assert reply.json["access_token"].startswith("tat_")
    assert (await exchange(identity, svc, token, requested_token_type=JWT)).error == "invalid_request"
