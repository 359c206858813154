"""SQL that the stores share: conditions of filters and usages, and rows to and from values.

Statements are written with Postgres' numbered parameters, which SQLite knows with another sign.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pdp.relationships import Instant, Relationship, RelationshipFilter, Revision
from pdp.stores.judge import Change
from pdp.stores.keys import forward_key, key_range, relation_prefix, reverse_key
from pdp.stores.protocol import Usage
from pdp.stores.tables import COLUMNS, LIVING

ROW = ", ".join(COLUMNS)


class Where(NamedTuple):
    """Conditions and their parameters."""

    conditions: list[str]
    parameters: list[Any]

    def add(self, condition: str, *parameters: Any) -> None:
        """Add a condition; ``{}`` stands for each parameter's number."""
        first = len(self.parameters) + 1
        numbers = [f"${first + offset}" for offset in range(len(parameters))]
        self.conditions.append(condition.format(*numbers))
        self.parameters.extend(parameters)

    @property
    def sql(self) -> str:
        """The conditions, joined."""
        return " AND ".join(self.conditions)


def where_store(store_id: int) -> Where:
    """Rows of a store."""
    where = Where([], [])
    where.add("store_id = {}", store_id)
    return where


def add_snapshot(where: Where, at: Revision) -> None:
    """Only rows of a snapshot."""
    where.add("created <= {}", at)
    where.add("deleted > {}", at)


def add_counting(where: Where, instant: Instant) -> None:
    """Only rows that count at an instant."""
    where.add("(expires_at IS NULL OR expires_at > {})", instant)
    where.add("(valid_from IS NULL OR valid_from <= {})", instant)


def add_filter(where: Where, secret: bytes, filter_: RelationshipFilter, one_of: str) -> None:
    """Only rows that a filter wants; ``one_of`` is the dialect's "is in this list". Uses a key where it can."""
    subject = filter_.subject
    if filter_.resource_type and len(filter_.resource_ids) == 1 and filter_.relation:
        prefix = relation_prefix(secret, filter_.resource_type, filter_.resource_ids[0], filter_.relation)
        where.add("key BETWEEN {} AND {}", *key_range(prefix))
    elif subject and subject.id and subject.relation is not None:
        prefix = relation_prefix(secret, subject.type, subject.id, subject.relation)
        where.add("reverse_key BETWEEN {} AND {}", *key_range(prefix))
    if filter_.resource_type is not None:
        where.add("resource_type = {}", filter_.resource_type)
    if filter_.resource_ids:
        where.add(f"resource_id {one_of}", filter_.resource_ids)
    if filter_.resource_id_prefix is not None:
        where.add("substr(resource_id, 1, {}) = {}", len(filter_.resource_id_prefix), filter_.resource_id_prefix)
    if filter_.relation is not None:
        where.add("relation = {}", filter_.relation)
    if subject is not None:
        where.add("subject_type = {}", subject.type)
        if subject.id is not None:
            where.add("subject_id = {}", subject.id)
        if subject.relation is not None:
            where.add("subject_relation = {}", subject.relation)


def add_usage(where: Where, usage: Usage) -> None:
    """Only rows that a schema change would orphan."""
    for column in ("resource_type", "relation", "subject_type", "subject_relation", "caveat_name"):
        value = getattr(usage, column)
        if value is not None:
            where.add(f"{column} = {{}}", value)
    if usage.wildcard is not None:
        where.add("subject_id = {}" if usage.wildcard else "subject_id <> {}", "*")
    if usage.expiration is not None:
        where.conditions.append("expires_at IS NOT NULL" if usage.expiration else "expires_at IS NULL")


class Rows(NamedTuple):
    """What a batch writes: living rows that end (key, revision), and new rows in the table's column order."""

    ended: list[tuple[bytes, int]]
    born: list[tuple[Any, ...]]


def rows_of(store_id: int, secret: bytes, changes: Iterable[tuple[Revision, Sequence[Change]]]) -> Rows:
    """Rows of the changes of consecutive revisions. One that a later revision of them ends is born dead."""
    ended: list[tuple[bytes, int]] = []
    dead: list[tuple[Any, ...]] = []
    living: dict[bytes, tuple[Revision, Relationship]] = {}
    for revision, each in changes:
        for before, after in ((change.before, change.after) for change in each):
            one = after or before
            if one is None:
                continue
            key = forward_key(secret, one.identity)
            if before is not None:
                if key in living:
                    created, was = living.pop(key)
                    dead.append((store_id, key, revision, created, reverse_key(secret, was.identity), *was))
                else:
                    ended.append((key, revision))
            if after is not None:
                living[key] = (revision, after)
    born = [
        (store_id, key, LIVING, created, reverse_key(secret, one.identity), *one)
        for key, (created, one) in living.items()
    ]
    return Rows(ended, dead + born)


def relationship(row: Sequence[Any]) -> Relationship:
    """A row of `ROW`."""
    return Relationship(*row)
