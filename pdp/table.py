"""The well-founded model of a ground graph of any, all and not, built while it is being explored.

A node is *any* of its children, *all* of them, the *negation* of one, or an *unknown* atom. Values spread from
children to parents the moment they are known, so an answer is there as soon as what was explored decides it. What
is left when everything has been explored hangs in cycles or on unknowns. `settle` then takes the greatest unfounded
set — nodes that could only be true by supporting each other — as false, spreads that, and repeats until nothing
changes (Van Gelder, Ross and Schlipf, "The Well-Founded Semantics for General Logic Programs", 1991): positive
cycles become a least fixpoint. A node that is still undecided has no value in the model: it rests on an unknown
atom or on its own negation, and `causes` tells which.

Strongly connected components are settled one after another, what they rest on first; so the work is linear in nodes
and edges, but for a component with negations inside, which takes a pass for each of them that gets decided.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Reason = TypeVar("Reason", bound=Hashable)
Node = int

UNDECIDED: Final = 0
YES: Final = 1
NO: Final = 2

_ANY: Final = 0
_ALL: Final = 1
_NOT: Final = 2
_UNKNOWN: Final = 3


@dataclass(slots=True)
class _Undecided(Generic[Reason]):
    """What a settled table left undecided, by component."""

    component_of: dict[Node, int]
    components: list[list[Node]]
    # reasons below each component, with the first atom that gave each, and a component below with a paradox, or -1
    reasons: list[dict[Reason, Node]]
    paradox: list[int]


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
        self._left: _Undecided[Reason] | None = None
        self._cycles: dict[int, list[Node]] = {}

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
        self._left = None
        for component in self.components(self._undecided_children()):
            while unfounded := self._unfounded(component):
                for node in unfounded:
                    if not self.state[node]:
                        self._decide(node, NO)

    def _unfounded(self, component: Sequence[Node]) -> list[Node]:
        """Undecided nodes of a component that cannot become true whatever its negations turn out to be.

        What the component rests on is settled: a child elsewhere that is undecided has no value, so may be true.
        """
        undecided = [node for node in component if not self.state[node]]
        inside = set(undecided)
        inner: dict[Node, int] = dict.fromkeys(undecided, 0)
        for node in undecided:
            for parent in self._parents[node]:
                if parent in inside:
                    inner[parent] += 1
        possible: set[Node] = set()
        need: dict[Node, int] = {}
        for node in undecided:
            kind, outer = self._kind[node], self._need[node] - inner[node]
            need[node] = inner[node]
            if kind in {_NOT, _UNKNOWN} or self._holds[node] or (outer if kind == _ANY else not inner[node]):
                possible.add(node)
        spreading = list(possible)
        while spreading:
            for parent in self._parents[spreading.pop()]:
                if parent in inside and parent not in possible:
                    need[parent] -= 1
                    if self._kind[parent] == _ANY or not need[parent]:
                        possible.add(parent)
                        spreading.append(parent)
        return [node for node in undecided if node not in possible]

    def _undecided_children(self) -> dict[Node, list[Node]]:
        children: dict[Node, list[Node]] = {}
        for child, value in enumerate(self.state):
            if not value:
                children.setdefault(child, [])
                for parent in self._parents[child]:
                    if not self.state[parent]:
                        children.setdefault(parent, []).append(child)
        return children

    @staticmethod
    def components(children: Mapping[Node, Sequence[Node]]) -> Iterator[list[Node]]:
        """Strongly connected components, each after all that it leads to (Tarjan, 1972), without recursion."""
        found: dict[Node, int] = {}
        low: dict[Node, int] = {}
        stack: list[Node] = []
        done: set[Node] = set()
        for root in children:
            if root in found:
                continue
            walking: list[tuple[Node, Iterator[Node]]] = [(root, iter(children[root]))]
            found[root] = low[root] = len(found)
            stack.append(root)
            while walking:
                node, rest = walking[-1]
                for child in rest:
                    if child not in found:
                        found[child] = low[child] = len(found)
                        stack.append(child)
                        walking.append((child, iter(children[child])))
                        break
                    if child not in done:
                        low[node] = min(low[node], found[child])
                else:
                    walking.pop()
                    if walking:
                        below = walking[-1][0]
                        low[below] = min(low[below], low[node])
                    if low[node] == found[node]:
                        component = [stack.pop()]
                        while component[-1] != node:
                            component.append(stack.pop())
                        done.update(component)
                        yield component

    def causes(self, node: Node) -> tuple[list[Reason], list[Node]]:
        """Why a settled node has no value: reasons of the unknowns under it, and a cycle through a negation.

        Both only over children that are undecided themselves, so nothing that does not matter is told. Reasons come
        in the order in which their atoms were made; the cycle is empty where there are reasons.
        """
        if self._left is None:
            self._left = self._explain()
        left = self._left
        component = left.component_of[node]
        reasons = left.reasons[component]
        if reasons:
            return sorted(reasons, key=lambda reason: reasons[reason]), []
        paradox = left.paradox[component]
        if paradox not in self._cycles:
            self._cycles[paradox] = self._negation_cycle(left.components[paradox])
        return [], self._cycles[paradox]

    def _explain(self) -> _Undecided[Reason]:
        children = self._undecided_children()
        left: _Undecided[Reason] = _Undecided({}, [], [], [])
        for number, component in enumerate(self.components(children)):
            left.component_of.update(dict.fromkeys(component, number))
            reasons: dict[Reason, Node] = {}
            paradox = -1
            for node in component:
                if node in self._reasons:
                    reasons[self._reasons[node]] = node
                for child in children[node]:
                    below = left.component_of[child]
                    if below == number:
                        paradox = number if self._kind[node] == _NOT else paradox
                        continue
                    paradox = max(paradox, left.paradox[below])
                    for reason, atom in left.reasons[below].items():
                        reasons[reason] = min(atom, reasons.get(reason, atom))
            left.components.append(component)
            left.reasons.append(reasons)
            left.paradox.append(paradox)
        return left

    def _negation_cycle(self, component: Sequence[Node]) -> list[Node]:
        """The shortest way from a negation of a component back to itself, parents before children."""
        start = min(node for node in component if self._kind[node] == _NOT)
        inside = set(component)
        came_from: dict[Node, Node] = {}
        level = [start]
        while start not in came_from:
            following = []
            for node in level:
                for parent in self._parents[node]:
                    if parent in inside and parent not in came_from:
                        came_from[parent] = node
                        following.append(parent)
            level = following
        cycle = [start]
        while came_from[cycle[-1]] != start:
            cycle.append(came_from[cycle[-1]])
        return cycle
