"""Making tokens, proofs and assertions by hand, good ones and bad ones, without the code that is tested."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_CURVES: dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm, int, str]] = {
    "ES256": (ec.SECP256R1(), hashes.SHA256(), 32, "P-256"),
    "ES384": (ec.SECP384R1(), hashes.SHA384(), 48, "P-384"),
    "ES512": (ec.SECP521R1(), hashes.SHA512(), 66, "P-521"),
}


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """The bytes again."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def part(value: object) -> str:
    """A JSON value as a part of a token; text and bytes are taken as they are."""
    if isinstance(value, str):
        value = value.encode()
    return b64(value if isinstance(value, bytes) else json.dumps(value).encode())


class Key:
    """A key pair of a client, an attacker or somebody else."""

    def __init__(self, alg: str = "ES256", *, rsa_bits: int = 2048) -> None:
        self.alg = alg
        self.private: Any
        if alg in _CURVES:
            self.private = ec.generate_private_key(_CURVES[alg][0])
        elif alg in {"EdDSA", "Ed25519"}:
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = rsa.generate_private_key(65_537, rsa_bits)

    @property
    def jwk(self) -> dict[str, str]:
        """The public key."""
        if self.alg in _CURVES:
            _, _, size, crv = _CURVES[self.alg]
            numbers = self.private.public_key().public_numbers()
            x, y = (b64(value.to_bytes(size, "big")) for value in (numbers.x, numbers.y))
            return {"kty": "EC", "crv": crv, "x": x, "y": y}
        if self.alg in {"EdDSA", "Ed25519"}:
            return {"kty": "OKP", "crv": "Ed25519", "x": b64(self.private.public_key().public_bytes_raw())}
        public = self.private.public_key().public_numbers()
        return {"kty": "RSA", "e": "AQAB", "n": b64(public.n.to_bytes((public.n.bit_length() + 7) // 8, "big"))}

    @property
    def private_jwk(self) -> dict[str, str]:
        """The pair; only for curves."""
        value = self.private.private_numbers().private_value
        return {**self.jwk, "d": b64(value.to_bytes(_CURVES[self.alg][2], "big"))}

    @property
    def jkt(self) -> str:
        """The thumbprint (RFC 7638)."""
        members = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
        canonical = {name: self.jwk[name] for name in members[self.jwk["kty"]]}
        return b64(hashlib.sha256(json.dumps(canonical, separators=(",", ":")).encode()).digest())

    def sign(self, data: bytes) -> bytes:
        """A JWS signature."""
        if self.alg in _CURVES:
            _, digest, size, _ = _CURVES[self.alg]
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if self.alg in {"EdDSA", "Ed25519"}:
            signature: bytes = self.private.sign(data)
            return signature
        if self.alg == "PS256":
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
            return bytes(self.private.sign(data, pss, hashes.SHA256()))
        return bytes(self.private.sign(data, padding.PKCS1v15(), hashes.SHA256()))


def jws(header: object, claims: object, key: Key | None) -> str:
    """A compact JWS; without a key its signature is empty."""
    signing_input = f"{part(header)}.{part(claims)}"
    return f"{signing_input}.{b64(key.sign(signing_input.encode())) if key else ''}"


def malleated(token: str) -> str:
    """The same token with the other ``s`` that verifies (J9)."""
    signing_input, _, signature = token.rpartition(".")
    raw = unb64(signature)
    other = P256_ORDER - int.from_bytes(raw[32:], "big")
    return f"{signing_input}.{b64(raw[:32] + other.to_bytes(32, 'big'))}"


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    claims: dict[str, Any] = json.loads(unb64(token.split(".")[1]))
    return claims


def header_of(token: str) -> dict[str, Any]:
    """A token's header."""
    header: dict[str, Any] = json.loads(unb64(token.split(".", maxsplit=1)[0]))
    return header


def without(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are not ``None``."""
    return {name: value for name, value in members.items() if value is not None}


def proof(key: Key, method: str, url: str, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
    """A DPoP proof; a claim or header given as ``None`` is left out."""
    token = claims.pop("access_token", None)
    said = {
        "jti": secrets.token_urlsafe(16),
        "htm": method,
        "htu": url,
        "iat": int(time.time()),
        "ath": b64(hashlib.sha256(token.encode()).digest()) if token else None,
        **claims,
    }
    top = {"typ": "dpop+jwt", "alg": key.alg, "jwk": key.jwk, **(header or {})}
    return jws(without(top), without(said), key)


def assertion(
    key: Key, client_id: str, audience: Any, *, header: Mapping[str, Any] | None = None, **claims: Any
) -> str:
    """A client assertion; a claim or header given as ``None`` is left out."""
    now = int(time.time())
    said = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": secrets.token_urlsafe(16),
        "iat": now,
        "exp": now + 60,
        **claims,
    }
    return jws(without({"alg": key.alg, **(header or {})}), without(said), key)


def to_der(raw: bytes) -> bytes:
    """A raw ECDSA signature as DER."""
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
