"""The tree that expanding a permission draws, said slowly; beside the oracle, and sharing no code with the engine.

* A relation is a leaf of its stored subjects, usersets and ``*`` among them and not followed.
* A permission is a union around its rewrite, of one child where the rewrite is no union itself.
* Each operator in a rewrite is a branch that repeats the permission's object and name; ``nil`` is an empty leaf and
  ``self`` a leaf of the object. A name is the tree of that relation or permission.
* An arrow is a union, with ``.all()`` an intersection, of one child for each subject of its tupleset: the target's
  tree on that subject's object, or an empty leaf of the permission where the type has no such target.

Where a tree would contain itself it ends in an empty leaf instead: nobody is a member by being a member. Inside
what is subtracted that would be a paradox, and there is no tree.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from pdp.relationships import WILDCARD, Instant, ObjectRef, Relationship, SubjectRef
from schema import model
from schema.model import Rewrite, Schema
from tests.oracle import HAS, LACKS, Verdict

UNION, INTERSECTION, EXCLUSION = "union", "intersection", "exclusion"


class Leaf(NamedTuple):
    """Subjects, sorted."""

    object: ObjectRef
    relation: str
    subjects: tuple[SubjectRef, ...] = ()


class Branch(NamedTuple):
    """Children joined; sorted, but for an exclusion, which is the first less the second."""

    object: ObjectRef
    relation: str
    operation: str
    children: tuple["Tree", ...]


Tree: TypeAlias = Leaf | Branch


class ParadoxError(Exception):
    """The tree contains itself inside what it subtracts."""


class Drawing:
    """Trees over one schema and one set of relationships at one instant."""

    def __init__(self, schema: Schema, relationships: Iterable[Relationship], *, instant: Instant) -> None:
        self._schema = schema
        self._stored = [each for each in relationships if each.counts_at(instant)]
        self._inside: dict[tuple[ObjectRef, str], int] = {}
        self._subtractions = 0

    def draw(self, object_: ObjectRef, relation: str) -> Tree:
        """The tree of a relation or permission. Raises `ParadoxError`."""
        if (object_, relation) in self._inside:
            if self._inside[object_, relation] != self._subtractions:
                raise ParadoxError
            return Leaf(object_, relation)
        self._inside[object_, relation] = self._subtractions
        try:
            rewrite = self._schema.definitions[object_.type].relations[relation].rewrite
            if isinstance(rewrite, model.This):
                return self._part(object_, relation, rewrite)
            parts = rewrite.children if isinstance(rewrite, model.Union) else (rewrite,)
            return self._branch(object_, relation, UNION, parts)
        finally:
            del self._inside[object_, relation]

    def _branch(self, object_: ObjectRef, relation: str, operation: str, parts: Iterable[Rewrite]) -> Tree:
        return branch(object_, relation, operation, [self._part(object_, relation, part) for part in parts])

    def _part(self, object_: ObjectRef, relation: str, rewrite: Rewrite) -> Tree:
        match rewrite:
            case model.This():
                return Leaf(object_, relation, tuple(sorted(self._subjects(object_, relation))))
            case model.Nil():
                return Leaf(object_, relation)
            case model.SelfSubject():
                return Leaf(object_, relation, (SubjectRef(*object_),))
            case model.ComputedUserset(name):
                return self.draw(object_, name)
            case model.TupleToUserset(tupleset, computed, quantifier):
                found = [each for each in self._subjects(object_, tupleset) if each.id != WILDCARD]
                children = [
                    self.draw(ObjectRef(each.type, each.id), computed)
                    if computed in self._schema.definitions[each.type].relations
                    else Leaf(object_, relation)
                    for each in found
                ]
                return branch(object_, relation, UNION if quantifier == "any" else INTERSECTION, children)
            case model.Union(children):
                return self._branch(object_, relation, UNION, children)
            case model.Intersection(children):
                return self._branch(object_, relation, INTERSECTION, children)
            case model.Exclusion(base, subtract):
                kept = self._part(object_, relation, base)
                self._subtractions += 1
                try:
                    return branch(object_, relation, EXCLUSION, [kept, self._part(object_, relation, subtract)])
                finally:
                    self._subtractions -= 1

    def _subjects(self, object_: ObjectRef, relation: str) -> list[SubjectRef]:
        return [each.subject for each in self._stored if (each.resource, each.relation) == (object_, relation)]


def branch(object_: ObjectRef, relation: str, operation: str, children: Sequence[Tree]) -> Branch:
    """A branch with its children in their order here."""
    ordered = children if operation == EXCLUSION else sorted(children, key=repr)
    return Branch(object_, relation, operation, tuple(ordered))


def holds(tree: Tree, subject: SubjectRef, ask: Callable[[SubjectRef], Verdict]) -> bool:
    """Whether a tree's sets, joined as it says, contain an object; ``ask`` tells whether a userset does.

    Usersets that are undecided are for the caller to keep away.
    """
    match tree:
        case Leaf(_, _, subjects):
            covering = (subject, SubjectRef(subject.type, WILDCARD))
            if any(each in covering for each in subjects):
                return True
            answers = [ask(each) for each in subjects if each.relation]
            assert set(answers) <= {HAS, LACKS}
            return HAS in answers
        case Branch(_, _, operation, children):
            held = [holds(child, subject, ask) for child in children]
            if operation == UNION:
                return any(held)
            if operation == INTERSECTION:
                return bool(held) and all(held)
            return held[0] and not any(held[1:])
