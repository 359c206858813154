"""Nonces for DPoP proofs (RFC 9449, section 8) that need no memory: the time of making, and a MAC over it.

Every process of an installation makes and accepts the same ones, since they share the secret.
"""

import hashlib
import hmac

from authn.clock import SKEW_MS, Millis
from authn.errors import MalformedJose
from authn.jose import b64url, b64url_decode

LIFETIME_MS = 300_000
_TIME_BYTES, _MAC_BYTES = 6, 16
_CHARS = 30


class Nonces:
    """Makes and recognises nonces.

    Args:
        secret: shared by all processes.
        issuer: whose nonces these are; another issuer's are not accepted, whatever its secret.
    """

    def __init__(self, secret: bytes, issuer: str) -> None:
        self._key = hashlib.blake2b(issuer.encode(), key=secret, person=b"dpop nonce").digest()

    def make(self, now_ms: Millis) -> str:
        """A nonce that is good for five minutes."""
        time = now_ms.to_bytes(_TIME_BYTES, "big")
        return b64url(time + self._mac(time))

    def made_at_ms(self, nonce: str, now_ms: Millis) -> Millis | None:
        """When a nonce was made; ``None`` where it is not one of ours, or too old."""
        if len(nonce) != _CHARS or not nonce.isascii():
            return None
        try:
            data = b64url_decode(nonce.encode())
        except MalformedJose:
            return None
        time, mac = data[:_TIME_BYTES], data[_TIME_BYTES:]
        if not hmac.compare_digest(mac, self._mac(time)):
            return None
        made_at_ms = int.from_bytes(time, "big")
        return made_at_ms if -SKEW_MS <= now_ms - made_at_ms <= LIFETIME_MS else None

    def _mac(self, time: bytes) -> bytes:
        return hashlib.blake2b(time, key=self._key, digest_size=_MAC_BYTES).digest()
