"""Secrets at rest: each under a data key of its own, which a key-encryption key wraps (AES-256-GCM both).

What a secret is for (its name, its algorithm) is authenticated along with it, so that a row moved under another name
does not open. Changing the key-encryption key wraps the data keys anew and leaves the secrets as they are.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from authn.errors import BadConfiguration, KeyUnreadable

KEY_BYTES = 32
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as the database holds it. ``kek_id`` tells which key-encryption key wrapped its data key."""

    kek_id: str
    wrapped_key: bytes
    sealed: bytes


def kek_id(key: bytes) -> str:
    """A name for a key-encryption key that does not give it away."""
    return hashlib.sha256(b"tessera key-encryption key\0" + key).hexdigest()[:16]


class Envelope:
    """Seals with the first key-encryption key and opens with all of them.

    Raises:
        BadConfiguration: no key is given, or one is not 32 bytes.
    """

    def __init__(self, keys: Sequence[bytes], random_bytes: Callable[[int], bytes]) -> None:
        if not keys:
            raise BadConfiguration("no key-encryption key is given")
        if any(len(key) != KEY_BYTES for key in keys):
            raise BadConfiguration(f"a key-encryption key has {KEY_BYTES} bytes")
        self._keys = {kek_id(key): AESGCM(key) for key in keys}
        self.newest = kek_id(keys[0])
        self._random = random_bytes

    def seal(self, secret: bytes, purpose: str) -> Sealed:
        """Seal a secret under a fresh data key. ``purpose`` must be given again to open it."""
        data_key = self._random(KEY_BYTES)
        return Sealed(
            self.newest,
            self._encrypt(self._keys[self.newest], data_key, purpose),
            self._encrypt(AESGCM(data_key), secret, purpose),
        )

    def open(self, sealed: Sealed, purpose: str) -> bytes:
        """The secret.

        Raises:
            KeyUnreadable: its key-encryption key is not among ours, or the row was altered or moved.
        """
        try:
            return self._decrypt(AESGCM(self._data_key(sealed, purpose)), sealed.sealed, purpose)
        except (InvalidTag, ValueError) as error:
            raise KeyUnreadable(f"the secret `{purpose}` was altered in the database") from error

    def rewrap(self, sealed: Sealed, purpose: str) -> Sealed:
        """The same secret with its data key wrapped by the first key-encryption key.

        Raises:
            KeyUnreadable: as for `open`.
        """
        data_key = self._data_key(sealed, purpose)
        wrapped = self._encrypt(self._keys[self.newest], data_key, purpose)
        return replace(sealed, kek_id=self.newest, wrapped_key=wrapped)

    def _data_key(self, sealed: Sealed, purpose: str) -> bytes:
        key = self._keys.get(sealed.kek_id)
        if key is None:
            raise KeyUnreadable(f"the secret `{purpose}` needs a key-encryption key that is not given any more")
        try:
            return self._decrypt(key, sealed.wrapped_key, purpose)
        except (InvalidTag, ValueError) as error:
            raise KeyUnreadable(f"the secret `{purpose}` was altered in the database") from error

    def _encrypt(self, key: AESGCM, secret: bytes, purpose: str) -> bytes:
        nonce = self._random(_NONCE_BYTES)
        return nonce + key.encrypt(nonce, secret, purpose.encode())

    @staticmethod
    def _decrypt(key: AESGCM, data: bytes, purpose: str) -> bytes:
        return key.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], purpose.encode())
