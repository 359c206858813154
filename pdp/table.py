"""The well-founded model of a ground graph of any, all and not, built while it is being explored.

A node is *any* of its children, *all* of them, the *negation* of one, or an *unknown* atom. Values spread from
children to parents the moment they are known, so an answer is there as soon as what was explored decides it. What
is left when everything has been explored hangs in cycles or on unknowns. `settle` then takes the greatest unfounded
set — nodes that could only be true by supporting each other — as false, spreads that, and repeats until nothing
changes (Van Gelder, Ross and Schlipf, "The Well-Founded Semantics for General Logic Programs", 1991): positive
cycles become a least fixpoint. A node that is still undecided has no value in the model: it rests on an unknown
atom or on its own negation, and `causes` tells which.

Each spreading and each pass of `settle` is linear in nodes and edges; passes are bounded by how deep negations are
stacked over cycles.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar

Reason = TypeVar("Reason")
Node = int

UNDECIDED: Final = 0
YES: Final = 1
NO: Final = 2

_ANY: Final = 0
_ALL: Final = 1
_NOT: Final = 2
_UNKNOWN: Final = 3


class Table(Generic[Reason]):
    """Nodes by number. ``TRUE`` and ``FALSE`` are always there."""

    TRUE: Final[Node] = 0
    FALSE: Final[Node] = 1

    def __init__(self) -> None:
        self._kind: list[int] = [_ALL, _ANY]
        self.state: list[int] = [YES, NO]
        self._parents: list[list[Node]] = [[], []]
        # children that have not yet been decided against the node's kind: false for any, true for all
        self._need: list[int] = [0, 0]
        # how many sources may still add children
        self._holds: list[int] = [0, 0]
        self._reasons: dict[Node, Reason] = {}

    def _new(self, kind: int, holds: int) -> Node:
        self._kind.append(kind)
        self.state.append(UNDECIDED)
        self._parents.append([])
        self._need.append(0)
        self._holds.append(holds)
        return len(self._kind) - 1

    def any(self) -> Node:
        """A node that is true when a child is; held once, so that it waits for `release`."""
        return self._new(_ANY, 1)

    def all(self) -> Node:
        """A node that is true when every child is; held once, so that it waits for `release`."""
        return self._new(_ALL, 1)

    def negation(self, child: Node) -> Node:
        """A node that is true when the child is false."""
        if self.state[child]:
            return self.FALSE if self.state[child] == YES else self.TRUE
        node = self._new(_NOT, 0)
        self._parents[child].append(node)
        return node

    def unknown(self, reason: Reason) -> Node:
        """An atom without a value."""
        node = self._new(_UNKNOWN, 0)
        self._reasons[node] = reason
        return node

    def hold(self, node: Node) -> None:
        """Announce a source of children: the node is not decided for lack of them until `release`."""
        self._holds[node] += 1

    def release(self, node: Node) -> None:
        """Take one `hold` back."""
        self._holds[node] -= 1
        if not self._holds[node] and not self._need[node] and not self.state[node]:
            self._decide(node, NO if self._kind[node] == _ANY else YES)

    def attach(self, node: Node, child: Node) -> None:
        """Add a child to a held any or all."""
        if self.state[node]:
            return
        value = self.state[child]
        if not value:
            self._parents[child].append(node)
            self._need[node] += 1
        elif value == (YES if self._kind[node] == _ANY else NO):
            self._decide(node, value)

    def _decide(self, node: Node, value: int) -> None:
        state, kinds, need = self.state, self._kind, self._need
        state[node] = value
        spreading = [node]
        while spreading:
            child = spreading.pop()
            value = state[child]
            for parent in self._parents[child]:
                if state[parent]:
                    continue
                kind = kinds[parent]
                if kind == _NOT:
                    state[parent] = NO if value == YES else YES
                elif value == (YES if kind == _ANY else NO):
                    state[parent] = value
                else:
                    need[parent] -= 1
                    if need[parent] or self._holds[parent]:
                        continue
                    state[parent] = value
                spreading.append(parent)
            self._parents[child] = []

    def wanted(self, node: Node) -> bool:
        """Whether an undecided node depends on it."""
        return any(not self.state[parent] for parent in self._parents[node])

    def settle(self) -> None:
        """Decide all that can be, given that no source will add children where a value is still wanted.

        Nodes that are held are left alone: nobody asked for them.
        """
        while unfounded := self._unfounded():
            for node in unfounded:
                if not self.state[node]:
                    self._decide(node, NO)

    def _unfounded(self) -> list[Node]:
        """Undecided nodes that cannot become true whatever the undecided negations and unknowns turn out to be."""
        undecided = [node for node, value in enumerate(self.state) if not value]
        need = {node: self._need[node] for node in undecided}
        possible = {n for n in undecided if self._kind[n] in {_NOT, _UNKNOWN} or self._holds[n]}
        spreading = list(possible)
        while spreading:
            for parent in self._parents[spreading.pop()]:
                if self.state[parent] or parent in possible:
                    continue
                need[parent] -= 1
                if self._kind[parent] == _ANY or not need[parent]:
                    possible.add(parent)
                    spreading.append(parent)
        return [node for node in undecided if node not in possible]

    def causes(self, node: Node) -> tuple[list[Reason], list[Node]]:
        """Why a settled node has no value: reasons of the unknowns under it, and a cycle through a negation.

        Both only over children that are undecided themselves, so nothing that does not matter is told. Reasons come
        in the order in which their atoms were made; the cycle is empty where there is none.
        """
        children = self._undecided_children()
        under = {node}
        walking = [node]
        while walking:
            for child in children.get(walking.pop(), ()):
                if child not in under:
                    under.add(child)
                    walking.append(child)
        reasons = [self._reasons[n] for n in sorted(under) if n in self._reasons]
        return reasons, [] if reasons else self._negation_cycle(under, children)

    def _undecided_children(self) -> dict[Node, list[Node]]:
        children: dict[Node, list[Node]] = {}
        for child, value in enumerate(self.state):
            if not value:
                for parent in self._parents[child]:
                    if not self.state[parent]:
                        children.setdefault(parent, []).append(child)
        return children

    def _negation_cycle(self, under: Iterable[Node], children: Mapping[Node, list[Node]]) -> list[Node]:
        """The shortest way from some negation back to itself, root side first."""
        for start in sorted(under):
            if self._kind[start] != _NOT:
                continue
            came_from: dict[Node, Node] = {}
            level = [start]
            while level and start not in came_from:
                following = []
                for node in level:
                    for child in children.get(node, ()):
                        if child not in came_from:
                            came_from[child] = node
                            following.append(child)
                level = following
            if start in came_from:
                cycle = [start]
                while came_from[cycle[-1]] != start:
                    cycle.append(came_from[cycle[-1]])
                return cycle[::-1]
        return []
