"""Folding changes into the arrays: a new base, made beside the old one and put in its place in one assignment.

What was changed up to the new base's revision becomes part of its arrays, off the event loop; what changed after it
is applied again when the new slots take over. Graphs handed out before keep the old slots and stay right.
"""

from typing import Any

import numpy as np

from pdp.relationships import Revision
from pdp.replica.build import fill, packed_edges
from pdp.replica.replica import Replica
from pdp.replica.slots import PLAIN, Row, Slot, SlotKey

States = list[tuple[int, list[tuple[Revision, Row | None]]]]


class Compaction:
    """One folding: `begin` and `finish` on the applying thread, `build` anywhere between them."""

    def __init__(self, replica: Replica, base_revision: Revision) -> None:
        self._replica = replica
        self._base_revision = base_revision
        self._changed: dict[SlotKey, tuple[Slot, States]] = {}
        self._built: dict[SlotKey, Slot] = {}

    def begin(self) -> None:
        """Note what has changed."""
        for key, slot in self._replica.slots.items():
            if slot.history:
                self._changed[key] = (slot, list(slot.history.items()))

    def build(self) -> None:
        """Make the new bases. Reads nothing that is being changed: states up to the new base are settled."""
        for key, (slot, states) in self._changed.items():
            self._built[key] = self._rebuilt(slot, states)

    def _rebuilt(self, slot: Slot, states: States) -> Slot:
        conditions = dict(slot.base_conditions)
        settled: list[int] = []
        present: list[int] = []
        for edge, history in states:
            until = [row for revision, row in history if revision <= self._base_revision]
            if not until:
                continue
            row = until[-1]
            settled.append(edge)
            conditions.pop(edge, None)
            if row is not None:
                present.append(edge)
                if row != PLAIN:
                    conditions[edge] = row
        edges: Any = packed_edges(slot.forward)
        if settled:
            kept = edges[~np.isin(edges, np.array(settled, np.uint64))]
            edges = np.concatenate((kept, np.array(present, np.uint64)))
        rebuilt = Slot(slot.key)
        fill(rebuilt, edges, conditions)
        return rebuilt

    def finish(self) -> None:
        """Put the new slots in place, with what changed since their base."""
        replica = self._replica
        slots = dict(replica.slots)
        replica.changes = 0
        for key, rebuilt in self._built.items():
            later = [
                (revision, edge, row)
                for edge, history in slots[key].history.items()
                for revision, row in history
                if revision > self._base_revision
            ]
            later.sort(key=lambda change: change[0])
            for revision, edge, row in later:
                rebuilt.set(revision, *divmod(edge, 1 << 32), row)
            replica.changes += len(later)
            slots[key] = rebuilt
        replica.slots = slots
        replica.base_revision = self._base_revision
        replica.base_rows = sum(len(slot.forward.ends) for slot in slots.values())
