"""Client credentials: what is in a token, what may be asked for, and what is refused (attacks O7, O8)."""

import uuid
from collections.abc import AsyncIterator, Sequence

import pytest

from authn.errors import BadConfiguration
from authn.rights import Detail, NoRights
from authn.settings import AuthnSettings
from tests.authn.forge import Key, claims_of, header_of
from tests.authn.harness import FORM, ISSUER, KEK, Clock, Identity, basic, running, token_proof

API = "https://files.example/api"


@pytest.fixture
async def identity() -> AsyncIterator[Identity]:
    async with running(details_types=("payment",)) as identity:
        yield identity


async def test_what_a_token_says() -> None:
    """The claims of RFC 9068, section 2.2, and no more than is needed."""
    clock = Clock()
    async with running(clock=clock) as identity:
        client = await identity.client(client_id="svc")
        await identity.authn.feed.poll()
        reply = await identity.token(client)
        assert reply.status == 200
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["pragma"] == "no-cache"
        answer = reply.json
        token = answer.pop("access_token")
        assert answer == {"token_type": "Bearer", "expires_in": 600, "scope": "a b c"}
        claims = claims_of(token)
        assert uuid.UUID(claims.pop("jti")).version == 7
        assert claims.pop("epoch") == identity.authn.feed.position
        assert claims == {
            "iss": ISSUER,
            "sub": "client:svc",
            "aud": ISSUER,
            "client_id": "svc",
            "iat": clock.s,
            "exp": clock.s + 600,
            "scope": "a b c",
        }
        header = header_of(token)
        (key,) = [key for key in identity.authn.admin.signing_keys() if key.state.value == "active"]
        assert header == {"alg": "ES256", "kid": key.kid, "typ": "at+jwt"}


async def test_the_subject_is_never_an_accounts(identity: Identity) -> None:
    """A client cannot be registered under an id that makes its subject another's."""
    client = await identity.client(client_id="client:admin")
    claims = claims_of((await identity.token(client)).json["access_token"])
    assert claims["sub"] == "client:client:admin"


@pytest.mark.parametrize(
    ("asked", "given"),
    [("a", "a"), ("c a", "c a"), ("a a", "a"), ("a  b", "a b"), (" a ", "a"), ("", "a b c")],
    ids=["one", "two", "twice", "two spaces", "spaces around", "empty is absent"],
)
async def test_scopes(identity: Identity, asked: str, given: str) -> None:
    """What is asked for, or all."""
    client = await identity.client()
    reply = await identity.token(client, scope=asked)
    assert reply.json["scope"] == given
    assert claims_of(reply.json["access_token"])["scope"] == given


@pytest.mark.parametrize("asked", ["d", "a d", "A", "admin", "a\tb", 'a "b', "a\\b", "é", " ", "a" * 5000])
async def test_o7_scopes_beyond(identity: Identity, asked: str) -> None:
    """More than the client has, or no scope at all, is refused as a whole."""
    reply = await identity.token(await identity.client(), scope=asked)
    assert (reply.status, reply.error) == (400, "invalid_scope")


async def test_a_client_without_scopes(identity: Identity) -> None:
    """Gets a token that allows nothing."""
    client = await identity.client(scope="")
    reply = await identity.token(client)
    assert reply.json["scope"] == ""
    assert (await identity.token(client, scope="a")).error == "invalid_scope"


async def test_resources(identity: Identity) -> None:
    """One of the client's becomes the audience (RFC 8707)."""
    client = await identity.client(resources=[API, "urn:example:b"])
    for resource in (API, "urn:example:b", ISSUER):
        reply = await identity.token(client, resource=resource)
        assert claims_of(reply.json["access_token"])["aud"] == resource


@pytest.mark.parametrize(
    "resources",
    [
        pytest.param(["https://other.example"], id="unknown"),
        pytest.param([API + "/"], id="longer"),
        pytest.param([API[:-1]], id="shorter"),
        pytest.param([API.upper()], id="letter case"),
        pytest.param([API + "#x"], id="fragment"),
        pytest.param(["/api"], id="relative"),
        pytest.param(["files.example"], id="no scheme"),
        pytest.param([API, ISSUER], id="two"),
        pytest.param([API, API], id="twice"),
        pytest.param([API + " "], id="space"),
        pytest.param(["x" * 4096], id="long"),
    ],
)
async def test_o7_resources_beyond(identity: Identity, resources: Sequence[str]) -> None:
    """Any other is refused."""
    client = await identity.client(resources=[API])
    assert client.secret is not None
    pairs = [("grant_type", "client_credentials"), *(("resource", each) for each in resources)]
    reply = await identity.post("/oauth2/token", pairs, auth=basic(client.client.client_id, client.secret))
    assert (reply.status, reply.error) == (400, "invalid_target")


async def test_opaque_tokens(identity: Identity) -> None:
    """A client may have tokens that say nothing to their bearer; they are good all the same."""
    client = await identity.client(access_token_format="opaque")
    reply = await identity.token(client)
    token = reply.json["access_token"]
    assert token.startswith("tat_")
    assert "." not in token
    caller = await identity.authn.verify(token)
    assert (caller.subject, caller.scopes) == (client.client.subject, frozenset({"a", "b", "c"}))
    assert identity.authn.verify_bearer(token) == caller


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
async def test_other_algorithms(algorithm: str) -> None:
    """A client may have its tokens signed with another algorithm."""
    async with running(signing_algorithms=("ES256", algorithm)) as identity:
        client = await identity.client(access_token_signed_response_alg=algorithm)
        token = (await identity.token(client)).json["access_token"]
        assert header_of(token)["alg"] == algorithm
        assert identity.authn.verify_bearer(token).client_id == client.client.client_id


async def test_lifetime_of_a_clients_own(identity: Identity) -> None:
    """Instead of the installation's."""
    client = await identity.client(access_token_lifetime=30)
    reply = await identity.token(client)
    claims = claims_of(reply.json["access_token"])
    assert reply.json["expires_in"] == claims["exp"] - claims["iat"] == 30


@pytest.mark.parametrize(
    ("grant_type", "error"),
    [
        pytest.param("password", "unsupported_grant_type", id="password"),
        pytest.param("implicit", "unsupported_grant_type", id="implicit"),
        pytest.param("authorization_code", "unsupported_grant_type", id="code"),
        pytest.param("urn:ietf:params:oauth:grant-type:jwt-bearer", "unsupported_grant_type", id="jwt bearer"),
        pytest.param("CLIENT_CREDENTIALS", "unsupported_grant_type", id="letter case"),
        pytest.param("refresh_token", "unauthorized_client", id="not the client's"),
        pytest.param("", "invalid_request", id="empty"),
    ],
)
async def test_other_grants(identity: Identity, grant_type: str, error: str) -> None:
    """Grants that are not offered, or not the client's."""
    reply = await identity.grant(await identity.client(), grant_type)
    assert (reply.status, reply.error) == (400, error)


@pytest.mark.parametrize(
    "pairs",
    [
        [("grant_type", "client_credentials"), ("grant_type", "client_credentials")],
        [("grant_type", "client_credentials"), ("scope", "a"), ("scope", "b")],
        [("grant_type", "client_credentials"), ("scope", ""), ("scope", "a")],
        [("grant_type", "client_credentials"), ("audience", "x"), ("audience", "y")],
        [("grant_type", "client_credentials"), ("unknown", "1"), ("unknown", "2")],
    ],
    ids=["grant_type", "scope", "scope, one empty", "audience", "unknown"],
)
async def test_repeated_parameters(identity: Identity, pairs: list[tuple[str, str]]) -> None:
    """RFC 6749, section 3.2: none may stand twice."""
    client = await identity.client()
    assert client.secret is not None
    reply = await identity.post("/oauth2/token", pairs, auth=basic(client.client.client_id, client.secret))
    assert (reply.status, reply.error) == (400, "invalid_request")


async def test_unknown_parameters_are_ignored(identity: Identity) -> None:
    """RFC 6749, section 3.2."""
    assert (await identity.token(await identity.client(), whatever="1")).status == 200


class SomeRights(NoRights):
    """Grants checks on documents whose id is even."""

    details_types = ("relation_check",)

    async def granted(self, subject: str, details: Sequence[Detail]) -> Sequence[Detail]:
        del subject
        return [detail for detail in details if int(detail["resource"]) % 2 == 0]


async def test_authorization_details_are_granted_as_far_as_checked() -> None:
    """RFC 9396: what the graph allows, and what is carried for others."""
    async with running(rights=SomeRights(), details_types=("payment",)) as identity:
        client = await identity.client(authorization_details_types=["relation_check", "payment"])
        asked = (
            '[{"type":"relation_check","resource":"1"},{"type":"relation_check","resource":"2"},{"type":"payment"}]'
        )
        reply = await identity.token(client, authorization_details=asked)
        granted = [{"type": "relation_check", "resource": "2"}, {"type": "payment"}]
        assert reply.json["authorization_details"] == granted
        assert claims_of(reply.json["access_token"])["authorization_details"] == granted
        none = '[{"type":"relation_check","resource":"1"}]'
        refused = await identity.token(client, authorization_details=none)
        assert (refused.status, refused.error) == (400, "invalid_authorization_details")


@pytest.mark.parametrize(
    "details",
    [
        "x",
        "{}",
        "[]",
        "null",
        '"payment"',
        "[1]",
        '[{"kind":"payment"}]',
        '[{"type":1}]',
        '[{"type":"unknown"}]',
        '[{"type":"relation_check"}]',
        '[{"type":"payment","type":"payment"}]',
        '[{"type":"payment"}],"x":1',
        '[{"type":"payment"}]}',
        "[" * 2000,
        '[{"type":"payment","x":"' + "y" * 20_000 + '"}]',
        "[" + ",".join(['{"type":"payment"}'] * 33) + "]",
    ],
)
async def test_refused_details(identity: Identity, details: str) -> None:
    """Malformed, or of a type that nobody here can judge."""
    client = await identity.client(authorization_details_types=["relation_check", "payment", "unknown"])
    reply = await identity.token(client, authorization_details=details)
    assert (reply.status, reply.error) == (400, "invalid_authorization_details")


async def test_details_of_a_type_that_is_not_the_clients(identity: Identity) -> None:
    """The client must be registered for it."""
    reply = await identity.token(await identity.client(), authorization_details='[{"type":"payment"}]')
    assert reply.error == "invalid_authorization_details"


@pytest.mark.parametrize(
    ("method", "headers", "body", "status"),
    [
        pytest.param("GET", [], b"", 405, id="GET"),
        pytest.param("PUT", [("content-type", FORM)], b"grant_type=x", 405, id="PUT"),
        pytest.param("POST", [("content-type", "application/json")], b"{}", 415, id="JSON"),
        pytest.param("POST", [("content-type", "multipart/form-data; boundary=x")], b"", 415, id="multipart"),
        pytest.param("POST", [], b"grant_type=client_credentials", 415, id="no type"),
        pytest.param("POST", [("content-type", FORM)], b"a=" + b"b" * 70_000, 413, id="too large"),
        pytest.param("POST", [("content-type", FORM)], b"", 401, id="empty"),
        pytest.param("POST", [("content-type", FORM)], b"grant_type=\xff", 400, id="not UTF-8"),
        pytest.param("POST", [("content-type", FORM)], b"grant_type=%ff", 400, id="encoded, not UTF-8"),
        pytest.param("POST", [("content-type", FORM)], b"&".join([b"a=b"] * 300), 400, id="too many"),
        pytest.param(
            "POST", [("content-type", FORM), ("authorization", "a"), ("authorization", "b")], b"", 400, id="two"
        ),
        pytest.param("POST", [("content-type", FORM + ";charset=UTF-8")], b"grant_type=x", 401, id="with charset"),
    ],
)
async def test_requests_of_another_form(
    identity: Identity, method: str, headers: list[tuple[str, str]], body: bytes, status: int
) -> None:
    """The right status for each, never stored, and nothing issued."""
    reply = await identity.ask(method, "/oauth2/token", body, headers)
    assert reply.status == status
    assert reply.headers["cache-control"] == "no-store"
    assert "error" in reply.json


async def test_j14_no_audience_no_start() -> None:
    """An identity part that would accept tokens for anybody cannot be made."""
    settings = AuthnSettings(issuer=ISSUER, key_encryption_keys=(KEK,))
    assert settings.audience == ISSUER
    for issuer in ("", "id.example", "https://id.example/", "ftp://id.example"):
        with pytest.raises(BadConfiguration):
            AuthnSettings(issuer=issuer, key_encryption_keys=(KEK,))
    with pytest.raises(BadConfiguration):
        AuthnSettings(issuer=ISSUER, key_encryption_keys=(KEK,), signing_algorithms=("RS256",))


async def test_the_first_start_makes_an_admin_once(sqlite_url: str) -> None:
    """And tells its secret only then."""
    async with running(sqlite_url) as first:
        assert first.admin is not None
        client_id, secret = first.admin
        reply = await first.post("/oauth2/token", {"grant_type": "client_credentials"}, auth=basic(client_id, secret))
        assert "admin" in reply.json["scope"].split()
        await first.authn.admin.remove_client(client_id, "test")
    async with running(sqlite_url) as second:
        assert second.admin is None
        assert await second.authn.clients.find(client_id) is None


async def test_tokens_outlive_a_restart(sqlite_url: str) -> None:
    """The keys are kept."""
    async with running(sqlite_url) as first:
        token = (await first.token(await first.client())).json["access_token"]
    async with running(sqlite_url) as second:
        assert second.authn.verify_bearer(token).scopes == {"a", "b", "c"}


async def test_public_clients_cannot_have_tokens_for_themselves(identity: Identity) -> None:
    """Nobody is nobody (RFC 6749, section 4.4)."""
    with pytest.raises(Exception, match="client_credentials"):
        await identity.client(token_endpoint_auth_method="none")
    public = await identity.client(token_endpoint_auth_method="none", grant_types=["refresh_token"])
    assert (await identity.token(public)).error == "unauthorized_client"
    assert (await identity.token(public, dpop=token_proof(Key()))).error == "unauthorized_client"
