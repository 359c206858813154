"""Cursors: where a page ended, bound to the store, the snapshot, the instant and the question.

A cursor is the state itself, authenticated, so that no process has to remember it.
"""

import base64
import binascii
import hmac
from hashlib import blake2b
from typing import NamedTuple

import msgspec
from authzed.api.v1.core_pb2 import Cursor as CursorMessage
from google.protobuf.message import Message

from api.convert import invalid
from pdp.relationships import Instant, Revision
from pdp.stores.protocol import RelationshipStore

_TAG_BYTES = 12
_VERSION = 1


class Cursor(NamedTuple):
    """Resume at a revision and an instant, behind a place that only who made the cursor can read."""

    revision: Revision
    instant: Instant
    after: tuple[str, ...]


class _State(NamedTuple):
    version: int
    revision: int
    instant: int
    after: tuple[str, ...]


def question(request: Message, *, extra: object = None, without: tuple[str, ...] = ()) -> bytes:
    """What a next request must repeat: all but consistency and cursor, the page's size included.

    ``extra`` is what else the answer depends on; ``without`` are fields that may differ after all.
    """
    bound = type(request)()
    bound.CopyFrom(request)
    for name in ("consistency", "optional_cursor", *without):
        bound.ClearField(name)
    asked = bound.SerializeToString(deterministic=True)
    return msgspec.msgpack.encode((bound.DESCRIPTOR.full_name, asked, extra))


def _tag(store: RelationshipStore, state: bytes, bound_to: bytes) -> bytes:
    digest = blake2b(key=store.zookie_key, digest_size=_TAG_BYTES, person=b"cursor")
    for part in (store.name.encode(), store.timeline.encode(), bound_to, state):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


class CursorMaker:
    """Makes the cursors of one answer."""

    def __init__(self, store: RelationshipStore, revision: Revision, instant: Instant, bound_to: bytes) -> None:
        self._store = store
        self._revision = revision
        self._instant = instant
        self._bound_to = bound_to

    def after(self, *place: str) -> CursorMessage:
        """The cursor that resumes behind a place."""
        state = msgspec.msgpack.encode(_State(_VERSION, self._revision, self._instant, place))
        return CursorMessage(token=_token(_tag(self._store, state, self._bound_to) + state))


def _token(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(store: RelationshipStore, token: str, bound_to: bytes) -> Cursor:
    """What the token holds.

    Raises:
        ApiError: INVALID_CURSOR, where it cannot be read or belongs to another question or store.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("the cursor cannot be read", "INVALID_CURSOR") from error
    if _token(raw) != token:
        raise invalid("the cursor cannot be read", "INVALID_CURSOR")
    tag, state = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(store, state, bound_to)):
        raise invalid("the cursor was made for another request or store", "INVALID_CURSOR")
    read = msgspec.msgpack.decode(state, type=_State)
    return Cursor(Revision(read.revision), Instant(read.instant), read.after)
