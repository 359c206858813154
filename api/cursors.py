"""Cursors: where a page ended, bound to the store, the snapshot, the instant and the question.

A cursor is the state itself, authenticated, so that no process has to remember it.
"""

import base64
import binascii
import hmac
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from api.convert import invalid
from pdp.relationships import Instant, Relationship, Revision
from pdp.stores.protocol import RelationshipStore

_TAG_BYTES = 12
_VERSION = 1


class Cursor(NamedTuple):
    """Resume after a relationship, at a revision and an instant."""

    revision: Revision
    instant: Instant
    after: Relationship


def _tag(store: RelationshipStore, state: bytes, bound_to: bytes) -> bytes:
    digest = blake2b(key=store.zookie_key, digest_size=_TAG_BYTES, person=b"cursor")
    for part in (store.timeline.encode(), bound_to, state):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def write_cursor(
    store: RelationshipStore, revision: Revision, instant: Instant, after: Relationship, bound_to: bytes
) -> str:
    """A token; ``bound_to`` is what the next request must repeat."""
    state = msgspec.msgpack.encode((_VERSION, revision, instant, after.identity))
    return base64.urlsafe_b64encode(_tag(store, state, bound_to) + state).decode().rstrip("=")


def read_cursor(store: RelationshipStore, token: str, bound_to: bytes) -> Cursor:
    """What the token holds.

    Raises:
        ApiError: INVALID_CURSOR, where it cannot be read or belongs to another question or store.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("the cursor cannot be read", "INVALID_CURSOR") from error
    tag, state = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(store, state, bound_to)):
        raise invalid("the cursor was made for another request or store", "INVALID_CURSOR")
    _, revision, instant, identity = msgspec.msgpack.decode(
        state, type=tuple[int, int, int, tuple[str, str, str, str, str, str]]
    )
    return Cursor(Revision(revision), Instant(instant), Relationship(*identity))
