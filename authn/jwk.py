"""JSON Web Keys (RFC 7517): public keys of others made into key objects, our own written out, and thumbprints.

A key of another party is refused when it carries private members, is weaker than its algorithm deserves, or does
not lie on its curve.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authn.errors import MalformedJose
from authn.jose import PrivateKey, PublicKey, VerifyKey, b64url, b64url_decode

RSA_BITS_MIN, RSA_BITS_MAX = 2048, 4096
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CURVES: Mapping[str, tuple[type[ec.EllipticCurve], str, int]] = {
    "P-256": (ec.SECP256R1, "ES256", 32),
    "P-384": (ec.SECP384R1, "ES384", 48),
    "P-521": (ec.SECP521R1, "ES512", 66),
}
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
KID_CHARS_MAX = 256


def verify_key(jwk: Mapping[str, Any]) -> VerifyKey:
    """A public key for signatures, with the algorithms that it may be used with.

    Raises:
        MalformedJose: it is no public signature key that we accept.
    """
    if jwk.keys() & _PRIVATE_MEMBERS:
        raise MalformedJose("the key has private members")
    if jwk.get("use", "sig") != "sig":
        raise MalformedJose("the key's `use` is not `sig`")
    key_ops = jwk.get("key_ops", ["verify"])
    if not isinstance(key_ops, list) or "verify" not in key_ops:
        raise MalformedJose("the key's `key_ops` do not have `verify`")
    kid = jwk.get("kid")
    if kid is not None and (not isinstance(kid, str) or len(kid) > KID_CHARS_MAX):
        raise MalformedJose("the key's `kid` is no short text")
    try:
        public, algorithms = _public(jwk)
    except ValueError as error:
        raise MalformedJose("the key is not valid for its type") from error
    if "alg" in jwk:
        algorithms &= {jwk["alg"]} if isinstance(jwk["alg"], str) else set()
        if not algorithms:
            raise MalformedJose("the key's `alg` is not one for its type")
    return VerifyKey(algorithms, public, kid)


def _public(jwk: Mapping[str, Any]) -> tuple[PublicKey, frozenset[str]]:
    match jwk.get("kty"):
        case "EC":
            curve, algorithm, size = _CURVES.get(_text(jwk, "crv"), (None, "", 0))
            if curve is None:
                raise MalformedJose("the key's curve is not supported")
            x, y = _octets(jwk, "x"), _octets(jwk, "y")
            if len(x) != size or len(y) != size:
                raise MalformedJose("the key's coordinates do not have their curve's length")
            public = ec.EllipticCurvePublicKey.from_encoded_point(curve(), b"\x04" + x + y)
            return public, frozenset({algorithm})
        case "OKP":
            if _text(jwk, "crv") != "Ed25519":
                raise MalformedJose("the key's curve is not supported")
            return ed25519.Ed25519PublicKey.from_public_bytes(_octets(jwk, "x")), frozenset({"EdDSA", "Ed25519"})
        case "RSA":
            modulus, exponent = (int.from_bytes(_octets(jwk, name), "big") for name in ("n", "e"))
            if not RSA_BITS_MIN <= modulus.bit_length() <= RSA_BITS_MAX:
                raise MalformedJose(f"an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits")
            if not 65_537 <= exponent < 2**32:
                raise MalformedJose("the RSA key's exponent is not usual")
            return rsa.RSAPublicNumbers(exponent, modulus).public_key(), frozenset({"RS256", "PS256"})
        case _:
            raise MalformedJose("the key's `kty` is not supported")


def _text(jwk: Mapping[str, Any], name: str) -> str:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise MalformedJose(f"the key has no `{name}`")
    return value


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    text = _text(jwk, name)
    if not text.isascii():
        raise MalformedJose(f"the key's `{name}` is not base64url")
    return b64url_decode(text.encode())


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The SHA-256 thumbprint (RFC 7638) of a key that `verify_key` accepted."""
    members = {name: jwk[name] for name in _REQUIRED[jwk["kty"]]}
    return b64url(hashlib.sha256(orjson.dumps(members)).digest())


def public_jwk(private: PrivateKey) -> dict[str, str]:
    """The public half as the members of RFC 7518, section 6, without id and use."""
    if isinstance(private, ec.EllipticCurvePrivateKey):
        numbers = private.public_key().public_numbers()
        crv, size = next((name, size) for name, (curve, _, size) in _CURVES.items() if type(private.curve) is curve)
        return {
            "crv": crv,
            "kty": "EC",
            "x": b64url(numbers.x.to_bytes(size, "big")),
            "y": b64url(numbers.y.to_bytes(size, "big")),
        }
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return {"crv": "Ed25519", "kty": "OKP", "x": b64url(private.public_key().public_bytes_raw())}
    rsa_numbers = private.public_key().public_numbers()
    return {
        "e": b64url(rsa_numbers.e.to_bytes(3, "big")),
        "kty": "RSA",
        "n": b64url(rsa_numbers.n.to_bytes(private.key_size // 8, "big")),
    }
