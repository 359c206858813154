"""What a schema change does to answers: the relations and permissions whose meaning changes, and why.

Two expressions mean the same if they differ only in the order or repetition of what a union or intersection joins, or
in how an arrow is spelled. A meaning also changes with everything that it is computed from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from schema.check import RelationName
from schema.dependencies import direct_dependencies, reached, reversed_edges
from schema.model import (
    Caveat,
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

Effect: TypeAlias = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class MeaningChange:
    """A relation or permission that answers differently, or only exists before or after.

    ``causes`` are those written differently that it is computed from, itself perhaps among them, by name.
    """

    name: RelationName
    effect: Effect
    is_permission: bool
    causes: tuple[RelationName, ...] = ()


def changed_meanings(old: Schema, new: Schema) -> list[MeaningChange]:
    """What changes its meaning from the one schema to the other, by name."""
    before, after = _members(old), _members(new)
    rewritten = {
        name for name in before.keys() & after.keys() if _written(old, before[name]) != _written(new, after[name])
    }
    gone, made = before.keys() - after.keys(), after.keys() - before.keys()
    changes = [MeaningChange(name, "removed", before[name].is_permission) for name in gone]
    changes += [MeaningChange(name, "added", after[name].is_permission) for name in made]
    sources = {**direct_dependencies(old)}
    for name, found in direct_dependencies(new).items():
        sources[name] = tuple(dict.fromkeys((*sources.get(name, ()), *found)))
    touched = rewritten | gone | made
    for name in reached(reversed_edges(sources), touched) & before.keys() & after.keys():
        causes = tuple(sorted(reached(sources, [name]) & touched))
        changes.append(MeaningChange(name, "changed", after[name].is_permission, causes))
    return sorted(changes, key=lambda change: change.name)


def _members(schema: Schema) -> Mapping[RelationName, Relation]:
    return {
        RelationName(definition.name, relation.name): relation
        for definition in schema.definitions.values()
        for relation in definition.relations.values()
    }


def _written(schema: Schema, relation: Relation) -> Any:
    """What a relation or permission says, in a form that is equal where the meaning is."""
    allowed = frozenset((one, _caveat(schema.caveats.get(one.caveat))) for one in relation.allowed)
    return allowed, _meaning(relation.rewrite)


def _caveat(caveat: Caveat | None) -> Any:
    return caveat and (
        caveat.expression,
        tuple(sorted((name, str(type_)) for name, type_ in caveat.parameters.items())),
    )


def _meaning(rewrite: Rewrite) -> Any:
    """Recurses on the expression's depth, which the language bounds."""
    match rewrite:
        case Union(children):
            return "union", frozenset(map(_meaning, children))
        case Intersection(children):
            return "intersection", frozenset(map(_meaning, children))
        case Exclusion(base, subtract):
            return "exclusion", _meaning(base), _meaning(subtract)
        case TupleToUserset(tupleset, computed, quantifier):
            return "arrow", tupleset, computed, quantifier
        case ComputedUserset(relation):
            return "computed", relation
        case This() | Nil() | SelfSubject():
            return rewrite
