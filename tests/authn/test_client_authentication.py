"""How clients prove who they are, and what must not pass for it (attack O8)."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.authn.forge import Key, assertion, b64
from tests.authn.harness import FORM, ISSUER, TOKEN_URL, Clock, Identity, basic, running

KEY, KEY2 = Key(), Key()
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
async def identity() -> AsyncIterator[Identity]:
    async with running() as identity:
        yield identity


async def ask(identity: Identity, auth: str | None = None, **form: str) -> tuple[int, str | None]:
    reply = await identity.post("/oauth2/token", {**GRANT, **form}, auth=auth)
    return reply.status, reply.error


async def test_each_way_of_a_secret(identity: Identity) -> None:
    """By header, by form, and by either where no way was named."""
    by_header = await identity.client(
        client_id="h", client_secret="s" * 32, token_endpoint_auth_method="client_secret_basic"
    )
    await identity.client(client_id="f", client_secret="s" * 32, token_endpoint_auth_method="client_secret_post")
    await identity.client(client_id="e", client_secret="s" * 32)
    assert by_header.secret == "s" * 32
    for client_id in ("h", "e"):
        assert await ask(identity, basic(client_id, "s" * 32)) == (200, None)
        assert await ask(identity, basic(client_id, "s" * 32), client_id=client_id) == (200, None)
    for client_id in ("f", "e"):
        assert await ask(identity, client_id=client_id, client_secret="s" * 32) == (200, None)


async def test_o8_another_way_than_the_registered_one(identity: Identity) -> None:
    """A secret by the wrong way, and a secret where a key is registered."""
    await identity.client(client_id="h", client_secret="s" * 32, token_endpoint_auth_method="client_secret_basic")
    await identity.client(client_id="f", client_secret="s" * 32, token_endpoint_auth_method="client_secret_post")
    await identity.client(client_id="k", jwks={"keys": [KEY.jwk]})
    assert await ask(identity, client_id="h", client_secret="s" * 32) == (401, "invalid_client")
    assert await ask(identity, basic("f", "s" * 32)) == (401, "invalid_client")
    for client_id in ("h", "f", "k"):
        assert await ask(identity, client_id=client_id) == (401, "invalid_client")
    assert await ask(identity, basic("k", "s" * 32)) == (401, "invalid_client")
    text = assertion(KEY, "h", ISSUER)
    assert await ask(identity, client_assertion=text, client_assertion_type=ASSERTION_TYPE) == (401, "invalid_client")


async def test_o8_two_methods_at_once(identity: Identity) -> None:
    """Two credentials in one request are one too many, right or wrong."""
    await identity.client(client_id="c", client_secret="s" * 32)
    text = assertion(KEY, "c", ISSUER)
    for auth, form in [
        (basic("c", "s" * 32), {"client_secret": "s" * 32}),
        (basic("c", "s" * 32), {"client_assertion": text, "client_assertion_type": ASSERTION_TYPE}),
        (None, {"client_secret": "x", "client_assertion": text, "client_assertion_type": ASSERTION_TYPE}),
        (basic("c", "s" * 32), {"client_id": "d"}),
        (None, {"client_assertion": text}),
        (None, {"client_assertion_type": ASSERTION_TYPE, "client_id": "c"}),
    ]:
        assert await ask(identity, auth, **form) == (400, "invalid_request")


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param("Basic", id="nothing"),
        pytest.param("Basic ", id="empty"),
        pytest.param("Basic !!!!", id="not base64"),
        pytest.param("Basic " + base64.b64encode(b"c").decode(), id="no colon"),
        pytest.param("Basic " + base64.b64encode(b"c:" + b"s" * 32).decode().rstrip("="), id="no padding"),
        pytest.param("Basic " + base64.b64encode(b"c:" + b"s" * 32).decode() + "\n", id="newline"),
        pytest.param("Basic " + base64.urlsafe_b64encode(b"c:\xff\xff\xfe").decode(), id="other alphabet"),
        pytest.param("Basic " + base64.b64encode(b"c:\xff").decode(), id="not UTF-8"),
        pytest.param("Basic " + base64.b64encode(b"c:%ff").decode(), id="encoded, not UTF-8"),
        pytest.param("Basic " + base64.b64encode(b":" + b"s" * 32).decode(), id="no id"),
        pytest.param("Basic " + base64.b64encode(b"C:" + b"s" * 32).decode(), id="letter case of the id"),
        pytest.param("Basic " + base64.b64encode(b"c:" + b"S" * 32).decode(), id="letter case of the secret"),
        pytest.param("Basic " + base64.b64encode(b"c:" + b"s" * 31).decode(), id="shorter secret"),
        pytest.param("Basic " + base64.b64encode(b"c:" + b"s" * 33).decode(), id="longer secret"),
        pytest.param("Basic " + base64.b64encode(b"c: " + b"s" * 32).decode(), id="space"),
        pytest.param("Basic " + base64.b64encode(b"c:").decode(), id="empty secret"),
        pytest.param("Basic " + base64.b64encode(b"nobody:" + b"s" * 32).decode(), id="unknown client"),
        pytest.param("Bearer abc", id="another scheme"),
        pytest.param("Negotiate abc", id="yet another scheme"),
        pytest.param(None, id="none"),
    ],
)
async def test_o8_refused_credentials(identity: Identity, auth: str | None) -> None:
    """All refused alike, with a challenge where the header was used."""
    await identity.client(client_id="c", client_secret="s" * 32)
    reply = await identity.post("/oauth2/token", GRANT, auth=auth)
    assert (reply.status, reply.error) == (401, "invalid_client")
    assert reply.json["error_description"] == "client authentication failed"
    assert ("www-authenticate" in reply.headers) is (auth is not None)


async def test_same_answer_for_unknown_client_and_wrong_secret(identity: Identity) -> None:
    """Nothing tells an id that exists from one that does not."""
    await identity.client(client_id="c", client_secret="s" * 32)
    await identity.client(client_id="off", client_secret="s" * 32)
    await identity.authn.admin.disable_client("off", "test")
    answers = {
        (reply.status, reply.body, tuple(sorted(reply.headers.items())))
        for reply in [
            await identity.post("/oauth2/token", GRANT, auth=basic("c", "wrong-secret")),
            await identity.post("/oauth2/token", GRANT, auth=basic("nobody", "wrong-secret")),
            await identity.post("/oauth2/token", GRANT, auth=basic("off", "s" * 32)),
        ]
    }
    assert len(answers) == 1


async def test_form_encoding_of_both_halves(identity: Identity) -> None:
    """RFC 6749, section 2.3.1: id and secret are form-encoded within the header."""
    await identity.client(client_id="a b:c", client_secret="100% s:e+c&ret")
    assert await ask(identity, basic("a b:c", "100% s:e+c&ret")) == (200, None)
    assert await ask(identity, client_id="a b:c", client_secret="100% s:e+c&ret") == (200, None)
    raw = base64.b64encode(b"a b:c:100% s:e+c&ret").decode()
    assert await ask(identity, f"Basic {raw}") == (401, "invalid_client")


async def test_o8_secret_in_the_query(identity: Identity) -> None:
    """Only the body is read."""
    await identity.client(client_id="c", client_secret="s" * 32)
    reply = await identity.ask("POST", "/oauth2/token", b"grant_type=client_credentials", [("content-type", FORM)])
    assert reply.error == "invalid_client"


async def test_o8_expired_secret() -> None:
    """Two secrets are good until the older one's end, and a third needs an end of theirs."""
    clock = Clock()
    async with running(clock=clock) as identity:
        first = await identity.client(client_id="c", client_secret="first-secret")
        assert first.secret == "first-secret"
        await identity.authn.admin.rotate_secret("c", "test", overlap_s=3600, secret="second-secret")
        for secret in ("first-secret", "second-secret"):
            assert await ask(identity, basic("c", secret)) == (200, None)
        with pytest.raises(Exception, match="two are good already"):
            await identity.authn.admin.rotate_secret("c", "test", overlap_s=3600, secret="third-secret")
        clock.advance(3601)
        await identity.authn.feed.poll()
        assert await ask(identity, basic("c", "first-secret")) == (401, "invalid_client")
        assert await ask(identity, basic("c", "second-secret")) == (200, None)
        third = await identity.authn.admin.rotate_secret("c", "test", overlap_s=0)
        assert await ask(identity, basic("c", "second-secret")) == (401, "invalid_client")
        assert await ask(identity, basic("c", third)) == (200, None)


# Assertions.


async def by_assertion(identity: Identity, text: str, **form: str) -> tuple[int, str | None]:
    return await ask(identity, client_assertion=text, client_assertion_type=ASSERTION_TYPE, **form)


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "PS256"])
async def test_assertions_of_each_algorithm(identity: Identity, alg: str) -> None:
    """Every algorithm that discovery names."""
    key = Key(alg)
    await identity.client(client_id="k", jwks={"keys": [{**key.jwk, "kid": "1"}]})
    assert await by_assertion(identity, assertion(key, "k", ISSUER)) == (200, None)
    assert await by_assertion(identity, assertion(key, "k", ISSUER, header={"kid": "1"}), client_id="k") == (
        200,
        None,
    )


def _now() -> int:
    import time

    return int(time.time())


GOOD: list[tuple[str, Callable[[], str]]] = [
    ("without iat", lambda: assertion(KEY, "k", ISSUER, iat=None)),
    ("typ JWT", lambda: assertion(KEY, "k", ISSUER, header={"typ": "JWT"})),
    ("typ of its own", lambda: assertion(KEY, "k", ISSUER, header={"typ": "client-authentication+jwt"})),
    ("S3 ten seconds fast", lambda: assertion(KEY, "k", ISSUER, iat=_now() + 9, nbf=_now() + 9)),
    ("S3 ten seconds slow", lambda: assertion(KEY, "k", ISSUER, iat=_now() - 310, exp=_now() - 8)),
    ("five minutes", lambda: assertion(KEY, "k", ISSUER, exp=_now() + 300)),
]
BAD: list[tuple[str, Callable[[], str]]] = [
    ("aud token endpoint", lambda: assertion(KEY, "k", TOKEN_URL)),
    ("aud list", lambda: assertion(KEY, "k", [ISSUER])),
    ("aud list of two", lambda: assertion(KEY, "k", [ISSUER, "https://evil.example"])),
    ("aud with slash", lambda: assertion(KEY, "k", ISSUER + "/")),
    ("aud prefix", lambda: assertion(KEY, "k", ISSUER[:-1])),
    ("aud PAR endpoint", lambda: assertion(KEY, "k", ISSUER + "/oauth2/par")),
    ("aud missing", lambda: assertion(KEY, "k", None)),
    ("aud another's", lambda: assertion(KEY, "k", "https://other.example")),
    ("iss not sub", lambda: assertion(KEY, "k", ISSUER, sub="other")),
    ("sub missing", lambda: assertion(KEY, "k", ISSUER, sub=None)),
    ("iss missing", lambda: assertion(KEY, "k", ISSUER, iss=None)),
    ("another client", lambda: assertion(KEY, "other", ISSUER)),
    ("exp missing", lambda: assertion(KEY, "k", ISSUER, exp=None)),
    ("exp passed", lambda: assertion(KEY, "k", ISSUER, exp=_now() - 30)),
    ("exp far", lambda: assertion(KEY, "k", ISSUER, exp=_now() + 3600)),
    ("exp a text", lambda: assertion(KEY, "k", ISSUER, exp=str(_now() + 60))),
    ("exp true", lambda: assertion(KEY, "k", ISSUER, exp=True)),
    ("iat in the future", lambda: assertion(KEY, "k", ISSUER, iat=_now() + 61)),
    ("nbf in the future", lambda: assertion(KEY, "k", ISSUER, nbf=_now() + 61)),
    ("jti missing", lambda: assertion(KEY, "k", ISSUER, jti=None)),
    ("jti empty", lambda: assertion(KEY, "k", ISSUER, jti="")),
    ("jti long", lambda: assertion(KEY, "k", ISSUER, jti="x" * 257)),
    ("J1 none", lambda: assertion(KEY, "k", ISSUER, header={"alg": "none"})),
    ("J2 HS256", lambda: assertion(KEY, "k", ISSUER, header={"alg": "HS256"})),
    ("J3 kid with a path", lambda: assertion(KEY, "k", ISSUER, header={"kid": "../../etc/passwd"})),
    ("J3 kid with SQL", lambda: assertion(KEY, "k", ISSUER, header={"kid": "' OR 1=1 --"})),
    ("J3 kid with NUL", lambda: assertion(KEY, "k", ISSUER, header={"kid": "\0"})),
    ("J4 jwk in the header", lambda: assertion(KEY2, "k", ISSUER, header={"jwk": KEY2.jwk})),
    ("J4 jku in the header", lambda: assertion(KEY2, "k", ISSUER, header={"jku": "https://evil.example/"})),
    ("J6 typ at+jwt", lambda: assertion(KEY, "k", ISSUER, header={"typ": "at+jwt"})),
    ("J6 typ dpop+jwt", lambda: assertion(KEY, "k", ISSUER, header={"typ": "dpop+jwt"})),
    ("another key", lambda: assertion(KEY2, "k", ISSUER)),
    ("another key, its kid", lambda: assertion(KEY2, "k", ISSUER, header={"kid": "1"})),
    ("unsigned", lambda: ".".join([*assertion(KEY, "k", ISSUER).split(".")[:2], b64(b"")])),
    ("no JWT", lambda: "assertion"),
]


@pytest.mark.parametrize("make", [make for _, make in GOOD], ids=[name for name, _ in GOOD])
async def test_accepts_assertions(identity: Identity, make: Callable[[], str]) -> None:
    """What must pass."""
    await identity.client(client_id="k", jwks={"keys": [{**KEY.jwk, "kid": "1"}]})
    assert await by_assertion(identity, make()) == (200, None)


@pytest.mark.parametrize("make", [make for _, make in BAD], ids=["O8 " + name for name, _ in BAD])
async def test_refuses_assertions(identity: Identity, make: Callable[[], str]) -> None:
    """What must not."""
    await identity.client(client_id="k", jwks={"keys": [{**KEY.jwk, "kid": "1"}]})
    assert await by_assertion(identity, make()) == (401, "invalid_client")


async def test_o8_an_assertion_is_used_once(identity: Identity) -> None:
    """The same again is refused, and so is its ``jti`` in another; another client may use the same ``jti``."""
    await identity.client(client_id="k", jwks={"keys": [KEY.jwk]})
    await identity.client(client_id="l", jwks={"keys": [KEY.jwk]})
    once = assertion(KEY, "k", ISSUER, jti="one")
    assert await by_assertion(identity, once) == (200, None)
    assert await by_assertion(identity, once) == (401, "invalid_client")
    assert await by_assertion(identity, assertion(KEY, "k", ISSUER, jti="one", exp=_now() + 120)) == (
        401,
        "invalid_client",
    )
    assert await by_assertion(identity, assertion(KEY, "l", ISSUER, jti="one")) == (200, None)


async def test_a_client_may_be_registered_for_looser_assertions(identity: Identity) -> None:
    """For libraries that name the token endpoint and an hour; never a list."""
    await identity.client(
        client_id="k",
        jwks={"keys": [KEY.jwk]},
        assertion_audience="issuer_or_token_endpoint",
        assertion_lifetime_max=3600,
    )
    assert await by_assertion(identity, assertion(KEY, "k", TOKEN_URL, exp=_now() + 3600)) == (200, None)
    assert await by_assertion(identity, assertion(KEY, "k", ISSUER)) == (200, None)
    assert await by_assertion(identity, assertion(KEY, "k", [TOKEN_URL])) == (401, "invalid_client")
    assert await by_assertion(identity, assertion(KEY, "k", TOKEN_URL, exp=_now() + 3700)) == (401, "invalid_client")


async def test_o8_the_registered_algorithm_only(identity: Identity) -> None:
    """``token_endpoint_auth_signing_alg`` allows one."""
    key = Key("RS256")
    await identity.client(client_id="k", jwks={"keys": [key.jwk]}, token_endpoint_auth_signing_alg="PS256")
    assert await by_assertion(identity, assertion(key, "k", ISSUER)) == (401, "invalid_client")
    key.alg = "PS256"
    assert await by_assertion(identity, assertion(key, "k", ISSUER)) == (200, None)


async def test_o8_client_id_beside_an_assertion(identity: Identity) -> None:
    """Must be the same."""
    await identity.client(client_id="k", jwks={"keys": [KEY.jwk]})
    assert await by_assertion(identity, assertion(KEY, "k", ISSUER), client_id="l") == (400, "invalid_request")


async def test_other_assertion_types(identity: Identity) -> None:
    """SAML assertions are not taken."""
    saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
    assert await ask(identity, client_assertion="x", client_assertion_type=saml) == (401, "invalid_client")


async def test_a_disabled_client_is_refused(identity: Identity) -> None:
    """By every method, until it is enabled again."""
    await identity.client(client_id="c", client_secret="s" * 32)
    await identity.client(client_id="k", jwks={"keys": [KEY.jwk]})
    for client_id in ("c", "k"):
        await identity.authn.admin.disable_client(client_id, "test")
    assert await ask(identity, basic("c", "s" * 32)) == (401, "invalid_client")
    assert await by_assertion(identity, assertion(KEY, "k", ISSUER)) == (401, "invalid_client")
    await identity.authn.admin.enable_client("c", "test")
    assert await ask(identity, basic("c", "s" * 32)) == (200, None)
    await identity.authn.admin.remove_client("c", "test")
    assert await ask(identity, basic("c", "s" * 32)) == (401, "invalid_client")


async def test_secrets_are_not_in_the_database(identity: Identity) -> None:
    """Neither in clear nor reversibly."""
    secret = "planted-secret-" + "x" * 20
    await identity.client(client_id="c", client_secret=secret)
    page = await identity.authn.clients.page()
    assert all(secret not in json.dumps(dict(client.metadata)) for client in page)
    found: Any = next(client for client in page if client.client_id == "c")
    assert [len(each.digest) for each in found.secrets] == [32]
