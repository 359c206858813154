"""Compact JWS: what is accepted, and every way of getting past a signature that must fail (J1 to J12)."""

import hmac
import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from authn.errors import BadSignature, MalformedJose
from authn.jose import Signer, SigningKey, has_type, loads_object, numeric_date, parse, verify
from authn.jwk import public_jwk, thumbprint, verify_key
from tests.authn.forge import P256_ORDER, Key, b64, jws, malleated, part, unb64

KEY = Key()
VERIFY = verify_key(KEY.jwk)
CLAIMS = {"sub": "ann", "n": 1}


def accepted(token: str | bytes, key: Key = KEY, *, low_s: bool = False) -> Any:
    """The claims of a token that stands up, or the error."""
    found = parse(token)
    verify(found, verify_key(key.jwk), low_s=low_s)
    return found.claims


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "PS256"])
def test_accepts_each_algorithm(alg: str) -> None:
    """Each algorithm that is offered verifies with its own kind of key."""
    key = Key(alg)
    assert accepted(jws({"alg": alg}, CLAIMS, key), key) == CLAIMS


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 renames it; what is out there says EdDSA
@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256"])
def test_others_verify_what_we_sign(alg: str) -> None:
    """joserfc accepts our tokens."""
    key = Key(alg)
    token = Signer(SigningKey(alg, "k1", key.private), "at+jwt").sign(CLAIMS)
    found = joserfc_jwt.decode(token, import_key({**key.jwk}), algorithms=[alg])
    assert found.claims == CLAIMS
    assert found.header == {"alg": alg, "kid": "k1", "typ": "at+jwt"}
    assert public_jwk(key.private) == {name: key.jwk[name] for name in sorted(key.jwk)}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 renames it; what is out there says EdDSA
@pytest.mark.parametrize("alg", ["ES256", "ES384", "EdDSA", "RS256", "PS256"])
def test_we_verify_what_others_sign(alg: str) -> None:
    """We accept joserfc's tokens."""
    key = Key(alg)
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    kinds: dict[str, type[ECKey | OKPKey | RSAKey]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
    private = kinds[key.jwk["kty"]].import_key(pem)
    token = joserfc_jwt.encode({"alg": alg}, CLAIMS, private, algorithms=[alg])
    assert accepted(token, key) == CLAIMS


def test_rfc_7515_example() -> None:
    """The example of RFC 7515, appendix A.3."""
    key = verify_key(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }
    )
    token = (
        "eyJhbGciOiJFUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    found = parse(token)
    verify(found, key)
    assert found.claims == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}


@pytest.mark.parametrize(
    ("jwk", "expected"),
    [
        pytest.param(
            {
                "kty": "RSA",
                "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJE"
                "CPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Q"
                "vzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6"
                "WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
                "e": "AQAB",
                "alg": "RS256",
                "kid": "2011-04-29",
            },
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            id="RFC 7638, section 3.1",
        ),
        pytest.param(
            {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            id="RFC 8037, appendix A.3",
        ),
    ],
)
def test_thumbprints(jwk: dict[str, str], expected: str) -> None:
    """Published thumbprints."""
    verify_key(jwk)
    assert thumbprint(jwk) == expected


def _hmac(header: dict[str, Any], secret: bytes) -> str:
    signing_input = f"{part(header)}.{part(CLAIMS)}"
    return f"{signing_input}.{b64(hmac.new(secret, signing_input.encode(), sha256).digest())}"


def _public(key: Key) -> list[bytes]:
    """Every form of a public key that a careless verifier might take for a secret."""
    public = key.private.public_key()
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(key.jwk).encode(),
    ]
    if key.jwk["kty"] == "EC":
        forms.append(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    return forms


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"alg": alg}, id=f"J1 {alg or 'empty'}")
        for alg in (
            "none",
            "nOnE",
            "NONE",
            "",
            "HS256",
            "ES256 ",
            "es256",
            "ES256K",
            "RS256",
            "ES384",
            "EdDSA",
            "PS512",
        )
    ],
)
def test_refuses_algorithms_that_are_not_the_keys(header: dict[str, str]) -> None:
    """The algorithm is the key's; what the header says instead is refused, with a signature or without."""
    for token in (jws(header, CLAIMS, KEY), jws(header, CLAIMS, None) + "AA"):
        with pytest.raises(BadSignature):
            accepted(token)


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("key", [KEY, Key("RS256")], ids=["J2 EC", "J2 RSA"])
def test_refuses_a_public_key_as_a_secret(alg: str, key: Key) -> None:
    """A MAC under any spelling of the public key is not a signature."""
    for secret in _public(key):
        with pytest.raises(BadSignature):
            accepted(_hmac({"alg": alg}, secret), key)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"jwk": Key().jwk}, id="J4 jwk"),
        pytest.param({"jku": "https://evil.example/jwks"}, id="J4 jku"),
        pytest.param({"x5u": "https://evil.example/chain"}, id="J4 x5u"),
        pytest.param({"x5c": ["AAAA"]}, id="J4 x5c"),
    ],
)
def test_ignores_keys_in_headers(header: dict[str, Any]) -> None:
    """A key or an address in the header changes nothing: neither who signed, nor what is accepted."""
    attacker = Key()
    with pytest.raises(BadSignature):
        accepted(jws({"alg": "ES256", **header}, CLAIMS, attacker))
    assert accepted(jws({"alg": "ES256", **header}, CLAIMS, KEY)) == CLAIMS


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"crit": ["exp"], "exp": 1}, id="J5 crit"),
        pytest.param({"crit": []}, id="J5 crit empty"),
        pytest.param({"b64": False, "crit": ["b64"]}, id="J5 b64"),
        pytest.param({"zip": "DEF"}, id="J11 zip"),
    ],
)
def test_refuses_extensions(extra: dict[str, Any]) -> None:
    """A header that asks for what is not done here is refused."""
    with pytest.raises(MalformedJose):
        accepted(jws({"alg": "ES256", **extra}, CLAIMS, KEY))


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(b"\0" * 64, id="J8 r=s=0"),
        pytest.param(P256_ORDER.to_bytes(32, "big") * 2, id="J8 r=s=n"),
        pytest.param(b"\0" * 32 + b"\x01" * 32, id="J8 r=0"),
        pytest.param(b"\x01" * 63, id="J7 short"),
        pytest.param(b"\x01" * 65, id="J7 long"),
        pytest.param(b"\x01", id="J7 one byte"),
    ],
)
def test_refuses_signatures_that_are_none(signature: bytes) -> None:
    """Numbers outside the group, and other lengths."""
    signing_input = f"{part({'alg': 'ES256'})}.{part(CLAIMS)}"
    with pytest.raises(BadSignature):
        accepted(f"{signing_input}.{b64(signature)}")


def test_j7_refuses_a_key_of_another_curve() -> None:
    """An ES256 header with a P-384 key, whoever signed."""
    key = Key("ES384")
    with pytest.raises(BadSignature):
        accepted(jws({"alg": "ES256"}, CLAIMS, key), key)


def test_j9_malleated_signatures() -> None:
    """The other ``s`` verifies for other people's tokens, and is refused for our own, which never have it."""
    signer = Signer(SigningKey("ES256", "k", KEY.private), "at+jwt")
    for _ in range(50):
        token = signer.sign(CLAIMS)
        assert accepted(token, low_s=True) == CLAIMS
        with pytest.raises(BadSignature):
            accepted(malleated(token), low_s=True)
        assert accepted(malleated(token)) == CLAIMS


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param('{"sub":"ann","sub":"root"}', id="J10 repeated claim"),
        pytest.param('{"sub":"ann","\\u0073ub":"root"}', id="J10 repeated by escape"),
        pytest.param('{"cnf":{"jkt":"a","jkt":"b"}}', id="J10 repeated deeper"),
        pytest.param('[{"sub":"ann"}]', id="array"),
        pytest.param('"ann"', id="text"),
        pytest.param("", id="nothing"),
        pytest.param('{"exp":NaN}', id="NaN"),
        pytest.param('{"exp":Infinity}', id="Infinity"),
        pytest.param('{"sub":"\\ud800"}', id="lone surrogate"),
        pytest.param('{"sub":"ann"}{}', id="two values"),
        pytest.param(b'{"sub":"\xff"}', id="not UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"sub":"ann"}', id="byte order mark"),
        pytest.param('{"a":' * 1500 + "1" + "}" * 1500, id="J11 deep"),
    ],
)
def test_refuses_other_json(claims: str | bytes) -> None:
    """Whatever two readers might read differently is refused, signed or not."""
    with pytest.raises(MalformedJose):
        accepted(jws({"alg": "ES256"}, claims, KEY))


def test_j10_refuses_repeated_headers() -> None:
    """Also in the header."""
    with pytest.raises(MalformedJose):
        accepted(jws('{"alg":"ES256","alg":"none"}', CLAIMS, KEY))


def test_j11_refuses_what_is_large_before_parsing() -> None:
    """More than 8 KiB is not looked at, wherever it is."""
    for token in (
        jws({"alg": "ES256"}, {"x": "y" * 8192}, KEY),
        jws({"alg": "ES256", "kid": "x" * 8192}, CLAIMS, KEY),
        "A" * 1_000_000,
        jws({"alg": "ES256"}, "[" * 100_000, KEY),
    ):
        with pytest.raises(MalformedJose, match="longer than"):
            parse(token)


GOOD = jws({"alg": "ES256"}, CLAIMS, KEY)


def _last_character(token: str) -> str:
    """Another spelling of the same signature: spare bits that are not zero."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(GOOD + "==", id="J12 padding"),
        pytest.param(GOOD + "=", id="J12 half padding"),
        pytest.param(_last_character(GOOD), id="J12 spare bits"),
        pytest.param(GOOD + "\n", id="J12 newline"),
        pytest.param(" " + GOOD, id="J12 space"),
        pytest.param(GOOD.replace(".", ".\0", 1), id="J12 NUL"),
        pytest.param(GOOD.replace(".", ". ", 1), id="J12 inner space"),
        pytest.param(GOOD[:-2] + "+/", id="J12 other alphabet"),
        pytest.param(GOOD + ".", id="four parts"),
        pytest.param("." + GOOD, id="empty part first"),
        pytest.param(".".join(GOOD.split(".")[:2]), id="two parts"),
        pytest.param(".".join(GOOD.split(".")[:2]) + ".", id="no signature"),
        pytest.param(GOOD + ".a.b", id="JWE"),
        pytest.param("", id="empty"),
        pytest.param("é" + GOOD, id="not ASCII"),
        pytest.param(json.dumps({"protected": "", "payload": "", "signature": ""}), id="JSON serialisation"),
        pytest.param(jws({"typ": "JWT"}, CLAIMS, KEY), id="no alg"),
        pytest.param(jws({"alg": 1}, CLAIMS, KEY), id="alg is a number"),
        pytest.param(jws({"alg": ["ES256"]}, CLAIMS, KEY), id="alg is a list"),
    ],
)
def test_refuses_other_spellings(token: str) -> None:
    """A token has one spelling."""
    with pytest.raises(MalformedJose):
        accepted(token)


@pytest.mark.parametrize(
    "jwk",
    [
        pytest.param(Key().private_jwk, id="private EC"),
        pytest.param({**Key("RS256").jwk, "d": "AQAB"}, id="private RSA"),
        pytest.param({"kty": "oct", "k": b64(b"secret")}, id="symmetric"),
        pytest.param(Key("RS256", rsa_bits=1024).jwk, id="RSA of 1024 bits"),
        pytest.param({**Key("RS256").jwk, "e": "Aw"}, id="RSA with e=3"),
        pytest.param({**KEY.jwk, "y": KEY.jwk["x"]}, id="J7 not on the curve"),
        pytest.param({**KEY.jwk, "x": b64(b"\0" + unb64(KEY.jwk["x"]))}, id="J7 coordinate too long"),
        pytest.param({**KEY.jwk, "crv": "secp256k1"}, id="J7 other curve"),
        pytest.param({**KEY.jwk, "crv": "P-384"}, id="J7 wrong curve"),
        pytest.param({**KEY.jwk, "x": KEY.jwk["x"] + "="}, id="padded coordinate"),
        pytest.param({**KEY.jwk, "x": 1}, id="coordinate is a number"),
        pytest.param({"kty": "EC", "crv": "P-256", "x": KEY.jwk["x"]}, id="no y"),
        pytest.param({"kty": "OKP", "crv": "X25519", "x": KEY.jwk["x"]}, id="key agreement"),
        pytest.param({"kty": "OKP", "crv": "Ed25519", "x": "AA"}, id="short Ed25519"),
        pytest.param({**KEY.jwk, "use": "enc"}, id="for encryption"),
        pytest.param({**KEY.jwk, "key_ops": ["encrypt"]}, id="not for verifying"),
        pytest.param({**KEY.jwk, "alg": "RS256"}, id="alg of another type"),
        pytest.param({**KEY.jwk, "alg": None}, id="alg is null"),
        pytest.param({**KEY.jwk, "kid": "x" * 257}, id="long kid"),
        pytest.param({**KEY.jwk, "kid": 1}, id="kid is a number"),
        pytest.param({"kty": "DSA"}, id="other type"),
        pytest.param({}, id="empty"),
    ],
)
def test_refuses_keys(jwk: dict[str, Any]) -> None:
    """Keys that must not be trusted are refused where they are read."""
    with pytest.raises(MalformedJose):
        verify_key(jwk)


def test_a_key_may_narrow_its_algorithms() -> None:
    """``alg`` in a key allows that one only."""
    key = Key("RS256")
    only = verify_key({**key.jwk, "alg": "PS256"})
    with pytest.raises(BadSignature):
        verify(parse(jws({"alg": "RS256"}, CLAIMS, key)), only)


@pytest.mark.parametrize(
    ("typ", "expected"),
    [
        ("at+jwt", True),
        ("AT+JWT", True),
        ("application/at+jwt", True),
        ("JWT", False),
        ("dpop+jwt", False),
        ("logout+jwt", False),
        ("xat+jwt", False),
        ("", False),
        (None, False),
        (1, False),
    ],
)
def test_j6_types(typ: object, expected: bool) -> None:
    """Media types are compared as RFC 7515, section 4.1.9 says."""
    assert has_type(parse(jws({"alg": "ES256", "typ": typ}, CLAIMS, KEY)), "at+jwt") is expected


@pytest.mark.parametrize(
    "value", ["1", True, False, None, [], {}, -1, -0.5, 2**53 + 1, 1e300, "NaN"], ids=[repr(v) for v in range(11)]
)
def test_refuses_dates_that_are_none(value: object) -> None:
    """A date is a number, and one that everybody reads alike."""
    with pytest.raises(MalformedJose):
        numeric_date({"exp": value}, "exp")


@pytest.mark.parametrize(("value", "expected"), [(0, 0.0), (1.5, 1.5), (2**53, float(2**53))])
def test_dates(value: float, expected: float) -> None:
    """Whole and broken seconds."""
    assert numeric_date({"exp": value}, "exp") == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
@settings(max_examples=100, deadline=None)
def test_any_object_survives(value: Any) -> None:
    """An object in any spelling of JSON is read as json reads it."""
    document = {"value": value}
    try:
        text = json.dumps(document).encode()
        text.decode().encode()
        expected = json.loads(text)
        found = loads_object(text)
    except MalformedJose:
        assert "\\ud" in json.dumps(document)  # a lone surrogate is no text
    else:
        assert found == expected


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_rubbish_is_refused_and_nothing_worse(data: bytes) -> None:
    """Whatever comes, the answer is a refusal."""
    with pytest.raises(MalformedJose):
        accepted(data)
