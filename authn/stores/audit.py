"""Audit chains in the database: rows are only ever added."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from authn.clock import Millis
from authn.stores.statements import Statement, Work
from authn.stores.tables import audit_chains, audit_events

_e, _c = audit_events.c, audit_chains.c
_INSERT = Statement(lambda insert: insert(audit_events).values({c: bindparam(c.name) for c in _e}))
_START = Statement(lambda insert: insert(audit_chains).values({c: bindparam(c.name) for c in _c}))
_ADVANCE = Statement(
    lambda _: (
        update(audit_chains)
        .where(_c.chain == bindparam("the_chain"), _c.head == bindparam("was"))
        .values(head=bindparam("to"), head_hash=bindparam("to_hash"), closed_at_ms=bindparam("closed"))
        .returning(_c.chain)
    )
)
_CHAIN = Statement(lambda _: select(_c.head, _c.head_hash).where(_c.chain == bindparam("the_chain")))
_CHAINS = Statement(lambda _: select(_c.chain, _c.head, _c.head_hash).order_by(_c.started_at_ms, _c.chain))
_RECENT = Statement(
    lambda _: (
        select(_c.chain, _c.head, _c.head_hash)
        .where(_c.chain != bindparam("the_chain"))
        .order_by(_c.started_at_ms.desc(), _c.chain)
        .limit(bindparam("limit_"))
    )
)
_EVENTS = Statement(
    lambda _: (
        select(_e.number, _e.record, _e.hash)
        .where(_e.chain == bindparam("the_chain"), _e.number > bindparam("after"))
        .order_by(_e.number)
        .limit(bindparam("limit_"))
    )
)
_NAMED = Statement(
    lambda _: (
        select(_e.record)
        .where(_e.name == bindparam("the_name"), _e.chain == bindparam("the_chain"))
        .order_by(_e.number)
    )
)


class ChainRow(NamedTuple):
    """A chain: how far it goes, and the hash there."""

    chain: str
    head: int
    head_hash: bytes


class EventRow(NamedTuple):
    """An event in a chain."""

    number: int
    at_ms: Millis
    name: str
    record: str
    hash: bytes


def start(chain: str, root: bytes, now_ms: Millis) -> Work[None]:
    """Begin a chain."""
    yield (
        _START,
        {"chain": chain, "started_at_ms": now_ms, "head": 0, "head_hash": root, "closed_at_ms": None},
    )


def append(chain: str, was: int, events: Sequence[EventRow], closed_at_ms: Millis | None) -> Work[bool]:
    """Add events behind number ``was``; ``False`` where the chain is not there any more, and nothing was added.

    Adding the same events twice adds them once.
    """
    last = events[-1]
    rows = yield (
        _ADVANCE,
        {"the_chain": chain, "was": was, "to": last.number, "to_hash": last.hash, "closed": closed_at_ms},
    )
    if not rows:
        found = yield _CHAIN, {"the_chain": chain}
        return bool(found) and (found[0][0], bytes(found[0][1])) == (last.number, last.hash)
    yield _INSERT, [{"chain": chain, **event._asdict()} for event in events]
    return True


def recent(chain: str, limit: int) -> Work[Sequence[ChainRow]]:
    """The chains begun last, but for this one."""
    rows = yield _RECENT, {"the_chain": chain, "limit_": limit}
    return [ChainRow(row[0], row[1], bytes(row[2])) for row in rows]


def chains() -> Work[Sequence[ChainRow]]:
    """Every chain, oldest first."""
    rows = yield _CHAINS, {}
    return [ChainRow(row[0], row[1], bytes(row[2])) for row in rows]


def events(chain: str, after: int, limit: int) -> Work[Sequence[tuple[int, str, bytes]]]:
    """A chain's events behind a number: number, record, hash."""
    rows = yield _EVENTS, {"the_chain": chain, "after": after, "limit_": limit}
    return [(row[0], row[1], bytes(row[2])) for row in rows]


def named(chain: str, name: str) -> Work[Sequence[str]]:
    """The records of a chain's events of one name."""
    rows = yield _NAMED, {"the_chain": chain, "the_name": name}
    return [row[0] for row in rows]
