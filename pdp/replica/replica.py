"""A store's replica: id tables and slots, loaded from rows and kept current by the changelog."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pdp.relationships import Relationship, Revision
from pdp.replica.build import SlotBuilder
from pdp.replica.ids import ABSENT, IdTable
from pdp.replica.slots import NODE_BITS, PLAIN, Row, Slot, SlotKey
from pdp.stores.protocol import Found, Read, SubjectsRead, Transaction


class Replica:
    """All relationships of a store from ``base_revision`` to ``revision``.

    `apply` is called from one thread. `at` gives a graph that any thread may read, for a revision in that range; the
    compiled checks of `pdp.replica.compiled` read the newest revision and belong to the thread that applies.
    """

    def __init__(self, base_revision: Revision) -> None:
        self.base_revision = base_revision
        self.revision = base_revision
        self.tables: dict[str, IdTable] = {}
        self.slots: dict[SlotKey, Slot] = {}
        # rows in the arrays, and changes over them that were not folded in
        self.base_rows = 0
        self.changes = 0

    def table(self, type_: str) -> IdTable:
        """The id table of a type."""
        table = self.tables.get(type_)
        if table is None:
            table = self.tables[type_] = IdTable()
        return table

    def slot(self, key: SlotKey) -> Slot:
        """A slot, empty where nothing was stored in it; the id tables of both its types are there too."""
        slot = self.slots.get(key)
        if slot is None:
            self.table(key.resource_type)
            self.table(key.subject_type)
            slot = self.slots[key] = Slot(key)
        return slot

    def apply(self, transactions: Sequence[Transaction]) -> None:
        """Apply transactions in order; ``revision`` moves only when all are in place."""
        for transaction in transactions:
            for relationship in transaction.removed:
                self._set(transaction.revision, relationship, None)
            for relationship in transaction.added:
                self._set(transaction.revision, relationship, Row(*relationship[6:]))
        if transactions:
            self.revision = transactions[-1].revision

    def _set(self, revision: Revision, relationship: Relationship, row: Row | None) -> None:
        type_, id_, relation, subject_type, subject_id, subject_relation = relationship[:6]
        slot = self.slot(SlotKey(type_, relation, subject_type, subject_relation))
        resource, subject = self.table(type_).intern(id_), self.table(subject_type).intern(subject_id)
        slot.set(revision, resource, subject, row)
        self.changes += 1

    def size_bytes(self) -> int:
        """What it takes, by what its parts are known to take (a change 700 bytes, an id 150)."""
        ids = sum(len(table.ids) for table in self.tables.values())
        arrays = sum(slot.array_bytes() for slot in self.slots.values())
        return arrays + 150 * ids + 700 * self.changes

    def at(self, revision: Revision) -> "ReplicaGraph":
        """The graph at a revision from ``base_revision`` to ``revision``; it stays what it is."""
        return ReplicaGraph(self.tables, self.slots, revision)


class ReplicaGraph:
    """See `pdp.graph.Graph`: every read is loaded."""

    __slots__ = ("_revision", "_slots", "_tables")

    def __init__(self, tables: Mapping[str, IdTable], slots: Mapping[SlotKey, Slot], revision: Revision) -> None:
        self._tables = tables
        self._slots = slots
        self._revision = revision

    def get(self, read: Read) -> Sequence[Found]:
        """See `pdp.graph.Graph`."""
        tables, revision = self._tables, self._revision
        if isinstance(read, SubjectsRead):
            type_, relation, subject_type = read.resource.type, read.relation, read.subject_type
            slot = self._slots.get(SlotKey(type_, relation, subject_type, read.subject_relation))
            if slot is None:
                return ()
            resource, subjects = tables[type_].find(read.resource.id), tables[subject_type]
            if resource == ABSENT:
                return ()
            if read.subject_ids:
                return [
                    Found(id_, *row)
                    for id_ in read.subject_ids
                    if (subject := subjects.find(id_)) != ABSENT
                    and (row := slot.at(resource, subject, revision)) is not None
                ]
            ids = subjects.ids
            return [Found(ids[subject], *row) for subject, row in slot.subjects(resource, revision)]
        subject_type, relation = read.subject.type, read.relation
        slot = self._slots.get(SlotKey(read.resource_type, relation, subject_type, read.subject.relation))
        if slot is None:
            return ()
        subject = tables[subject_type].find(read.subject.id)
        ids = tables[read.resource_type].ids
        return [Found(ids[resource], *row) for resource, row in slot.resources(subject, revision)]


class ReplicaBuilder:
    """Takes a snapshot's rows, in any order, and makes the replica of its revision."""

    def __init__(self, revision: Revision) -> None:
        self._replica = Replica(revision)
        self._builders: dict[SlotKey, tuple[SlotBuilder, dict[str, int], list[str], dict[str, int], list[str]]] = {}
        self.rows = 0

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows of `pdp.relationships.Relationship`'s ten columns."""
        builders = self._builders
        count = 0
        for type_, id_, relation, subject_type, subject_id, subject_relation, *when in rows:
            count += 1
            key = SlotKey(type_, relation, subject_type, subject_relation)
            entry = builders.get(key)
            if entry is None:
                entry = self._open(key)
            builder, resources, resource_ids, subjects, subject_ids = entry
            resource = resources.get(id_)
            if resource is None:
                resource = resources[id_] = len(resource_ids)
                resource_ids.append(id_)
            subject = subjects.get(subject_id)
            if subject is None:
                subject = subjects[subject_id] = len(subject_ids)
                subject_ids.append(subject_id)
            edge = resource << NODE_BITS | subject
            builder.append(edge)
            if when != _PLAIN:
                builder.conditions[edge] = Row(*when)
        self.rows += count

    def _open(self, key: SlotKey) -> tuple[SlotBuilder, dict[str, int], list[str], dict[str, int], list[str]]:
        resources, subjects = self._replica.table(key.resource_type), self._replica.table(key.subject_type)
        entry = (SlotBuilder(key), resources.index, resources.ids, subjects.index, subjects.ids)
        self._builders[key] = entry
        return entry

    def build(self) -> Replica:
        """The replica; the builder is used up."""
        while self._builders:
            key, (builder, *_) = self._builders.popitem()
            slot = self._replica.slots[key] = builder.build()
            self._replica.base_rows += len(slot.forward.ends)
        return self._replica


_PLAIN = list(PLAIN)
