"""Object ids as small integers, one table a type."""

from pdp.relationships import WILDCARD

WILDCARD_NODE = 0
ABSENT = -1


class IdTable:
    """The ids of one type's objects. A node is an index into ``ids``; it is never given to another id.

    The wildcard is node 0, so that it comes first in every sorted row.
    """

    __slots__ = ("ids", "index")

    def __init__(self) -> None:
        self.ids: list[str] = [WILDCARD]
        self.index: dict[str, int] = {WILDCARD: WILDCARD_NODE}

    def intern(self, id_: str) -> int:
        """The id's node, made where there is none."""
        node = self.index.get(id_)
        if node is None:
            node = self.index[id_] = len(self.ids)
            self.ids.append(id_)
        return node

    def find(self, id_: str) -> int:
        """The id's node, or `ABSENT`."""
        return self.index.get(id_, ABSENT)
