"""The tree of a permission on a resource: which sets of subjects it is made of, and how they are joined.

A relation is a leaf of the subjects stored in it; usersets among them are not followed, caveats not shown. A
permission is a union, always, also around a single operand. Inside, operators are branches that repeat its object and
name; a permission or relation that it names, on itself or through an arrow, is that one's own tree. Where an object
comes back to itself, the tree ends in an empty leaf: one is not a member by being a member.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias, assert_never

from pdp.errors import NegationCycle, WorkExceeded
from pdp.evaluate import Goal
from pdp.names import relation
from pdp.program import subject_types
from pdp.relationships import WILDCARD, Instant, ObjectRef, SubjectRef
from pdp.stores.protocol import Found, SubjectsRead
from pdp.walk import Walking, Work
from schema.model import (
    ComputedUserset,
    Exclusion,
    Intersection,
    Nil,
    Relation,
    Rewrite,
    Schema,
    SelfSubject,
    This,
    TupleToUserset,
    Union,
)


class Operation(Enum):
    """How the children of a node are joined; the values are the v1 API's."""

    UNION = 1
    INTERSECTION = 2
    EXCLUSION = 3


@dataclass(frozen=True, slots=True)
class Leaf:
    """Subjects as they are stored: usersets and ``*`` are not followed, caveats not shown. Sorted."""

    object: ObjectRef
    relation: str
    subjects: Sequence[SubjectRef] = ()


@dataclass(frozen=True, slots=True)
class Branch:
    """Children joined by an operation; of an exclusion, the first less the second. Of none, nobody."""

    object: ObjectRef
    relation: str
    operation: Operation
    children: Sequence["Tree"] = ()


Tree: TypeAlias = Leaf | Branch


class _Growth(NamedTuple):
    """A goal whose tree is to stand at a position of a list. ``negations`` counts the subtractions above it."""

    goal: Goal
    into: list[Tree]
    position: int
    negations: int


class _Asked(NamedTuple):
    """A read: of subjects, or (``follow``) of objects whose relation of that name comes next."""

    read: SubjectsRead
    follow: str = ""


class Expansion(Walking):
    """See the module; a `pdp.walk.Walk`, whose ``tree`` is there once it has ended."""

    tree: Tree

    def __init__(
        self,
        schema: Schema,
        resource: ObjectRef,
        permission: str,
        *,
        instant: Instant,
        nodes_max: int,
        reads_max: int,
    ) -> None:
        """Ask; a tree has at most ``nodes_max`` nodes.

        Raises:
            UnknownDefinition, UnknownRelation: the question names what is not there.
        """
        super().__init__(reads_max)
        relation(schema, resource.type, permission)
        self._schema = schema
        self._goal = Goal(*resource, permission)
        self._instant = instant
        self._nodes_max = nodes_max
        self._nodes = 0
        self._ids: dict[SubjectsRead, Sequence[str]] = {}
        # goals whose trees are being grown, with the subtractions above each; a goal on the stack ends its own
        self._above: dict[Goal, int] = {}
        self._growing: list[_Growth | Goal] = []

    def _walk(self) -> Work[None]:
        yield from self._load()
        self.tree = yield from self._grow()

    # Loading all that the tree shows

    def _load(self) -> Work[None]:
        goals = {self._goal: None}
        unopened = [self._goal]
        waiting: list[_Asked] = []
        while unopened or waiting:
            while unopened:
                for part in self._asks(unopened.pop()):
                    if isinstance(part, _Asked):
                        waiting.append(part)
                    elif part not in goals:
                        goals[part] = None
                        unopened.append(part)
                yield 1
            late, waiting = waiting, []
            for asked in late:
                found = self.read(asked.read)
                if found is None:
                    waiting.append(asked)
                    continue
                self._ids[asked.read] = sorted(one.id for one in found if self._counts(one))
                yield len(found) // 4 + 1
                for goal in self._followed(asked):
                    if goal is not None and goal not in goals:
                        goals[goal] = None
                        unopened.append(goal)
                    yield 1
            if waiting and not unopened:
                yield from self.wait()

    def _counts(self, one: Found) -> bool:
        return (one.expires_at is None or self._instant < one.expires_at) and (
            one.valid_from is None or one.valid_from <= self._instant
        )

    def _relation(self, goal: Goal) -> Relation:
        return self._schema.definitions[goal.type].relations[goal.relation]

    def _asks(self, goal: Goal) -> Iterator[_Asked | Goal]:
        parts = [self._relation(goal).rewrite]
        while parts:
            match parts.pop():
                case This():
                    yield from map(_Asked, self._reads(goal, goal.relation))
                case ComputedUserset(name):
                    yield goal._replace(relation=name)
                case TupleToUserset(tupleset, computed):
                    yield from (_Asked(read, computed) for read in self._reads(goal, tupleset))
                case Union(children) | Intersection(children):
                    parts.extend(children)
                case Exclusion(base, subtract):
                    parts += [base, subtract]

    def _reads(self, goal: Goal, name: str) -> list[SubjectsRead]:
        """What is stored in a relation of the goal's object, a read for each kind of subject."""
        kinds = subject_types(self._relation(goal._replace(relation=name)))
        return [SubjectsRead(ObjectRef(goal.type, goal.id), name, *kind) for kind in kinds]

    def _followed(self, asked: _Asked) -> Iterator[Goal | None]:
        """The goals that a read leads to; None for an object whose type has no such relation."""
        type_, follow = asked.read.subject_type, asked.follow
        if not follow:
            return
        for id_ in self._ids[asked.read]:
            if id_ != WILDCARD:
                yield Goal(type_, id_, follow) if follow in self._schema.definitions[type_].relations else None

    # Growing the tree, depth first

    def _grow(self) -> Work[Tree]:
        root: list[Tree] = []
        self._plant(self._goal, root, 0)
        while self._growing:
            growth = self._growing.pop()
            if isinstance(growth, Goal):
                del self._above[growth]
                continue
            goal, into, position, negations = growth
            into[position] = yield from self._tree(goal, negations)
        return root[0]

    def _plant(self, goal: Goal, into: list[Tree], negations: int) -> None:
        self._growing.append(_Growth(goal, into, len(into), negations))
        into.append(Leaf(ObjectRef(goal.type, goal.id), goal.relation))

    def _tree(self, goal: Goal, negations: int) -> Work[Tree]:
        resource, name = ObjectRef(goal.type, goal.id), goal.relation
        rewrite = self._relation(goal).rewrite
        if isinstance(rewrite, This):
            return (yield from self._leaf(goal))
        if goal in self._above:
            self._count(1)
            if negations > self._above[goal]:
                above = list(self._above)
                raise NegationCycle([str(each) for each in above[above.index(goal) :]])
            return Leaf(resource, name)
        self._above[goal] = negations
        self._growing.append(goal)
        children: list[Tree] = []
        for child in rewrite.children if isinstance(rewrite, Union) else (rewrite,):
            yield from self._add(child, goal, children, negations)
        self._count(1)
        return Branch(resource, name, Operation.UNION, children)

    def _leaf(self, goal: Goal) -> Work[Leaf]:
        subjects: list[SubjectRef] = []
        for read in sorted(
            self._reads(goal, goal.relation), key=lambda read: (read.subject_type, read.subject_relation)
        ):
            for id_ in self._ids[read]:
                subjects.append(SubjectRef(read.subject_type, id_, read.subject_relation))
                if not len(subjects) % 16:
                    yield 4
        subjects.sort()
        self._count(1)
        yield len(subjects) // 16 + 1
        return Leaf(ObjectRef(goal.type, goal.id), goal.relation, subjects)

    def _add(self, rewrite: Rewrite, goal: Goal, into: list[Tree], negations: int) -> Work[None]:
        """Add the tree of an operand. Recurses on the schema's depth alone."""
        resource, name = ObjectRef(goal.type, goal.id), goal.relation
        children: list[Tree] = []
        match rewrite:
            case This():
                into.append((yield from self._leaf(goal)))
                return
            case Nil():
                into.append(Leaf(resource, name))
            case SelfSubject():
                into.append(Leaf(resource, name, [SubjectRef(*resource)]))
            case ComputedUserset(computed):
                self._plant(goal._replace(relation=computed), into, negations)
                return
            case TupleToUserset(tupleset, computed, quantifier):
                yield from self._add_arrow(goal, tupleset, computed, children, negations)
                operation = Operation.INTERSECTION if quantifier == "all" else Operation.UNION
                into.append(Branch(resource, name, operation, children))
            case Union(parts) | Intersection(parts):
                for part in parts:
                    yield from self._add(part, goal, children, negations)
                operation = Operation.UNION if isinstance(rewrite, Union) else Operation.INTERSECTION
                into.append(Branch(resource, name, operation, children))
            case Exclusion(base, subtract):
                yield from self._add(base, goal, children, negations)
                yield from self._add(subtract, goal, children, negations + 1)
                into.append(Branch(resource, name, Operation.EXCLUSION, children))
            case _:
                assert_never(rewrite)
        self._count(1)

    def _add_arrow(
        self, goal: Goal, tupleset: str, computed: str, children: list[Tree], negations: int
    ) -> Work[None]:
        for read in self._reads(goal, tupleset):
            for behind in self._followed(_Asked(read, computed)):
                if behind is None:
                    self._count(1)
                    children.append(Leaf(ObjectRef(goal.type, goal.id), goal.relation))
                else:
                    self._plant(behind, children, negations)
                yield 1

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > self._nodes_max:
            raise WorkExceeded(f"the tree has more than {self._nodes_max} nodes")
