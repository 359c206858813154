"""The feed: what every process must learn of within a second, in one order for all.

An entry's position is taken from one row under that row's lock, in the transaction that makes the change; so
positions have no gaps, and whoever has read up to one has missed nothing below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select, update

from authn.clock import Millis
from authn.stores.statements import Statement, Work
from authn.stores.tables import feed, feed_head

CLIENT = "client"
KEYS = "keys"
TOKEN = "token"
GRANT = "grant"
SESSION = "session"
SUBJECT = "subject"
"""Kinds of entries: a client or the keys changed; a token, a grant, a session or all of a subject's is revoked."""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One thing that happened. After ``expires_at_ms`` nobody needs to know it any more."""

    position: int
    kind: str
    value: str
    expires_at_ms: Millis


_ADVANCE = Statement(
    lambda _: update(feed_head).values(position=feed_head.c.position + 1).returning(feed_head.c.position)
)
_INSERT = Statement(lambda insert: insert(feed).values({c: bindparam(c.name) for c in feed.c}))
_AFTER = Statement(
    lambda _: (
        select(feed.c.position, feed.c.kind, feed.c.value, feed.c.expires_at_ms)
        .where(feed.c.position > bindparam("after"))
        .order_by(feed.c.position)
    )
)
_HEAD = Statement(lambda _: select(feed_head.c.position))
_PURGE = Statement(lambda _: delete(feed).where(feed.c.expires_at_ms < bindparam("now_ms")))


def append(kind: str, value: str, expires_at_ms: Millis, now_ms: Millis) -> Work[FeedEntry]:
    """Record an entry. Until the transaction ends no other entry can be recorded."""
    rows = yield _ADVANCE, {}
    entry = FeedEntry(int(rows[0][0]), kind, value, expires_at_ms)
    yield (
        _INSERT,
        {
            "position": entry.position,
            "kind": kind,
            "value": value,
            "expires_at_ms": expires_at_ms,
            "recorded_at_ms": now_ms,
        },
    )
    return entry


def lock() -> Work[int]:
    """Take the writers' lock by advancing the position; gives the new position."""
    rows = yield _ADVANCE, {}
    return int(rows[0][0])


def head() -> Work[int]:
    """The newest position."""
    rows = yield _HEAD, {}
    return int(rows[0][0])


def after(position: int) -> Work[Sequence[FeedEntry]]:
    """Entries behind a position, in order."""
    rows = yield _AFTER, {"after": position}
    return [FeedEntry(*row) for row in rows]


def purge(now_ms: Millis) -> Work[None]:
    """Forget entries that nobody needs any more."""
    yield _PURGE, {"now_ms": now_ms}
