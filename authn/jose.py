"""Compact JWS (RFC 7515), held to more than the library underneath holds it to.

PyJWT signs and verifies; what surrounds a signature is decided here, by the best current practice for JWTs
(RFC 8725): one canonical spelling of base64url, JSON without repeated members, sizes bounded before parsing, the
algorithm taken from the key and never from the token, only key objects (bytes are how a public key becomes an HMAC
secret), no critical extensions, no key and no address from a header followed. A header's ``typ`` is checked by
whoever knows which kind of token it wants.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from jwt.algorithms import get_default_algorithms

from authn.errors import BadSignature, MalformedJose

TOKEN_BYTES_MAX = 8 * 1024
NUMBER_MAX = 2**53
"""Above this a JSON number is not the same integer to everybody (RFC 8259, section 6)."""

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_ALGORITHMS = get_default_algorithms()
_VERIFIERS: Mapping[str, Callable[[bytes, Any, bytes], bool]] = {
    "ES256": _ALGORITHMS["ES256"].verify,
    "ES384": _ALGORITHMS["ES384"].verify,
    "ES512": _ALGORITHMS["ES512"].verify,
    "EdDSA": _ALGORITHMS["EdDSA"].verify,
    "Ed25519": _ALGORITHMS["EdDSA"].verify,
    "RS256": _ALGORITHMS["RS256"].verify,
    "PS256": _ALGORITHMS["PS256"].verify,
}
SIGNING_ALGORITHMS = ("ES256", "EdDSA", "RS256")
"""What we sign with."""
ASYMMETRIC_ALGORITHMS = tuple(_VERIFIERS)
"""What we accept from others, where their key allows it (RFC 9864 gave EdDSA over Curve25519 a second name)."""

_COMPACT = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_ES256 = ec.ECDSA(hashes.SHA256())
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key and the algorithms that it may verify; never more than its own kind allows."""

    algorithms: frozenset[str]
    public: PublicKey
    kid: str | None = None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, its one algorithm and its id."""

    algorithm: str
    kid: str
    private: PrivateKey


@dataclass(frozen=True, slots=True)
class Jws:
    """A token that has the right form. Nothing in it is true until `verify` said so."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signing_input: bytes
    signature: bytes

    @property
    def algorithm(self) -> str:
        """What the header names; compared, never obeyed."""
        return str(self.header["alg"])

    @property
    def kid(self) -> str | None:
        """The id of the key that the header names."""
        kid = self.header.get("kid")
        return kid if isinstance(kid, str) else None


def b64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: bytes) -> bytes:
    """The bytes of the one canonical spelling.

    Raises:
        MalformedJose: another alphabet, padding, an impossible length, or spare bits that are not zero.
    """
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedJose("a part is not base64url") from error
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text:
        raise MalformedJose("a part is not canonical base64url")
    return data


def loads_object(data: bytes) -> dict[str, Any]:
    """A JSON object without repeated member names at any depth (RFC 8725, section 2.4 and RFC 7515, section 4).

    Raises:
        MalformedJose: it is something else, or too deep.
    """
    try:
        fast = orjson.loads(data)
        if isinstance(fast, dict) and orjson.dumps(fast) == data:
            return fast  # our own spelling: had a member been repeated, writing it again would be shorter
        value = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise MalformedJose("a part is not a JSON object with distinct member names") from error
    if not isinstance(value, dict):
        raise MalformedJose("a part is JSON but not an object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member name is repeated")
    return members


def parse(token: str | bytes, bytes_max: int = TOKEN_BYTES_MAX) -> Jws:
    """Take a compact JWS apart.

    Raises:
        MalformedJose: it has another form, is longer than ``bytes_max``, or its header asks for what is not done
            here: a critical extension (``crit``), an unencoded payload (``b64``) or compression (``zip``).
    """
    try:
        data = token.encode("ascii") if isinstance(token, str) else token
    except UnicodeEncodeError as error:
        raise MalformedJose("a token is ASCII") from error
    if len(data) > bytes_max:
        raise MalformedJose(f"longer than {bytes_max} bytes")
    match = _COMPACT.fullmatch(data)
    if match is None:
        raise MalformedJose("not three parts of base64url")
    encoded_header, encoded_claims, encoded_signature = match.groups()
    header = loads_object(b64url_decode(encoded_header))
    if not isinstance(header.get("alg"), str):
        raise MalformedJose("the header has no `alg`")
    if header.keys() & {"crit", "b64", "zip"}:
        raise MalformedJose("the header asks for an extension")
    signing_input = data[: match.end(2)]
    return Jws(header, loads_object(b64url_decode(encoded_claims)), signing_input, b64url_decode(encoded_signature))


def verify(jws: Jws, key: VerifyKey, *, low_s: bool = False) -> None:
    """Hold a token against a key.

    Args:
        low_s: also refuse the second spelling that every ECDSA signature has; for tokens of our own, which never
            have it.

    Raises:
        BadSignature: the key did not sign this, or may not be used with the algorithm that the header names.
    """
    if jws.algorithm not in key.algorithms:
        raise BadSignature("the header's `alg` is not one of the key's")
    if not _VERIFIERS[jws.algorithm](jws.signing_input, key.public, jws.signature):
        raise BadSignature("the signature is not the key's")
    if low_s and jws.algorithm == "ES256" and int.from_bytes(jws.signature[32:], "big") > _P256_ORDER // 2:
        raise BadSignature("the signature is not in its canonical form")


class Signer:
    """Signs claims with one key. Everything that does not change between two tokens is done once."""

    def __init__(self, key: SigningKey, typ: str) -> None:
        header = orjson.dumps({"alg": key.algorithm, "kid": key.kid, "typ": typ})
        self.key = key
        self._prefix = base64.urlsafe_b64encode(header).rstrip(b"=") + b"."
        self._sign: Callable[[bytes, Any], bytes] = (
            _sign_es256 if key.algorithm == "ES256" else _ALGORITHMS[key.algorithm].sign
        )

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The compact JWS of these claims."""
        signing_input = self._prefix + base64.urlsafe_b64encode(orjson.dumps(claims)).rstrip(b"=")
        signature = self._sign(signing_input, self.key.private)
        return (signing_input + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode("ascii")


def _sign_es256(data: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """With the smaller of the two values of ``s`` that verify, so that a token of ours has one spelling."""
    r, s = decode_dss_signature(key.sign(data, _ES256))
    return r.to_bytes(32, "big") + min(s, _P256_ORDER - s).to_bytes(32, "big")


def has_type(jws: Jws, *types: str) -> bool:
    """Whether ``typ`` is one of these media types, compared as RFC 7515 section 4.1.9 says."""
    typ = jws.header.get("typ")
    return isinstance(typ, str) and typ.lower().removeprefix("application/") in types


def numeric_date(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate claim (RFC 7519, section 2); ``None`` where there is none.

    Raises:
        MalformedJose: it is there and is no number, negative, or beyond what every reader understands.
    """
    if name not in claims:
        return None
    value = claims[name]
    if type(value) not in {int, float} or not 0 <= value <= NUMBER_MAX:
        raise MalformedJose(f"`{name}` is no date")
    return float(value)


def text_claim(claims: Mapping[str, Any], name: str) -> str:
    """A claim that must be there as a text that is not empty.

    Raises:
        MalformedJose: it is not.
    """
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedJose(f"`{name}` is missing or no text")
    return value
