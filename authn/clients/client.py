"""A client as the token endpoints see it."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from authn.clock import Millis
from authn.jose import VerifyKey


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """The digest of a secret, and until when it is good (``None``: for ever)."""

    digest: bytes
    expires_at_ms: Millis | None = None
    created_at_ms: Millis = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What a client may do and how it proves who it is. Made from its metadata by `authn.clients.metadata`.

    Args:
        auth_methods: the ways it may authenticate in; ``none`` with ``dpop_jkts`` means by a registered key.
        audiences: the resources that this client serves: it may look into tokens made for them.
        resources: the resources that it may have tokens for, besides our own API.
        keys: its public keys; empty where they are fetched from ``jwks_uri``.
        dpop_jkts: thumbprints of the keys that may prove possession for it; empty: any key may.
        metadata: what was registered, as RFC 7591 spells it, without secrets.
    """

    client_id: str
    auth_methods: frozenset[str]
    grant_types: frozenset[str]
    scopes: tuple[str, ...]
    resources: frozenset[str] = frozenset()
    audiences: frozenset[str] = frozenset()
    redirect_uris: tuple[str, ...] = ()
    keys: tuple[VerifyKey, ...] = ()
    jwks_uri: str | None = None
    assertion_algorithms: frozenset[str] = frozenset()
    assertion_audiences: frozenset[str] = frozenset()
    assertion_lifetime_max_s: int = 300
    dpop_bound: bool = False
    dpop_nonce_required: bool = False
    dpop_jkts: frozenset[str] = frozenset()
    opaque_tokens: bool = False
    token_algorithm: str = "ES256"
    token_lifetime_s: int | None = None
    refresh_lifetime_s: int | None = None
    refresh_rotation: str = "always"
    details_types: frozenset[str] = frozenset()
    disabled: bool = False
    secrets: tuple[ClientSecret, ...] = ()
    created_at_ms: Millis = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """Who a token is about that the client gets for itself: never the id of an account."""
        return client_subject(self.client_id)

    @property
    def is_public(self) -> bool:
        """Whether it has no credential of its own."""
        return self.auth_methods == {"none"} and not self.dpop_jkts

    @property
    def is_key_bound(self) -> bool:
        """Whether a registered key is its credential."""
        return self.auth_methods == {"none"} and bool(self.dpop_jkts)

    def has_secret(self, secret: str, now_ms: Millis) -> bool:
        """Whether this is one of its living secrets. Takes the same time whichever it is, or none."""
        digest = secret_digest(secret)
        found = False
        for known in self.secrets:
            alive = known.expires_at_ms is None or now_ms < known.expires_at_ms
            found |= hmac.compare_digest(digest, known.digest) and alive
        return found


def client_subject(client_id: str) -> str:
    """The ``sub`` of a client."""
    return f"client:{client_id}"


def secret_digest(secret: str) -> bytes:
    """What is kept of a client secret. Secrets are random, so a plain digest cannot be searched."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
