"""DPoP proofs at the token endpoint and at our own API: attacks D1 to D24 and their like."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from authn.clients.registry import Registered
from authn.errors import InvalidDpopProof, InvalidToken, UseDpopNonce
from tests.authn.forge import Key, b64, claims_of, jws, proof
from tests.authn.harness import ISSUER, TOKEN_URL, Clock, Identity, basic, running, token_proof

KEY = Key()
CHECK_PATH = "/v1/permissions/check"
CHECK_URL = ISSUER + CHECK_PATH


@pytest.fixture
async def identity() -> AsyncIterator[Identity]:
    async with running() as identity:
        yield identity


@pytest.fixture
async def client(identity: Identity) -> Registered:
    return await identity.client()


async def test_a_token_is_bound_to_the_proof(identity: Identity, client: Registered) -> None:
    """The answer says DPoP, the token names the key, and a nonce comes along."""
    reply = await identity.token(client, dpop=token_proof(KEY))
    assert reply.status == 200
    assert reply.json["token_type"] == "DPoP"
    assert claims_of(reply.json["access_token"])["cnf"] == {"jkt": KEY.jkt}
    assert reply.headers["dpop-nonce"]


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "PS256"])
async def test_each_algorithm(identity: Identity, client: Registered, alg: str) -> None:
    """Every algorithm that discovery names."""
    assert (await identity.token(client, dpop=token_proof(Key(alg)))).status == 200


GOOD: list[tuple[str, Callable[[], str]]] = [
    ("D11 htu with query and fragment", lambda: proof(KEY, "POST", TOKEN_URL + "?a=b#c")),
    ("D15 unknown claims", lambda: token_proof(KEY, extra={"a": 1}, aud="x", exp=1)),
    ("D16 upper-case scheme and host", lambda: proof(KEY, "POST", "HTTPS://ID.EXAMPLE/oauth2/token")),
    ("D17 default port", lambda: proof(KEY, "POST", "https://id.example:443/oauth2/token")),
    ("S3 ten seconds fast", lambda: token_proof(KEY, iat=_now() + 9)),
    ("S3 ten seconds slow", lambda: token_proof(KEY, iat=_now() - 10)),
    ("broken seconds", lambda: token_proof(KEY, iat=_now() - 0.5)),
    ("typ in capitals", lambda: token_proof(KEY, header={"typ": "DPoP+JWT"})),
    ("typ in full", lambda: token_proof(KEY, header={"typ": "application/dpop+jwt"})),
    ("ath without need", lambda: token_proof(KEY, access_token="whatever")),
]


def _now() -> int:
    import time

    return int(time.time())


@pytest.mark.parametrize("make", [make for _, make in GOOD], ids=[name for name, _ in GOOD])
async def test_accepts(identity: Identity, client: Registered, make: Callable[[], str]) -> None:
    """Proofs that must pass."""
    assert (await identity.token(client, dpop=make())).status == 200


BAD: list[tuple[str, Callable[[], str]]] = [
    ("D2 no typ", lambda: token_proof(KEY, header={"typ": None})),
    ("D3 no alg", lambda: token_proof(KEY, header={"alg": None})),
    ("D4 no jwk", lambda: token_proof(KEY, header={"jwk": None})),
    ("D5 no jti", lambda: token_proof(KEY, jti=None)),
    ("D5 empty jti", lambda: token_proof(KEY, jti="")),
    ("D5 jti is a number", lambda: token_proof(KEY, jti=1)),
    ("D6 no htm", lambda: token_proof(KEY, htm=None)),
    ("D7 no htu", lambda: token_proof(KEY, htu=None)),
    ("D8 no iat", lambda: token_proof(KEY, iat=None)),
    ("D8 iat is a text", lambda: token_proof(KEY, iat=str(_now()))),
    ("D8 iat is true", lambda: token_proof(KEY, iat=True)),
    ("D9 typ JWT", lambda: token_proof(KEY, header={"typ": "JWT"})),
    ("D9 typ at+jwt", lambda: token_proof(KEY, header={"typ": "at+jwt"})),
    ("D10 symmetric", lambda: token_proof(KEY, header={"alg": "HS256", "jwk": {"kty": "oct", "k": b64(b"k" * 32)}})),
    ("D10 symmetric alg, public key", lambda: token_proof(KEY, header={"alg": "HS256"})),
    ("D10 none", lambda: jws({"typ": "dpop+jwt", "alg": "none", "jwk": KEY.jwk}, {"jti": "1"}, None) + "AA"),
    ("D10 none, signed", lambda: token_proof(KEY, header={"alg": "none"})),
    ("D12 another's signature", lambda: token_proof(KEY, header={"jwk": Key().jwk})),
    ("D12 cut signature", lambda: token_proof(KEY)[:-4]),
    ("D13 private key", lambda: token_proof(KEY, header={"jwk": KEY.private_jwk})),
    ("D13 jwk is a text", lambda: token_proof(KEY, header={"jwk": "key"})),
    ("D14 htm GET", lambda: proof(KEY, "GET", TOKEN_URL)),
    ("D14 htm in small letters", lambda: proof(KEY, "post", TOKEN_URL)),
    ("D14 htu of another endpoint", lambda: proof(KEY, "POST", ISSUER + "/oauth2/introspect")),
    ("D14 htu of another host", lambda: proof(KEY, "POST", "https://evil.example/oauth2/token")),
    ("D14 htu of another port", lambda: proof(KEY, "POST", "https://id.example:8443/oauth2/token")),
    ("D14 htu without a host", lambda: proof(KEY, "POST", "/oauth2/token")),
    ("D14 htu is a list", lambda: token_proof(KEY, htu=[TOKEN_URL])),
    ("D15 iat an hour ago", lambda: token_proof(KEY, iat=_now() - 3600)),
    ("D15 iat in an hour", lambda: token_proof(KEY, iat=_now() + 3600)),
    ("S3 five minutes slow", lambda: token_proof(KEY, iat=_now() - 300)),
    ("S3 five minutes fast", lambda: token_proof(KEY, iat=_now() + 300)),
    ("D23 long jti", lambda: token_proof(KEY, jti="x" * 257)),
    ("D23 jti of a megabyte", lambda: token_proof(KEY, jti="x" * 1_000_000)),
    ("D24 ES256 with P-384", lambda: token_proof(Key("ES384"), header={"alg": "ES256"})),
    ("D24 ES384 with P-256", lambda: token_proof(KEY, header={"alg": "ES384"})),
    ("RSA of 1024 bits", lambda: token_proof(Key("RS256", rsa_bits=1024))),
    ("critical extension", lambda: token_proof(KEY, header={"crit": ["b64"], "b64": True})),
    ("no token at all", lambda: "proof"),
    ("empty", lambda: ""),
]


@pytest.mark.parametrize("make", [make for _, make in BAD], ids=[name for name, _ in BAD])
async def test_refuses(identity: Identity, client: Registered, make: Callable[[], str]) -> None:
    """Proofs that must fail, and no token comes of them."""
    reply = await identity.token(client, dpop=make())
    assert (reply.status, reply.error) == (400, "invalid_dpop_proof")
    assert "access_token" not in reply.json


async def test_d1_two_proofs(identity: Identity, client: Registered) -> None:
    """Two headers are refused, even two good ones; so is one header with two proofs."""
    for dpop in ([token_proof(KEY), token_proof(KEY)], f"{token_proof(KEY)}, {token_proof(KEY)}"):
        assert (await identity.token(client, dpop=dpop)).error == "invalid_dpop_proof"


async def test_d18_no_proof(identity: Identity) -> None:
    """A client whose tokens are bound gets none without a proof."""
    client = await identity.client(dpop_bound_access_tokens=True)
    assert (await identity.token(client)).error == "invalid_dpop_proof"
    assert (await identity.token(client, dpop=token_proof(KEY))).status == 200


async def test_d16_a_proof_is_used_once(identity: Identity, client: Registered) -> None:
    """The same proof again is refused, also when the form differs."""
    once = token_proof(KEY)
    assert (await identity.token(client, dpop=once)).status == 200
    assert (await identity.token(client, dpop=once)).error == "invalid_dpop_proof"
    assert (await identity.token(client, dpop=once, scope="a")).error == "invalid_dpop_proof"


async def test_d20_same_jti_another_key(identity: Identity, client: Registered) -> None:
    """A ``jti`` is its key's own: another key may use the same."""
    for key in (KEY, Key()):
        assert (await identity.token(client, dpop=token_proof(key, jti="one"))).status == 200


async def test_a_refused_proof_is_not_used_up(identity: Identity, client: Registered) -> None:
    """A proof sent with a wrong secret still works with the right one."""
    dpop = token_proof(KEY)
    wrong = await identity.post(
        "/oauth2/token",
        {"grant_type": "client_credentials"},
        auth=basic(client.client.client_id, "wrong-secret"),
        dpop=dpop,
    )
    assert wrong.error == "invalid_client"
    assert (await identity.token(client, dpop=dpop)).status == 200


async def test_d21_the_url_is_ours_and_not_the_requests(identity: Identity, client: Registered) -> None:
    """What the request says of its host is not believed."""
    assert client.secret is not None
    headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("authorization", basic(client.client.client_id, client.secret)),
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "host=evil.example;proto=https"),
    ]
    evil = [*headers, ("dpop", proof(KEY, "POST", "https://evil.example/oauth2/token"))]
    reply = await identity.ask("POST", "/oauth2/token", b"grant_type=client_credentials", evil)
    assert reply.error == "invalid_dpop_proof"
    good = [*headers, ("dpop", token_proof(KEY))]
    assert (await identity.ask("POST", "/oauth2/token", b"grant_type=client_credentials", good)).status == 200


async def test_nonces_on_demand(identity: Identity) -> None:
    """A client for which a nonce is demanded is given one, and its next proof passes (RFC 9449, section 8)."""
    client = await identity.client(dpop_nonce_required=True)
    refused = await identity.token(client, dpop=token_proof(KEY))
    assert (refused.status, refused.error) == (400, "use_dpop_nonce")
    nonce = refused.headers["dpop-nonce"]
    once = token_proof(KEY, nonce=nonce)
    assert (await identity.token(client, dpop=once)).status == 200
    assert (await identity.token(client, dpop=once)).error == "invalid_dpop_proof"
    assert (await identity.token(client, dpop=token_proof(KEY, nonce=nonce))).status == 200


@pytest.mark.parametrize(
    "nonce", ["A" * 30, "", "nonce", 1, None], ids=["D22 random", "empty", "short", "number", "null"]
)
async def test_d22_a_nonce_must_be_ours(identity: Identity, client: Registered, nonce: Any) -> None:
    """A nonce that is not ours is refused, even where none was demanded."""
    claims = {"nonce": nonce}
    text = jws({"typ": "dpop+jwt", "alg": "ES256", "jwk": KEY.jwk}, _claims(**claims), KEY)
    reply = await identity.token(client, dpop=text)
    assert reply.error in {"use_dpop_nonce", "invalid_dpop_proof"}
    assert reply.status == 400


def _claims(**more: Any) -> dict[str, Any]:
    return {"jti": "j", "htm": "POST", "htu": TOKEN_URL, "iat": _now(), **more}


async def test_a_nonce_helps_a_client_whose_clock_is_wrong(identity: Identity, client: Registered) -> None:
    """With a nonce of ours the proof's own time does not matter."""
    nonce = (await identity.token(client, dpop=token_proof(KEY))).headers["dpop-nonce"]
    for off in (-7200, 7200):
        assert (await identity.token(client, dpop=token_proof(KEY, nonce=nonce, iat=_now() + off))).status == 200


async def test_an_old_proof_is_refused_though_forgotten() -> None:
    """Once a proof is forgotten it is too old to be used."""
    clock = Clock()
    async with running(clock=clock) as identity:
        client = await identity.client()
        dpop = token_proof(KEY, iat=clock.s)
        assert (await identity.token(client, dpop=dpop)).status == 200
        clock.advance(120)
        await identity.authn.feed.poll()
        for _ in range(2):
            assert (await identity.token(client, dpop=dpop)).error == "invalid_dpop_proof"


async def test_keys_registered_for_a_client(identity: Identity) -> None:
    """Where keys are registered, another key's proof is refused, secret or not."""
    client = await identity.client(dpop_jkts=[KEY.jkt])
    assert (await identity.token(client, dpop=token_proof(Key()))).error == "invalid_dpop_proof"
    assert (await identity.token(client, dpop=token_proof(KEY))).status == 200


async def test_a_key_alone_is_a_bots_identity(identity: Identity) -> None:
    """A client with registered keys and no secret: its proof is its credential."""
    bot = await identity.client(token_endpoint_auth_method="none", dpop_jkts=[KEY.jkt])
    assert bot.secret is None
    reply = await identity.token(bot, dpop=token_proof(KEY))
    assert reply.status == 200
    assert claims_of(reply.json["access_token"])["cnf"] == {"jkt": KEY.jkt}
    for dpop in ("", token_proof(Key())):
        refused = await identity.token(bot, dpop=[dpop] if dpop else [])
        assert (refused.status, refused.error) == (401, "invalid_client")
    once = token_proof(KEY)
    assert (await identity.token(bot, dpop=once)).status == 200
    assert (await identity.token(bot, dpop=once)).error == "invalid_dpop_proof"


# At our own API.


async def bound_token(identity: Identity, client: Registered) -> str:
    token: str = (await identity.token(client, dpop=token_proof(KEY))).json["access_token"]
    return token


async def test_our_api_accepts_a_bound_token(identity: Identity, client: Registered) -> None:
    """With a proof that names it."""
    token = await bound_token(identity, client)
    dpop = proof(KEY, "POST", CHECK_URL, access_token=token)
    caller = await identity.authn.verify_dpop(token, [dpop], "POST", CHECK_PATH)
    assert caller.jkt == KEY.jkt
    with pytest.raises(InvalidDpopProof):
        await identity.authn.verify_dpop(token, [dpop], "POST", CHECK_PATH)


async def test_bearer_downgrade(identity: Identity, client: Registered) -> None:
    """A bound token is no bearer token, and an unbound one needs no proof but gets nothing by one."""
    token = await bound_token(identity, client)
    with pytest.raises(InvalidToken):
        identity.authn.verify_bearer(token)
    with pytest.raises(InvalidToken):
        await identity.authn.verify(token)
    plain = (await identity.token(client)).json["access_token"]
    with pytest.raises(InvalidToken):
        await identity.authn.verify_dpop(
            plain, [proof(KEY, "POST", CHECK_URL, access_token=plain)], "POST", CHECK_PATH
        )


@pytest.mark.parametrize(
    ("error", "make"),
    [
        pytest.param(InvalidDpopProof, lambda token: [], id="no proof"),
        pytest.param(InvalidDpopProof, lambda token: [proof(KEY, "POST", CHECK_URL)], id="D9 no ath"),
        pytest.param(
            InvalidDpopProof,
            lambda token: [proof(KEY, "POST", CHECK_URL, access_token=token + "x")],
            id="D17 ath of another token",
        ),
        pytest.param(
            InvalidToken, lambda token: [proof(Key(), "POST", CHECK_URL, access_token=token)], id="D14 another key"
        ),
        pytest.param(
            InvalidDpopProof, lambda token: [proof(KEY, "GET", CHECK_URL, access_token=token)], id="another method"
        ),
        pytest.param(
            InvalidDpopProof,
            lambda token: [proof(KEY, "POST", ISSUER + "/v1/schema/write", access_token=token)],
            id="another path",
        ),
        pytest.param(
            InvalidDpopProof,
            lambda token: [proof(KEY, "POST", CHECK_URL, access_token=token) for _ in range(2)],
            id="D1 two proofs",
        ),
        pytest.param(
            UseDpopNonce,
            lambda token: [proof(KEY, "POST", CHECK_URL, access_token=token, nonce="A" * 30)],
            id="D22 random nonce",
        ),
    ],
)
async def test_our_api_refuses(
    identity: Identity, client: Registered, error: type[Exception], make: Callable[[str], list[str]]
) -> None:
    """What does not prove possession of the token's key for this request."""
    token = await bound_token(identity, client)
    with pytest.raises(error):
        await identity.authn.verify_dpop(token, make(token), "POST", CHECK_PATH)
