"""Zookies: a revision as an opaque token (Zanzibar, section 2.2), bound to its store and timeline.

Authenticated, so that a client can neither make one up nor carry one from store to store; not secret. Every answer
carries one, so what does not change between them is hashed once.
"""

import base64
import binascii
import hmac
from functools import lru_cache
from hashlib import blake2b

from pdp.errors import InvalidZookie
from pdp.relationships import Revision
from pdp.stores.protocol import RelationshipStore

_VERSION = 1
_STORE_BYTES = 4
_TIMELINE_BYTES = 4
_REVISION_BYTES = 8
_TAG_BYTES = 10
_LENGTH = 1 + _STORE_BYTES + _TIMELINE_BYTES + _REVISION_BYTES + _TAG_BYTES
_STORES_KEPT = 1_024


def _mark(text: str, size: int) -> bytes:
    return blake2b(text.encode(), digest_size=size, person=b"zookie-mark").digest()


@lru_cache(_STORES_KEPT)
def _head(name: str, timeline: str) -> bytes:
    """What all zookies of a store's timeline begin with."""
    return bytes([_VERSION]) + _mark(name, _STORE_BYTES) + _mark(timeline, _TIMELINE_BYTES)


@lru_cache(_STORES_KEPT)
def _keyed(key: bytes) -> "blake2b":
    return blake2b(key=key, digest_size=_TAG_BYTES, person=b"zookie")


def _tag(store: RelationshipStore, body: bytes) -> bytes:
    state = _keyed(store.zookie_key).copy()
    state.update(body)
    return state.digest()


def encode(store: RelationshipStore, revision: Revision) -> str:
    """The token of a revision of this store."""
    body = _head(store.name, store.timeline) + revision.to_bytes(_REVISION_BYTES, "big")
    return base64.urlsafe_b64encode(body + _tag(store, body)).rstrip(b"=").decode()


def decode(store: RelationshipStore, token: str) -> Revision:
    """The revision that a token names.

    Raises:
        InvalidZookie: it cannot be read, was forged, or is of another store or timeline.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidZookie("invalid revision requested: the zookie cannot be read") from error
    if len(raw) != _LENGTH or raw[0] != _VERSION:
        raise InvalidZookie("invalid revision requested: the zookie cannot be read")
    body, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
    head = _head(store.name, store.timeline)
    if body[: 1 + _STORE_BYTES] != head[: 1 + _STORE_BYTES]:
        raise InvalidZookie("invalid revision requested: the zookie is of another store")
    if body[: len(head)] != head:
        raise InvalidZookie("invalid revision requested: the zookie is of before the store was restored or made anew")
    if not hmac.compare_digest(tag, _tag(store, body)):
        raise InvalidZookie("invalid revision requested: the zookie was not made by this store")
    return Revision(int.from_bytes(body[len(head) :], "big"))
