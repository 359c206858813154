"""The keys in hand: signers for the active ones, verifiers for every published one, and the key set as bytes.

Private keys are opened once, when the ring is made; nothing parses a key for a token. A ring is a value: a change of
keys makes another ring, which takes the old one's place at once.
"""

import hashlib
from collections.abc import Mapping, Sequence

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from authn.clock import Millis
from authn.envelope import Envelope
from authn.errors import BadConfiguration, KeyUnreadable, TemporarilyUnavailable
from authn.jose import PrivateKey, Signer, SigningKey, VerifyKey
from authn.jwk import public_jwk, thumbprint, verify_key
from authn.keys.states import PUBLISHED, KeyRecord, KeyState

ACCESS_TOKEN_TYPE = "at+jwt"
_RSA_BITS = 2048


def purpose(kid: str, algorithm: str) -> str:
    """What a private key is sealed for."""
    return f"signing key {kid} {algorithm}"


def generate(algorithm: str, envelope: Envelope, now_ms: Millis) -> KeyRecord:
    """A new key, pending. Takes a tenth of a second or more for RSA.

    Raises:
        BadConfiguration: we do not sign with that algorithm.
    """
    private: PrivateKey
    match algorithm:
        case "ES256":
            private = ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            private = ed25519.Ed25519PrivateKey.generate()
        case "RS256":
            private = rsa.generate_private_key(65_537, _RSA_BITS)
        case _:
            raise BadConfiguration(f"tokens are not signed with `{algorithm}` here")
    jwk = public_jwk(private)
    kid = thumbprint(jwk)
    document = {**jwk, "kid": kid, "use": "sig", "alg": algorithm}
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    sealed = envelope.seal(der, purpose(kid, algorithm))
    return KeyRecord(kid, algorithm, KeyState.PENDING, 1, now_ms, now_ms, None, document, sealed)


class KeyRing:
    """What can be signed and verified with the keys as they stand.

    Raises:
        KeyUnreadable: an active key does not open.
    """

    def __init__(self, keys: Sequence[KeyRecord], envelope: Envelope) -> None:
        self.records = tuple(keys)
        self.compromised = frozenset(key.kid for key in keys if key.state is KeyState.COMPROMISED)
        self._signers = {key.algorithm: _signer(key, envelope) for key in keys if key.state is KeyState.ACTIVE}
        published = [key for key in keys if key.state in PUBLISHED]
        self._verifiers = {key.kid: verify_key(key.public_jwk) for key in published}
        self.jwks = orjson.dumps({"keys": [key.public_jwk for key in published]})
        self.jwks_etag = f'"{hashlib.sha256(self.jwks).hexdigest()[:32]}"'

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What can be signed with."""
        return tuple(self._signers)

    def signer(self, algorithm: str) -> Signer:
        """The active key of an algorithm.

        Raises:
            TemporarilyUnavailable: there is none at the moment.
        """
        signer = self._signers.get(algorithm)
        if signer is None:
            raise TemporarilyUnavailable(f"no active key for `{algorithm}`")
        return signer

    def verifier(self, kid: str | None) -> VerifyKey | None:
        """The published key of that id."""
        return self._verifiers.get(kid) if kid is not None else None

    @property
    def verifiers(self) -> Mapping[str, VerifyKey]:
        """Every published key by id."""
        return self._verifiers


def _signer(key: KeyRecord, envelope: Envelope) -> Signer:
    if key.sealed is None:
        raise KeyUnreadable(f"the active key `{key.kid}` has no private part")
    # Sealed by ourselves, so its arithmetic holds: an RSA key's validation costs as much as making one.
    der = envelope.open(key.sealed, purpose(key.kid, key.algorithm))
    private = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(private, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise KeyUnreadable(f"the active key `{key.kid}` is of no kind that signs here")
    return Signer(SigningKey(key.algorithm, key.kid, private), ACCESS_TOKEN_TYPE)
