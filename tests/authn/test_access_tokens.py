"""Access tokens that our own API must refuse, however well they look (attacks J1 to J15)."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from authn.errors import InvalidToken
from authn.jose import Signer
from tests.authn.forge import Key, claims_of, header_of, jws, malleated, part
from tests.authn.harness import ISSUER, Clock, Identity, running

ATTACKER = Key()


@pytest.fixture
async def identity() -> AsyncIterator[Identity]:
    async with running() as identity:
        yield identity


async def good_token(identity: Identity) -> str:
    token: str = (await identity.token(await identity.client())).json["access_token"]
    return token


def resigned(identity: Identity, token: str, typ: str = "at+jwt", **changes: Any) -> str:
    """The token with other claims, signed by our own key: what a bug of ours, or a key's thief, might make."""
    claims = {name: value for name, value in {**claims_of(token), **changes}.items() if value is not None}
    key = identity.authn.keys.ring.signer("ES256").key
    return Signer(key, typ).sign(claims)


async def refuses(identity: Identity, token: str) -> bool:
    """Whether both ways of reading refuse, with no other error."""
    with pytest.raises(InvalidToken):
        identity.authn.verify_bearer(token)
    with pytest.raises(InvalidToken):
        await identity.authn.verify(token)
    return True


async def test_accepts_ours(identity: Identity) -> None:
    """A good one, again and again."""
    token = await good_token(identity)
    first = identity.authn.verify_bearer(token)
    assert first == identity.authn.verify_bearer(token) == await identity.authn.verify(token)
    assert identity.authn.verify_bearer(resigned(identity, token, extra={"a": [1]})).jti == first.jti


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"iss": None}, id="J13 no issuer"),
        pytest.param({"iss": "https://other.example"}, id="J13 foreign issuer"),
        pytest.param({"iss": ISSUER + "/"}, id="J13 issuer with slash"),
        pytest.param({"iss": ISSUER + ".evil.example"}, id="J13 issuer as prefix"),
        pytest.param({"iss": ISSUER[:-1]}, id="J13 prefix of the issuer"),
        pytest.param({"iss": [ISSUER]}, id="J13 list of issuers"),
        pytest.param({"aud": None}, id="J14 no audience"),
        pytest.param({"aud": ""}, id="J14 empty audience"),
        pytest.param({"aud": []}, id="J14 no audience in a list"),
        pytest.param({"aud": "https://other.example"}, id="J14 another audience"),
        pytest.param({"aud": ["https://other.example"]}, id="J14 other audiences"),
        pytest.param({"aud": [ISSUER, 1]}, id="J14 audience is a number"),
        pytest.param({"aud": ISSUER + "/v1"}, id="J14 longer audience"),
        pytest.param({"exp": None}, id="no exp"),
        pytest.param({"exp": 1}, id="long expired"),
        pytest.param({"exp": "9999999999"}, id="exp is a text"),
        pytest.param({"exp": True}, id="exp is true"),
        pytest.param({"exp": 2**60}, id="exp beyond numbers"),
        pytest.param({"iat": None}, id="no iat"),
        pytest.param({"iat": 9_999_999_999}, id="issued in the future"),
        pytest.param({"iat": "0"}, id="iat is a text"),
        pytest.param({"nbf": 9_999_999_999}, id="not yet valid"),
        pytest.param({"nbf": "x"}, id="nbf is a text"),
        pytest.param({"sub": None}, id="no sub"),
        pytest.param({"sub": ""}, id="empty sub"),
        pytest.param({"sub": 7}, id="sub is a number"),
        pytest.param({"client_id": None}, id="no client_id"),
        pytest.param({"jti": None}, id="no jti"),
        pytest.param({"scope": ["a"]}, id="scope is a list"),
        pytest.param({"epoch": "1"}, id="epoch is a text"),
        pytest.param({"epoch": True}, id="epoch is true"),
        pytest.param({"cnf": {"x5t#S256": "abc"}}, id="bound to a certificate"),
        pytest.param({"cnf": "key"}, id="cnf is a text"),
        pytest.param({"cnf": {"jkt": "abc"}}, id="bound to a key, sent as bearer"),
        pytest.param({"act": "client:x"}, id="act is a text"),
        pytest.param({"act": {}}, id="act without sub"),
        pytest.param({"lineage": "x"}, id="lineage is a text"),
        pytest.param({"grant_id": 1}, id="grant_id is a number"),
        pytest.param({"sid": ""}, id="empty sid"),
    ],
)
async def test_refuses_claims(identity: Identity, changes: dict[str, Any]) -> None:
    """Signed by our key, and wrong."""
    assert await refuses(identity, resigned(identity, await good_token(identity), **changes))


@pytest.mark.parametrize(
    "typ",
    ["JWT", "dpop+jwt", "logout+jwt", "id_token+jwt", "client-authentication+jwt", "jwt+at", ""],
)
async def test_j6_other_kinds_of_tokens(identity: Identity, typ: str) -> None:
    """Only what is an access token by its type is one."""
    assert await refuses(identity, resigned(identity, await good_token(identity), typ=typ))


def _other_key(identity: Identity, token: str, **header: Any) -> str:
    return jws({**header_of(token), **header}, claims_of(token), ATTACKER)


FORGED: list[tuple[str, Callable[[Identity, str], str]]] = [
    ("J1 none", lambda _, t: jws({"alg": "none", "typ": "at+jwt"}, claims_of(t), None) + "AA"),
    ("J1 none, our kid", lambda _, t: f"{part({**header_of(t), 'alg': 'none'})}.{'.'.join(t.split('.')[1:])}"),
    ("J2 HS256", lambda _, t: f"{part({**header_of(t), 'alg': 'HS256'})}.{'.'.join(t.split('.')[1:])}"),
    ("J3 kid with a path", lambda i, t: _other_key(i, t, kid="../../../dev/null")),
    ("J3 kid with SQL", lambda i, t: _other_key(i, t, kid="x' UNION SELECT 'k' --")),
    ("J3 kid with NUL", lambda i, t: _other_key(i, t, kid="k\0")),
    ("J3 kid of ten kilobytes", lambda i, t: _other_key(i, t, kid="k" * 10_000)),
    ("J3 kid is a list", lambda i, t: _other_key(i, t, kid=["k"])),
    ("J3 kid is an object", lambda i, t: _other_key(i, t, kid={"k": 1})),
    ("J3 no kid", lambda i, t: jws({"alg": "ES256", "typ": "at+jwt"}, claims_of(t), ATTACKER)),
    ("J4 jwk", lambda i, t: _other_key(i, t, jwk=ATTACKER.jwk)),
    ("J4 jku", lambda i, t: _other_key(i, t, jku="http://127.0.0.1:1/jwks")),
    ("J5 crit", lambda i, t: _other_key(i, t, crit=["exp"])),
    ("another's signature, our kid", _other_key),
    ("J7 another curve", lambda i, t: jws({**header_of(t), "alg": "ES384"}, claims_of(t), Key("ES384"))),
    ("J9 malleated", lambda _, t: malleated(t)),
    ("J12 padding", lambda _, t: t + "=="),
    ("J12 newline", lambda _, t: t + "\n"),
    ("J12 space", lambda _, t: " " + t),
    ("no signature", lambda _, t: t.rpartition(".")[0] + "."),
    ("other claims, same signature", lambda _, t: _swapped(t)),
    ("J11 large", lambda _, t: t + "A" * 10_000),
    ("empty", lambda _, __: ""),
    ("not ASCII", lambda _, t: "é" + t),
    ("lone surrogate", lambda _, t: "\ud800" + t),
    ("opaque, unknown", lambda _, __: "tat_" + "A" * 43),
]


def _swapped(token: str) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{part({**claims_of(token), 'scope': 'admin'})}.{signature}"


@pytest.mark.parametrize("forge", [forge for _, forge in FORGED], ids=[name for name, _ in FORGED])
async def test_refuses_forgeries(identity: Identity, forge: Callable[[Identity, str], str]) -> None:
    """Tokens that we did not sign like this."""
    token = await good_token(identity)
    identity.authn.verify_bearer(token)
    with pytest.raises(InvalidToken):
        await identity.authn.verify(forge(identity, token))


async def test_expiry_of_a_remembered_token() -> None:
    """A token that was found good is still held against the time."""
    clock = Clock()
    async with running(clock=clock) as identity:
        token = await good_token(identity)
        clock.advance(599)
        await identity.authn.feed.poll()
        identity.authn.verify_bearer(token)
        clock.advance(1)
        await identity.authn.feed.poll()
        assert await refuses(identity, token)


async def test_j15_a_key_that_is_published_no_more() -> None:
    """A remembered token dies with its key."""
    clock = Clock()
    async with running(clock=clock) as identity:
        token = await good_token(identity)
        identity.authn.verify_bearer(token)
        await identity.authn.admin.compromise_key(header_of(token)["kid"], "test")
        assert await refuses(identity, token)
        assert (await identity.token(await identity.client())).status == 200


async def test_unknown_keys_are_counted_and_nothing_is_fetched(identity: Identity) -> None:
    """A flood of unknown key ids costs no query: our keys are known, a change of them is heard of."""
    token = await good_token(identity)
    for number in range(100):
        with pytest.raises(InvalidToken):
            identity.authn.verify_bearer(_other_key(identity, token, kid=f"kid-{number}"))
    assert identity.authn.metrics.unknown_kid._value.get() == 100
