"""What a filter selects: in Python for rows at hand, in SQL for rows in a table, and by which index they are found.

Conditions are written with Postgres' numbered parameters, which SQLite spells with another sign. An index range may
hold strangers (`pdp.stores.keys`), so the texts are compared whatever the range.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from pdp.relationships import Instant, Relationship, RelationshipFilter, Revision, SubjectFilter
from pdp.stores.keys import Key, KeyMaker, Range
from pdp.stores.protocol import Usage
from pdp.stores.tables import COLUMNS, LIVING

ROW = ", ".join(COLUMNS)
"""The columns of a relationship, to be selected."""

_FORWARD = ("slot", "pair")
_REVERSE = ("subject_slot", "pair")


def matches(filter_: RelationshipFilter, relationship: Relationship) -> bool:
    """Whether a relationship is one of those that the filter selects."""
    subject = filter_.subject
    return (
        (filter_.resource_type is None or relationship.resource_type == filter_.resource_type)
        and (not filter_.resource_ids or relationship.resource_id in filter_.resource_ids)
        and (filter_.resource_id_prefix is None or relationship.resource_id.startswith(filter_.resource_id_prefix))
        and (filter_.relation is None or relationship.relation == filter_.relation)
        and (
            subject is None
            or (
                relationship.subject_type == subject.type
                and (subject.id is None or relationship.subject_id == subject.id)
                and (subject.relation is None or relationship.subject_relation == subject.relation)
            )
        )
    )


class Path(NamedTuple):
    """The index that finds a filter's matches: its columns, in whose order they come, and ranges of the first."""

    columns: tuple[str, str]
    ranges: tuple[Range, ...]

    def after(self, key: Key) -> tuple[int, int]:
        """Where a relationship stands in that order."""
        return (key.slot if self.columns is _FORWARD else key.subject_slot, key.pair)


def path(filter_: RelationshipFilter, keys: KeyMaker) -> Path:
    """The narrowest way to a filter's matches."""
    type_, relation, subject = filter_.resource_type, filter_.relation, filter_.subject
    if type_ is not None and filter_.resource_ids:
        ranges = [_object_range(keys, type_, id_, relation, subject) for id_ in filter_.resource_ids]
        return Path(_FORWARD, tuple(sorted(ranges)))
    if subject is not None and subject.id is not None:
        if subject.relation is None:
            return Path(_REVERSE, (keys.object_range(subject.type, subject.id),))
        if type_ is None or relation is None:
            return Path(_REVERSE, (keys.relation_range(subject.type, subject.id, subject.relation),))
        slot = keys.slot(subject.type, subject.id, subject.relation, type_, relation)
        return Path(_REVERSE, (Range(slot, slot),))
    if type_ is not None:
        return Path(_FORWARD, (keys.type_range(type_),))
    if subject is not None:
        return Path(_REVERSE, (keys.type_range(subject.type),))
    return Path(_FORWARD, ())


def _object_range(keys: KeyMaker, type_: str, id_: str, relation: str | None, subject: SubjectFilter | None) -> Range:
    if relation is None:
        return keys.object_range(type_, id_)
    if subject is None or subject.relation is None:
        return keys.relation_range(type_, id_, relation)
    slot = keys.slot(type_, id_, relation, subject.type, subject.relation)
    return Range(slot, slot)


@dataclass(slots=True)
class Where:
    """Conditions and their parameters, for one statement."""

    conditions: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)

    def add(self, condition: str, *parameters: Any) -> None:
        """Add a condition; each ``{}`` in it stands for a parameter."""
        first = len(self.parameters) + 1
        self.conditions.append(condition.format(*(f"${first + n}" for n in range(len(parameters)))))
        self.parameters.extend(parameters)

    def add_any(self, conditions: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Add conditions of which one must hold."""
        alternatives = Where([], self.parameters)
        for condition, parameters in conditions:
            alternatives.add(condition, *parameters)
        self.conditions.append(f"({' OR '.join(alternatives.conditions)})")

    @property
    def sql(self) -> str:
        """The conditions, joined."""
        return " AND ".join(self.conditions)


def of_store(store_id: int) -> Where:
    """Rows of a store."""
    where = Where()
    where.add("store_id = {}", store_id)
    return where


def living(store_id: int) -> Where:
    """Rows that no revision has deleted."""
    where = of_store(store_id)
    where.add(f"deleted = {LIVING}")
    return where


def snapshot(store_id: int, at: Revision) -> Where:
    """Rows of a snapshot."""
    where = of_store(store_id)
    where.add("created <= {}", at)
    where.add("deleted > {}", at)
    return where


def add_counting(where: Where, instant: Instant) -> None:
    """Only rows that count at an instant."""
    where.add("(expires_at IS NULL OR expires_at > {})", instant)
    where.add("(valid_from IS NULL OR valid_from <= {})", instant)


def add_path(where: Where, by: Path) -> None:
    """Only rows in the path's ranges."""
    column = by.columns[0]
    if by.ranges:
        where.add_any(
            [
                (f"{column} = {{}}", (least,))
                if least == greatest
                else (f"{column} BETWEEN {{}} AND {{}}", (least, greatest))
                for least, greatest in by.ranges
            ]
        )


def add_after(where: Where, by: Path, after: tuple[int, int]) -> None:
    """Only rows behind a place in the path's order."""
    where.add(f"({by.columns[0]}, {by.columns[1]}) > ({{}}, {{}})", *after)


def add_filter(where: Where, filter_: RelationshipFilter) -> None:
    """Only rows whose texts the filter selects."""
    if filter_.resource_type is not None:
        where.add("resource_type = {}", filter_.resource_type)
    if filter_.resource_ids:
        where.add_any([("resource_id = {}", (id_,)) for id_ in filter_.resource_ids])
    if filter_.resource_id_prefix is not None:
        prefix = filter_.resource_id_prefix
        where.add("substr(resource_id, 1, {}) = {}", len(prefix), prefix)
    if filter_.relation is not None:
        where.add("relation = {}", filter_.relation)
    if filter_.subject is not None:
        where.add("subject_type = {}", filter_.subject.type)
        if filter_.subject.id is not None:
            where.add("subject_id = {}", filter_.subject.id)
        if filter_.subject.relation is not None:
            where.add("subject_relation = {}", filter_.subject.relation)


def add_usage(where: Where, usage: Usage, keys: KeyMaker) -> None:
    """Only rows that a schema change would orphan."""
    if usage.resource_type is not None:
        add_path(where, Path(_FORWARD, (keys.type_range(usage.resource_type),)))
    elif usage.subject_type is not None:
        add_path(where, Path(_REVERSE, (keys.type_range(usage.subject_type),)))
    for column in ("resource_type", "relation", "subject_type", "subject_relation", "caveat_name"):
        value = getattr(usage, column)
        if value is not None:
            where.add(f"{column} = {{}}", value)
    if usage.wildcard is not None:
        where.add("subject_id = {}" if usage.wildcard else "subject_id <> {}", "*")
    if usage.expiration is not None:
        where.add("expires_at IS NOT NULL" if usage.expiration else "expires_at IS NULL")


def add_usage_of_kinds(where: Where, usage: Usage) -> None:
    """Only kinds that a schema change would orphan."""
    for column, value in zip(Usage._fields, usage, strict=True):
        if value is not None:
            where.add(f"{column} = {{}}", int(value) if isinstance(value, bool) else value)


def filter_to_text(filter_: RelationshipFilter) -> str:
    """A filter as JSON, to be kept."""
    return msgspec.json.encode(filter_).decode()


def filter_from_text(text: str) -> RelationshipFilter:
    """The reverse of `filter_to_text`."""
    return msgspec.json.decode(text, type=RelationshipFilter)
