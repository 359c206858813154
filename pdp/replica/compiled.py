"""Checks against the newest revision of a replica, compiled from the schema to straight code.

Every *kind* — a relation of a type, asked for one kind of subject — becomes one Python function of two nodes that
says whether the subject has the relation. Unions, intersections, exclusions and arrows become expressions over the
functions of the kinds they name. Where data can recurse, which the schema shows, a kind whose rules are unions
becomes a walk with a set of visited nodes: the least fixpoint of a union is what can be reached. Usersets are not
walked into at all where the subject's *memberships* are known: the sets that hold it, found once by walking upward,
kept until a change touches them; then nested groups of any depth cost one set intersection.

What is left — recursion through an intersection or an exclusion, and any relationship met that has a caveat or a
time bound — raises `Undecided`, and the table of `pdp.evaluate` answers over the same replica.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from pdp.names import check_names
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
from pdp.replica.ids import ABSENT, WILDCARD_NODE
from pdp.replica.kinds import KindGraph, parts
from pdp.replica.memberships import Memberships
from pdp.replica.replica import Replica
from pdp.replica.slots import NODE_BITS, Slot, SlotKey
from pdp.stores.protocol import Transaction

Decide: TypeAlias = Callable[[int, int], bool]
"""Has the subject's node the relation on the resource's node?"""


class Undecided(Exception):
    """The compiled check cannot tell; the table can."""


class Question(NamedTuple):
    """What a compiled check is made for."""

    resource_type: str
    relation: str
    subject_type: str
    subject_relation: str = ""


class _Plan(NamedTuple):
    decide: Decide
    resources: Mapping[str, int]
    subjects: Mapping[str, int]


class CompiledChecks:
    """The checks of one schema over one replica; functions are made when first asked for.

    A replica's slots are bound into them: after a compaction, make new ones, which take over what the ``previous``
    of the same schema know of memberships.
    """

    def __init__(self, program: Program, replica: Replica, previous: "CompiledChecks | None" = None) -> None:
        self._program = program
        self._replica = replica
        self._plans: dict[tuple[str, str, str, str], _Plan] = {}
        self._writers: dict[SubjectType, _Writer] = {}
        if previous is not None:
            for subject, before in previous._writers.items():
                writer = self._writers[subject] = _Writer(program, replica, subject)
                writer.memberships.take_over(before.memberships)

    def check(
        self,
        resource_type: str,
        resource_id: str,
        relation: str,
        subject_type: str,
        subject_id: str,
        subject_relation: str = "",
    ) -> bool:
        """Answer a question.

        Raises:
            UnknownDefinition, UnknownRelation: it names what the schema does not have.
            Undecided: only the table can tell.
        """
        question = (resource_type, relation, subject_type, subject_relation)
        plan = self._plans.get(question)
        if plan is None:
            plan = self._plan(Question(*question))
        decide, resources, subjects = plan
        resource = resources.get(resource_id, ABSENT)
        if resource == ABSENT and resource_id == subject_id and resource_type == subject_type:
            raise Undecided  # it may hold itself, without any relationship
        return decide(resource, subjects.get(subject_id, ABSENT))

    def forget_changes(self, transactions: Sequence[Transaction]) -> None:
        """Forget what applied transactions made untrue."""
        tables = self._replica.tables
        for transaction in transactions:
            for relationship in (*transaction.removed, *transaction.added):
                type_, _, relation, subject_type, subject_id, subject_relation = relationship[:6]
                slot = SlotKey(type_, relation, subject_type, subject_relation)
                subject = tables[subject_type].find(subject_id)
                for writer in self._writers.values():
                    writer.memberships.forget(slot, subject)

    def _plan(self, question: Question) -> _Plan:
        check_names(self._program.schema, *question)
        subject = SubjectType(question.subject_type, question.subject_relation)
        writer = self._writers.get(subject)
        if writer is None:
            writer = self._writers[subject] = _Writer(self._program, self._replica, subject)
        plan = self._plans[question] = _Plan(
            writer.function(RelationKey(question.resource_type, question.relation)),
            self._replica.table(question.resource_type).index,
            self._replica.table(question.subject_type).index,
        )
        return plan


def _never(resource: int, subject: int) -> bool:
    return False


def _undecided(resource: int, subject: int) -> bool:
    raise Undecided


class _Writer:
    """Makes the functions for one kind of subject."""

    def __init__(self, program: Program, replica: Replica, subject: SubjectType) -> None:
        self.program = program
        self.subject = subject
        self.kinds = KindGraph(program, subject)
        self.memberships = Memberships(self.kinds, replica)
        self._replica = replica
        self._functions: dict[RelationKey, Decide] = {}

    def function(self, key: RelationKey) -> Decide:
        """The function of a kind, with those it needs made first. Recurses on the schema's depth alone."""
        made = self._functions.get(key)
        if made is None:
            made = self._functions[key] = self._make(key)
        return made

    def _make(self, key: RelationKey) -> Decide:
        if not self.kinds.holds(key):
            return _never
        if self.kinds.recursive(key):
            return _Closure(self, key).decide if self.kinds.is_union(key) else _undecided
        decide = self._straight(key)
        if RelationKey(*self.subject) != key:
            return decide

        def decide_or_same(resource: int, subject: int) -> bool:
            return resource == subject != ABSENT or decide(resource, subject)

        return decide_or_same

    def _straight(self, key: RelationKey) -> Decide:
        """A function made from source text that holds nothing but our own names and operators."""
        names: dict[str, Any] = {}
        expression = self._expression(self.program.rules[key], key.type, names)
        if expression == "False":
            return _never
        if len(names) == 1 and expression == "f0(n, s)":
            only: Decide = names["f0"]
            return only
        exec(f"def decide(n, s):\n    return {expression}\n", names)  # noqa: S102 - as the docstring says
        decide: Decide = names["decide"]
        return decide

    def _expression(self, rule: Rule, type_: str, names: dict[str, Any]) -> str:
        def call(decide: Decide) -> str:
            if decide is _never:
                return "False"
            name = f"f{len(names)}"
            names[name] = decide
            return f"{name}(n, s)"

        match rule:
            case DirectRule() | ArrowRule(every=False):
                return _joined(" or ", [call(way) for way in self.ways(type_, rule)], "True", "False")
            case ComputedRule(relation):
                return call(self.function(RelationKey(type_, relation)))
            case ArrowRule():
                return call(self._every(type_, rule))
            case AnyRule(children):
                return _joined(" or ", [self._expression(c, type_, names) for c in children], "True", "False")
            case AllRule(children):
                return _joined(" and ", [self._expression(c, type_, names) for c in children], "False", "True")
            case ButNotRule(base, subtract):
                kept = self._expression(base, type_, names)
                subtracted = self._expression(subtract, type_, names)
                return "False" if kept == "False" else f"({kept} and not {subtracted})"
            case SelfRule():
                return "(n == s != -1)" if self.subject == (type_, "") else "False"

    def ways(self, type_: str, rule: DirectRule | ArrowRule) -> Iterator[Decide]:
        """The ways in which a relation's rows, or an arrow's, can hold the subject."""
        if isinstance(rule, DirectRule) and self.subject in rule.terminals:
            everybody = not self.subject.relation and self.subject.type in rule.wildcards
            yield _has(self._replica.slot(SlotKey(type_, rule.relation, *self.subject)), everybody=everybody)
        for target, slot in self.rows(type_, rule):
            yield self.in_usersets(target, slot) if isinstance(rule, DirectRule) else self._through(target, slot)

    def rows(self, type_: str, rule: DirectRule | ArrowRule) -> Iterator[tuple[RelationKey, Slot]]:
        """The slots that lead on from a rule, with the kind asked of what stands in them."""
        if isinstance(rule, DirectRule):
            found = [(RelationKey(*userset), rule.relation, userset) for userset in rule.usersets]
        else:
            found = [(RelationKey(slot.type, rule.computed), rule.tupleset, slot) for slot in rule.slots]
        for target, relation, subject in found:
            if self.kinds.holds(target):
                yield target, self._replica.slot(SlotKey(type_, relation, *subject))

    def in_usersets(self, target: RelationKey, slot: Slot) -> Decide:
        """Whether some userset in the slot's row holds the subject."""
        each = self._through(target, slot)
        if not self.kinds.is_union(target):
            return each
        known, learn = self.memberships.of(target)
        conditions, forward = slot.conditions, slot.forward
        changed, find, starts, ends, size = forward.current, forward.find, forward.starts, forward.ends, forward.size

        def decide(resource: int, subject: int) -> bool:
            sets = known[subject] if subject in known else learn(subject)
            if sets is None or conditions:
                return each(resource, subject)
            if not sets:
                return False
            if resource in changed:
                return not sets.isdisjoint(changed[resource])
            position = resource if find is None else find(resource)
            if not 0 <= position < size:
                return False
            start, end = starts[position], starts[position + 1]
            return start != end and not sets.isdisjoint(ends[start:end])

        return decide

    def _through(self, target: RelationKey, slot: Slot) -> Decide:
        """Whether the subject has the target on some object in a slot's row."""
        decide_target: Decide | None = None
        forward, conditions = slot.forward, slot.conditions

        def decide(resource: int, subject: int) -> bool:
            nonlocal decide_target
            row = forward.row(resource)
            if not row:
                return False
            if decide_target is None:
                decide_target = self.function(target)
            undecided = False
            for other in row:
                if conditions and resource << NODE_BITS | other in conditions:
                    undecided = True
                elif decide_target(other, subject):
                    return True
            if undecided:
                raise Undecided
            return False

        return decide

    def _every(self, type_: str, rule: ArrowRule) -> Decide:
        """Whether something stands in the arrow's rows, and the subject has the target on all of it (``.all()``)."""
        rows: list[tuple[Decide, Slot]] = [
            (_never, self._replica.slot(SlotKey(type_, rule.tupleset, *slot))) for slot in rule.targetless
        ]
        for slot in rule.slots:
            target = RelationKey(slot.type, rule.computed)
            rows.append((self.function(target), self._replica.slot(SlotKey(type_, rule.tupleset, *slot))))

        def decide(resource: int, subject: int) -> bool:
            some = False
            for decide_target, slot in rows:
                row = slot.forward.row(resource)
                if row and slot.conditions:
                    _must_be_plain(slot, resource, row)
                for other in row:
                    if other != WILDCARD_NODE:
                        some = True
                        if not decide_target(other, subject):
                            return False
            return some

        return decide


class _Closure:
    """The walk of a kind that can lead back to itself; it and all that it asks are unions."""

    def __init__(self, writer: _Writer, start: RelationKey) -> None:
        members = writer.kinds.component(start)
        numbers = {key: number for number, key in enumerate(members)}
        self._size = len(members)
        self._first = numbers[start]
        self._same = numbers.get(RelationKey(*writer.subject))
        # by number of kind: what answers at a node, the kinds asked of the same node, the slots walked into kinds
        self._checks: list[list[Decide]] = [[] for _ in members]
        self._computed: list[list[int]] = [[] for _ in members]
        self._rows: list[list[tuple[int, Slot]]] = [[] for _ in members]
        only_usersets = True
        for key, number in numbers.items():
            for rule in parts(writer.program.rules[key]):
                only_usersets = only_usersets and isinstance(rule, DirectRule | AnyRule)
                if isinstance(rule, ComputedRule):
                    target = RelationKey(key.type, rule.relation)
                    if target in numbers:
                        self._computed[number].append(numbers[target])
                    else:
                        self._checks[number].append(writer.function(target))
                elif isinstance(rule, DirectRule | ArrowRule):
                    self._add_rows(writer, key, rule, numbers)
        # memberships answer for nested groups; an arrow's targets can be many times more, so those are walked
        self._sets_of = writer.memberships.of(start) if only_usersets else None

    def _add_rows(
        self, writer: _Writer, key: RelationKey, rule: DirectRule | ArrowRule, numbers: Mapping[RelationKey, int]
    ) -> None:
        number = numbers[key]
        inside = [(numbers[target], slot) for target, slot in writer.rows(key.type, rule) if target in numbers]
        self._rows[number] += inside
        if not inside:
            self._checks[number] += writer.ways(key.type, rule)
            return
        slots = {slot.key for _, slot in inside}
        if isinstance(rule, DirectRule):
            rule = DirectRule(
                rule.relation,
                rule.terminals,
                rule.wildcards,
                tuple(u for u in rule.usersets if SlotKey(key.type, rule.relation, *u) not in slots),
            )
        else:
            left = tuple(s for s in rule.slots if SlotKey(key.type, rule.tupleset, *s) not in slots)
            rule = ArrowRule(rule.tupleset, rule.computed, rule.every, left, rule.targetless)
        self._checks[number] += writer.ways(key.type, rule)

    def decide(self, resource: int, subject: int) -> bool:
        """Has the subject the relation?"""
        if self._sets_of is not None:
            known, learn = self._sets_of
            sets = known[subject] if subject in known else learn(subject)
            if sets is not None:
                return resource in sets
        return self._walk(resource, subject)

    def _walk(self, resource: int, subject: int) -> bool:
        size = self._size
        start = resource * size + self._first
        seen = {start}
        walking = [start]
        while walking:
            node, number = divmod(walking.pop(), size)
            if number == self._same and node == subject != ABSENT:
                return True
            for check in self._checks[number]:
                if check(node, subject):
                    return True
            found = [node * size + target for target in self._computed[number]]
            for target, slot in self._rows[number]:
                row = slot.forward.row(node)
                if row and slot.conditions:
                    _must_be_plain(slot, node, row)
                found += [other * size + target for other in row]
            for goal in found:
                if goal not in seen:
                    seen.add(goal)
                    walking.append(goal)
        return False


def _joined(operator: str, ways: list[str], decides: str, neutral: str) -> str:
    """Expressions joined, less those that cannot change the outcome."""
    if decides in ways:
        return decides
    ways = [way for way in ways if way != neutral]
    if not ways:
        return neutral
    return ways[0] if len(ways) == 1 else f"({operator.join(ways)})"


def _must_be_plain(slot: Slot, resource: int, row: Sequence[int]) -> None:
    for subject in row:
        if resource << NODE_BITS | subject in slot.conditions:
            raise Undecided


def _has(slot: Slot, *, everybody: bool) -> Decide:
    """Whether a slot holds the subject, or its wildcard (node 0, so the first of its row)."""
    conditions, forward = slot.conditions, slot.forward
    changed, find, starts, ends, size = forward.current, forward.find, forward.starts, forward.ends, forward.size

    def decide(resource: int, subject: int) -> bool:
        row: Sequence[int] = ends
        if resource in changed:
            row = changed[resource]
            start, end = 0, len(row)
        else:
            position = resource if find is None else find(resource)
            if not 0 <= position < size:
                return False
            start, end = starts[position], starts[position + 1]
        if start == end:
            return False
        found = bisect_left(row, subject, start, end)
        holds = found < end and row[found] == subject
        if everybody and row[start] == WILDCARD_NODE:
            if not conditions or resource << NODE_BITS not in conditions:
                return True
            if not holds or resource << NODE_BITS | subject in conditions:
                raise Undecided
        elif holds and conditions and resource << NODE_BITS | subject in conditions:
            raise Undecided
        return holds

    return decide
