"""Whether a subject has a permission: the schema's rules, followed over a graph, without I/O.

An `Evaluation` keeps a table of *goals*: does this subject have ``relation`` on ``type:id``. Goals are opened from a
stack, never by recursion, and each is opened once; where a read is not loaded, the evaluation notes it and goes on
elsewhere. `Evaluation.run` returns when every question asked is decided, when all that is left waits for reads
(``needs``: fetch them together, then run again), or when its steps are used up. The number of fetches is the depth
of the graph. What a goal means is `pdp.table`'s matter: any, all and not over goals, in the well-founded model.

Nothing here reads a clock: the instant at which times are judged, and the judgement of caveats, are arguments.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias, assert_never

from pdp.errors import NegationCycle, PdpError, WorkExceeded
from pdp.graph import Graph
from pdp.program import (
    AllRule,
    AnyRule,
    ArrowRule,
    ButNotRule,
    ComputedRule,
    DirectRule,
    Program,
    RelationKey,
    Rule,
    SelfRule,
    SubjectType,
)
from pdp.relationships import WILDCARD, Instant, ObjectRef, SubjectRef
from pdp.stores.protocol import Found, Read, SubjectsRead
from pdp.table import NO, YES, Node, Table


class Goal(NamedTuple):
    """Has the evaluation's subject this relation on this object?"""

    type: str
    id: str
    relation: str

    def __str__(self) -> str:
        return f"{self.type}:{self.id}#{self.relation}"


class Unknown(NamedTuple):
    """What could not be decided: for want of parameters that were not given, or why it failed."""

    missing: tuple[str, ...] = ()
    failure: PdpError | None = None


Judge: TypeAlias = Callable[[str, str], bool | Unknown]
"""Judges a caveat by name, with a relationship's context in canonical JSON."""


class Permissionship(Enum):
    """The three values of an answer (a denial is one of them, never an error)."""

    NO_PERMISSION = 1
    HAS_PERMISSION = 2
    CONDITIONAL_PERMISSION = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked, decided.

    ``missing`` names, for a conditional answer, every parameter that matters and was not given. The answer holds
    from ``instant`` until ``stable_until`` (``None``: until a relationship changes), since no relationship consulted
    starts or stops counting before.
    """

    permissionship: Permissionship
    missing: tuple[str, ...] = ()
    stable_until: Instant | None = None


class _Source(NamedTuple):
    """A read whose answers become children of ``node``.

    ``follow`` is the relation asked of each object found, ``None`` where being found is enough. ``some`` is the
    node that each object found makes true (``.all()`` of nobody is nobody).
    """

    node: Node
    read: SubjectsRead
    follow: str | None
    some: Node = Table.TRUE


class Evaluation:
    """Questions about one subject at one instant, with one context, over one revision's graph."""

    def __init__(
        self,
        program: Program,
        subject: SubjectRef,
        *,
        instant: Instant,
        judge: Judge,
        goals_max: int = 1_000_000,
    ) -> None:
        self._program = program
        self._subject = subject
        self._subject_type = SubjectType(subject.type, subject.relation)
        self._instant = instant
        self._judge = judge
        self._goals_max = goals_max
        self._table: Table[Unknown] = Table()
        self._nodes: dict[Goal, Node] = {}
        self._goals: dict[Node, Goal] = {}
        self._roots: list[Node] = []
        self._asked: set[Node] = set()
        self._stack: list[Node | _Source] = []
        self._waiting: list[_Source] = []
        # goals not opened because all that asked for them was decided by then; asked for again, they are
        self._dropped: set[Node] = set()
        self._stable_until: Instant | None = None
        self.needs: dict[Read, None] = {}
        self.steps_left = 0

    def ask(self, resource: ObjectRef, relation: str) -> Node:
        """Put a question; `answer` gives what came of it. All are asked before the first `run`."""
        node = self._goal(Goal(resource.type, resource.id, relation), self._stack)
        self._roots.append(node)
        self._asked.add(node)
        return node

    def run(self, graph: Graph, steps_max: int = 1_000_000) -> bool:
        """Go on as far as the graph is loaded, at most ``steps_max`` goals and reads; True when all is decided.

        When it is False, ``needs`` holds what to fetch; empty, only the steps ran out. ``steps_left`` is what it
        left of them.

        Raises:
            WorkExceeded: more goals than ``goals_max``.
        """
        self.needs = {}
        self.steps_left = steps_max
        if not self._stack and self._waiting:
            self._stack.extend(reversed(self._waiting))
            self._waiting.clear()
        stack, state = self._stack, self._table.state
        undecided = [root for root in self._roots if not state[root]]
        while stack:
            while undecided and state[undecided[-1]]:
                undecided.pop()
            if not undecided:
                return True
            if not self.steps_left:
                return False
            self.steps_left -= 1
            item = stack.pop()
            if isinstance(item, _Source):
                if not state[item.node]:
                    self._read(item, graph)
            elif not state[item]:
                if item in self._asked or self._table.wanted(item):
                    self._open(item, graph)
                else:
                    self._dropped.add(item)
        self._waiting = [source for source in self._waiting if not state[source.node]]
        self.needs = {source.read: None for source in self._waiting}
        if self._waiting and any(not state[root] for root in self._roots):
            return False
        self._table.settle()
        return True

    def answer(self, node: Node) -> Answer:
        """What was decided.

        Raises:
            CaveatEvaluationFailed: the answer depends on a caveat that failed.
            NegationCycle: the answer depends on its own negation.
        """
        value = self._table.state[node]
        if value:
            held = Permissionship.HAS_PERMISSION if value == YES else Permissionship.NO_PERMISSION
            return Answer(held, (), self._stable_until)
        unknowns, cycle = self._table.causes(node)
        missing = tuple(dict.fromkeys(name for unknown in unknowns for name in unknown.missing))
        if missing:
            return Answer(Permissionship.CONDITIONAL_PERMISSION, missing, self._stable_until)
        for unknown in unknowns:
            if unknown.failure:
                raise unknown.failure
        raise NegationCycle([str(self._goals[n]) for n in cycle if n in self._goals])

    def _goal(self, goal: Goal, todo: list[Node | _Source]) -> Node:
        node = self._nodes.get(goal)
        if node is not None:
            if node in self._dropped:
                self._dropped.remove(node)
                todo.append(node)
            return node
        kinds = self._program.reach[RelationKey(goal.type, goal.relation)]
        if self._subject_type not in kinds:
            node = Table.FALSE
        elif self._subject == (goal.type, goal.id, goal.relation):
            node = Table.TRUE  # a userset holds itself
        else:
            if len(self._goals) >= self._goals_max:
                raise WorkExceeded(f"more than {self._goals_max} goals were opened without an answer")
            node = self._table.any()
            self._goals[node] = goal
            todo.append(node)
        self._nodes[goal] = node
        return node

    def _open(self, node: Node, graph: Graph) -> None:
        goal = self._goals[node]
        todo: list[Node | _Source] = []
        self._add(self._program.rules[RelationKey(goal.type, goal.relation)], goal, node, graph, todo)
        self._table.release(node)
        self._stack.extend(reversed(todo))

    def _add(self, rule: Rule, goal: Goal, any_: Node, graph: Graph, todo: list[Node | _Source]) -> None:
        """Make the rule, for this goal, a way in which ``any_`` can be true. Recurses on the schema's depth alone."""
        table = self._table
        match rule:
            case DirectRule():
                self._add_direct(rule, goal, any_, graph, todo)
            case ComputedRule(relation):
                table.attach(any_, self._goal(Goal(goal.type, goal.id, relation), todo))
            case ArrowRule():
                self._add_arrow(rule, goal, any_, todo)
            case SelfRule():
                if self._subject == (goal.type, goal.id, ""):
                    table.attach(any_, Table.TRUE)
            case AnyRule(children):
                for child in children:
                    self._add(child, goal, any_, graph, todo)
            case AllRule(children):
                parts = [self._part(child, goal, graph, todo) for child in children]
                table.attach(any_, self._every(parts))
            case ButNotRule(base, subtract):
                kept = self._part(base, goal, graph, todo)
                if table.state[kept] != NO:
                    subtracted = self._part(subtract, goal, graph, todo)
                    table.attach(any_, self._every([kept, table.negation(subtracted)]))
            case _:
                assert_never(rule)

    def _part(self, rule: Rule, goal: Goal, graph: Graph, todo: list[Node | _Source]) -> Node:
        """A node for a rule of its own, under an all or a negation."""
        if isinstance(rule, ComputedRule):
            return self._goal(Goal(goal.type, goal.id, rule.relation), todo)
        node = self._table.any()
        self._add(rule, goal, node, graph, todo)
        self._table.release(node)
        return node

    def _every(self, parts: Sequence[Node]) -> Node:
        node = self._table.all()
        for part in parts:
            self._table.attach(node, part)
        self._table.release(node)
        return node

    def _add_direct(self, rule: DirectRule, goal: Goal, any_: Node, graph: Graph, todo: list[Node | _Source]) -> None:
        resource = ObjectRef(goal.type, goal.id)
        subject, kind = self._subject, self._subject_type
        if kind in rule.terminals:
            ids = () if subject.id == WILDCARD else (subject.id,)
            if not subject.relation and subject.type in rule.wildcards:
                ids = (*ids, WILDCARD)
            if ids:
                read = SubjectsRead(resource, rule.relation, *kind, ids)
                self._table.hold(any_)
                self._read(_Source(any_, read, None), graph)
        for userset in rule.usersets:
            if kind in self._program.reach[RelationKey(*userset)]:
                self._table.hold(any_)
                read = SubjectsRead(resource, rule.relation, *userset)
                todo.append(_Source(any_, read, userset.relation))

    def _add_arrow(self, rule: ArrowRule, goal: Goal, any_: Node, todo: list[Node | _Source]) -> None:
        resource = ObjectRef(goal.type, goal.id)
        if not rule.every:
            for slot in rule.slots:
                if self._subject_type in self._program.reach[RelationKey(slot.type, rule.computed)]:
                    self._table.hold(any_)
                    read = SubjectsRead(resource, rule.tupleset, *slot)
                    todo.append(_Source(any_, read, rule.computed))
            return
        every, some = self._table.all(), self._table.any()
        for slot in (*rule.slots, *rule.targetless):
            self._table.hold(every)
            self._table.hold(some)
            todo.append(_Source(every, SubjectsRead(resource, rule.tupleset, *slot), rule.computed, some))
        self._table.release(some)
        self._table.attach(every, some)
        self._table.release(every)
        self._table.attach(any_, every)

    def _read(self, source: _Source, graph: Graph) -> None:
        found = graph.get(source.read)
        if found is None:
            self._waiting.append(source)
            return
        todo: list[Node | _Source] = []
        node, read, follow, some = source
        for one in found:
            if not self._counts(one):
                continue
            target = Table.TRUE
            if follow is not None:
                if (read.subject_type, follow) not in self._program.rules:
                    target = Table.FALSE
                elif one.id == WILDCARD:
                    continue  # an arrow never follows a wildcard
                else:
                    target = self._goal(Goal(read.subject_type, one.id, follow), todo)
            if one.caveat_name:
                target = self._conditional(one, target)
            self._table.attach(node, target)
            if some != Table.TRUE:
                self._table.attach(some, Table.TRUE)
            if self._table.state[node]:
                break
        if some != Table.TRUE:
            self._table.release(some)
        self._table.release(node)
        self._stack.extend(reversed(todo))

    def _counts(self, found: Found) -> bool:
        """Whether it is valid at the instant; keeps note of when that would change."""
        now, starts, ends = self._instant, found.valid_from, found.expires_at
        if ends is not None and ends <= now:
            return False
        begun = starts is None or starts <= now
        changes_at = ends if begun else starts
        if changes_at is not None and (self._stable_until is None or changes_at < self._stable_until):
            self._stable_until = changes_at
        return begun

    def _conditional(self, found: Found, target: Node) -> Node:
        if target == Table.FALSE:
            return target
        verdict = self._judge(found.caveat_name, found.caveat_context)
        if isinstance(verdict, Unknown):
            return self._every([self._table.unknown(verdict), target])
        return target if verdict else Table.FALSE
