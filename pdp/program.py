"""A schema, prepared for evaluation: each relation's rewrite as a rule over the slots of the graph.

A *slot* is one entry of a relation's subject types, traits aside: ``document#viewer`` holds users in one slot
and ``group#member`` in another. Rules name the slots they read, so that an evaluation asks only for relationships
that can matter, and tell for each which subjects can ever be found behind it, so that it does not walk where the
subject it looks for cannot be.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, assert_never

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


class RelationKey(NamedTuple):
    """A relation or permission of a definition."""

    type: str
    relation: str


class SubjectType(NamedTuple):
    """A kind of subject: objects of a type, or its usersets of one relation."""

    type: str
    relation: str = ""


@dataclass(frozen=True, slots=True)
class DirectRule:
    """Subjects stored in a relation: ``terminals`` are matched, ``usersets`` are walked into.

    ``wildcards`` are the types of which ``type:*`` may be stored.
    """

    relation: str
    terminals: frozenset[SubjectType]
    wildcards: frozenset[str]
    usersets: tuple[SubjectType, ...]


@dataclass(frozen=True, slots=True)
class ComputedRule:
    """The same resource's other relation."""

    relation: str


@dataclass(frozen=True, slots=True)
class ArrowRule:
    """``computed`` on each object in the slots of ``tupleset``; ``targetless`` slots hold types without it."""

    tupleset: str
    computed: str
    every: bool
    slots: tuple[SubjectType, ...]
    targetless: tuple[SubjectType, ...]


@dataclass(frozen=True, slots=True)
class SelfRule:
    """The resource itself."""


@dataclass(frozen=True, slots=True)
class AnyRule:
    """At least one of the children; none is nobody."""

    children: tuple["Rule", ...]


@dataclass(frozen=True, slots=True)
class AllRule:
    """Every child."""

    children: tuple["Rule", ...]


@dataclass(frozen=True, slots=True)
class ButNotRule:
    """The base, unless subtracted."""

    base: "Rule"
    subtract: "Rule"


Rule: TypeAlias = DirectRule | ComputedRule | ArrowRule | SelfRule | AnyRule | AllRule | ButNotRule


@dataclass(frozen=True, slots=True)
class Program:
    """Every rule of a schema, and for each the kinds of subject that it can ever hold.

    ``reach`` over-approximates: exclusions and intersections are taken as the union of their parts. A wildcard of a
    type counts as that type. A userset holds itself, so each relation reaches its own `SubjectType`.
    """

    schema: Schema
    rules: Mapping[RelationKey, Rule]
    reach: Mapping[RelationKey, frozenset[SubjectType]]


def compile_program(schema: Schema) -> Program:
    """Prepare a resolved schema. Linear in the schema but for ``reach``, which is a fixpoint over it."""
    rules = {
        RelationKey(definition.name, relation.name): _rule(schema, definition.name, relation, relation.rewrite)
        for definition in schema.definitions.values()
        for relation in definition.relations.values()
    }
    return Program(schema, rules, _reach(rules))


def subject_types(relation: Relation) -> tuple[SubjectType, ...]:
    """The distinct slots of a relation, in written order, ``type:*`` counted as ``type``."""
    return tuple(dict.fromkeys(SubjectType(a.type, a.relation) for a in relation.allowed))


def _rule(schema: Schema, type_: str, relation: Relation, rewrite: Rewrite) -> Rule:
    match rewrite:
        case This():
            slots = subject_types(relation)
            return DirectRule(
                relation.name,
                frozenset(slots),
                frozenset(a.type for a in relation.allowed if a.wildcard),
                tuple(slot for slot in slots if slot.relation),
            )
        case ComputedUserset(name):
            return ComputedRule(name)
        case TupleToUserset(tupleset, computed, quantifier):
            slots = subject_types(schema.definitions[type_].relations[tupleset])
            have = [slot for slot in slots if computed in schema.definitions[slot.type].relations]
            lack = [slot for slot in slots if slot not in have]
            return ArrowRule(tupleset, computed, quantifier == "all", tuple(have), tuple(lack))
        case Union(children):
            return AnyRule(tuple(_rule(schema, type_, relation, child) for child in children))
        case Intersection(children):
            return AllRule(tuple(_rule(schema, type_, relation, child) for child in children))
        case Exclusion(base, subtract):
            return ButNotRule(_rule(schema, type_, relation, base), _rule(schema, type_, relation, subtract))
        case SelfSubject():
            return SelfRule()
        case Nil():
            return AnyRule(())
        case _:
            assert_never(rewrite)


def _reach(rules: Mapping[RelationKey, Rule]) -> dict[RelationKey, frozenset[SubjectType]]:
    """The least sets closed under the rules: what is held directly, and all that is held by what is walked into."""
    held: dict[RelationKey, set[SubjectType]] = {}
    walked_from: dict[RelationKey, set[RelationKey]] = {key: set() for key in rules}
    for key, rule in rules.items():
        here, walks = _holds_and_walks(key, rule)
        held[key] = here | {SubjectType(*key)}
        for target in walks:
            walked_from[target].add(key)
    stale = set(rules)
    while stale:
        target = stale.pop()
        for key in walked_from[target]:
            if not held[target] <= held[key]:
                held[key] |= held[target]
                stale.add(key)
    return {key: frozenset(kinds) for key, kinds in held.items()}


def _holds_and_walks(key: RelationKey, rule: Rule) -> tuple[set[SubjectType], set[RelationKey]]:
    holds: set[SubjectType] = set()
    walks: set[RelationKey] = set()
    parts = [rule]
    while parts:
        match parts.pop():
            case DirectRule(_, terminals, _, usersets):
                holds |= terminals
                walks |= {RelationKey(*userset) for userset in usersets}
            case ComputedRule(relation):
                walks.add(RelationKey(key.type, relation))
            case ArrowRule(_, computed, _, slots, _):
                walks |= {RelationKey(slot.type, computed) for slot in slots}
            case SelfRule():
                holds.add(SubjectType(key.type))
            case AnyRule(children) | AllRule(children):
                parts.extend(children)
            case ButNotRule(base, subtract):
                parts += [base, subtract]
    return holds, walks
