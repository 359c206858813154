"""Hypothesis strategies: well-typed schemas, relationships that fit them, histories of writes, caveats' verdicts.

Pools are small (four types, the same few member names on all of them, two ids a type), so that arrows have targets
and cycles, overlaps and shared groups are the rule: what breaks an engine breaks it within three objects.

A schema made here keeps every rule of the language that a compiler checks, so it is refused by nobody: no wildcard
where an arrow starts or behind another definition's subject relation, no permissions that are aliases of each other
in a circle, unions and intersections flat.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pdp.relationships import Instant, ObjectRef, Operation, Relationship, SubjectRef, Update
from schema.compile import compile_schema
from schema.model import (
    AllowedSubject,
    Caveat,
    ComputedUserset,
    Definition,
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
from tests.oracle import FAILED, HAS, LACKS, Valuation, Verdict, conditional

TYPES = ("user", "group", "folder", "document")
RELATIONS = ("member", "parent", "banned")
PERMISSIONS = ("view", "edit", "share")
IDS = ("one", "two")

NOW = Instant(10)
INSTANTS = (Instant(5), NOW, Instant(15))
"""Around now: what expires or begins at exactly now is the interesting case."""

FAR = Instant(1_000)

CAVEATS: Mapping[str, Caveat] = compile_schema("""
    caveat quota(limit int, used int) { used <= limit }
    caveat office(inside bool) { inside }
""").caveats
CONTEXTS: Mapping[str, tuple[str, ...]] = {"quota": ("", '{"limit":1}', '{"limit":2}'), "office": ("",)}

Leaf: TypeAlias = tuple[str, str]
"""A caveat as a relationship names it: name and stored context."""

Verdicts: TypeAlias = Mapping[Leaf, Verdict]

LEAVES: tuple[Leaf, ...] = tuple((name, context) for name, contexts in CONTEXTS.items() for context in contexts)

_Candidate: TypeAlias = tuple[str, str, bool]
_TRAITS = (("", False), ("", False), ("quota", False), ("office", False), ("", True), ("quota", True))


def examples(count: int) -> settings:
    """Settings for ``count`` examples, or for as many as a profile asks for that is not Hypothesis' own."""
    profile = settings()
    more = profile.max_examples > settings.get_profile("default").max_examples
    return settings(
        max_examples=max(count, profile.max_examples) if more else count,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


# Schemas


@st.composite
def schemas(
    draw: st.DrawFn,
    *,
    types: Sequence[str] = (),
    imported: bool = False,
    caveats: bool = True,
    expiration: bool = True,
    negation: bool = True,
) -> Schema:
    """Well-typed schemas of one to four definitions, or of those named.

    With ``imported`` a relation may also have a rewrite beside its stored subjects, as in models that were not
    written in our language, and wildcards may stand anywhere but where an arrow starts; such a schema cannot be
    printed. Without ``negation`` nothing is ever subtracted.
    """
    types = types or TYPES[: draw(st.sampled_from((2, 2, 2, 3, 3, 1, 4)))]
    each_max = 3 if len(types) <= 2 else 2  # every subject is asked about everything, so size counts twice
    relations = {type_: RELATIONS[: draw(st.integers(1, each_max))] for type_ in types}
    if len(types) > 1 and draw(st.integers(0, 3)):
        relations["user"] = ()
    permissions = {
        type_: PERMISSIONS[: draw(st.integers(0, each_max))] if relations[type_] else () for type_ in types
    }

    candidates: list[_Candidate] = [
        *((type_, "", False) for type_ in (*types, types[0])),
        *((type_, "", True) for type_ in types),
        *((type_, name, False) for type_ in types for name in (*relations[type_], *permissions[type_])),
    ]
    traits = [
        (caveat, expires) for caveat, expires in _TRAITS if (caveats or not caveat) and (expiration or not expires)
    ]
    allowed = {
        (type_, relation): _allowed(draw, candidates, traits) for type_ in types for relation in relations[type_]
    }
    if not imported:
        _close_to_wildcards(allowed)

    anywhere = tuple(sorted({name for type_ in types for name in (*relations[type_], *permissions[type_])}))
    definitions = {}
    for type_ in types:
        scope = _Scope(
            own=(*relations[type_], *permissions[type_]),
            tuplesets=tuple(
                relation for relation in relations[type_] if not _has_wildcard(allowed, (type_, relation))
            ),
            anywhere=anywhere,
            negation=negation,
        )
        own = {relation: Relation(relation, This(), allowed[type_, relation]) for relation in relations[type_]}
        for permission in permissions[type_]:
            rewrite = _rewrite(draw, scope)
            if isinstance(rewrite, ComputedUserset) and rewrite.relation not in own:
                rewrite = ComputedUserset(draw(st.sampled_from(tuple(own))))
            own[permission] = Relation(permission, rewrite)
        if imported:
            _mix(draw, scope, own)
        definitions[type_] = Definition(type_, own)
    return Schema(definitions, CAVEATS if caveats else {})


def _allowed(
    draw: st.DrawFn, candidates: Sequence[_Candidate], traits: Sequence[tuple[str, bool]]
) -> tuple[AllowedSubject, ...]:
    entries = draw(
        st.lists(st.tuples(st.sampled_from(candidates), st.sampled_from(traits)), min_size=1, max_size=3, unique=True)
    )
    return tuple(
        AllowedSubject(type_, relation, wildcard, caveat, expiration)
        for (type_, relation, wildcard), (caveat, expiration) in entries
    )


def _close_to_wildcards(allowed: dict[tuple[str, str], tuple[AllowedSubject, ...]]) -> None:
    """Take out usersets of another definition's relation that leads to a wildcard."""
    for (type_, relation), entries in list(allowed.items()):
        kept = tuple(
            entry
            for entry in entries
            if not (entry.relation and entry.type != type_ and _has_wildcard(allowed, (entry.type, entry.relation)))
        )
        allowed[type_, relation] = kept or (AllowedSubject(type_),)


def _has_wildcard(
    allowed: Mapping[tuple[str, str], Sequence[AllowedSubject]],
    member: tuple[str, str],
    seen: frozenset[tuple[str, str]] = frozenset(),
) -> bool:
    return member not in seen and any(
        entry.wildcard or _has_wildcard(allowed, (entry.type, entry.relation), seen | {member})
        for entry in allowed.get(member, ())
    )


class _Scope(NamedTuple):
    """The names that a definition's rewrites can use."""

    own: tuple[str, ...]
    tuplesets: tuple[str, ...]
    anywhere: tuple[str, ...]
    negation: bool


_LEAVES = ("computed",) * 5 + ("arrow",) * 4 + ("nil", "self")
_ARROWS: tuple[tuple[Literal["any", "all"], bool], ...] = (("any", False), ("any", True), ("all", True))
_OPERATORS = ("union", "intersection", "exclusion")


def _rewrite(draw: st.DrawFn, scope: _Scope, depth: int = 2) -> Rewrite:
    kinds = (*_LEAVES, *(_OPERATORS * depth * 2))
    match draw(st.sampled_from(kinds)):
        case "nil":
            return Nil()
        case "self":
            return SelfSubject()
        case "arrow" if scope.tuplesets:
            tupleset, computed = draw(st.sampled_from(scope.tuplesets)), draw(st.sampled_from(scope.anywhere))
            quantifier, function_style = draw(st.sampled_from(_ARROWS))
            return TupleToUserset(tupleset, computed, quantifier, function_style)
        case "exclusion" if scope.negation:
            return Exclusion(_rewrite(draw, scope, depth - 1), _rewrite(draw, scope, depth - 1))
        case "union" | "intersection" as operator:
            children = [_rewrite(draw, scope, depth - 1) for _ in range(draw(st.sampled_from((2, 2, 2, 3))))]
            return _union(children) if operator == "union" else _intersection(children)
        case _:
            return ComputedUserset(draw(st.sampled_from(scope.own)))


def _union(children: Sequence[Rewrite]) -> Rewrite:
    return Union(
        tuple(leaf for child in children for leaf in (child.children if isinstance(child, Union) else (child,)))
    )


def _intersection(children: Sequence[Rewrite]) -> Rewrite:
    return Intersection(
        tuple(
            leaf for child in children for leaf in (child.children if isinstance(child, Intersection) else (child,))
        )
    )


def _mix(draw: st.DrawFn, scope: _Scope, own: dict[str, Relation]) -> None:
    """Give relations that no arrow of the definition starts from a rewrite beside what is stored in them."""
    arrows = {tupleset for relation in own.values() for tupleset in _tuplesets(relation.rewrite)}
    for name in (name for name, relation in own.items() if relation.allowed and name not in arrows):
        if draw(st.booleans()):
            starts = tuple(tupleset for tupleset in scope.tuplesets if tupleset in arrows)
            beside = _rewrite(draw, scope._replace(tuplesets=starts))
            shapes: list[Rewrite] = [This(), _union([This(), beside]), _intersection([This(), beside])]
            if scope.negation:
                shapes += [Exclusion(This(), beside), Exclusion(beside, This())]
            own[name] = Relation(name, draw(st.sampled_from(shapes)), own[name].allowed)


def _tuplesets(rewrite: Rewrite) -> set[str]:
    match rewrite:
        case TupleToUserset(tupleset):
            return {tupleset}
        case Union(children) | Intersection(children):
            return set[str]().union(*map(_tuplesets, children))
        case Exclusion(base, subtract):
            return _tuplesets(base) | _tuplesets(subtract)
        case _:
            return set()


# Relationships


@st.composite
def relationships(
    draw: st.DrawFn, schema: Schema, *, ids: Sequence[str] = IDS, draws: int = 12
) -> list[Relationship]:
    """Relationships that the schema allows, no two with one identity.

    As many as ``draws``, fewer where one is drawn twice: so Hypothesis makes them many and shrinks them to few.
    """
    one = relationship(schema, ids=ids)
    drawn = [draw(one) for _ in range(draws)]
    return list({each.identity: each for each in drawn}.values())


@st.composite
def relationship(draw: st.DrawFn, schema: Schema, *, ids: Sequence[str] = IDS) -> Relationship:
    """One relationship that the schema allows."""
    type_, relation, entry = draw(st.sampled_from(_kinds(schema)))
    id_ = st.sampled_from(ids)
    return Relationship(
        type_,
        draw(id_),
        relation,
        entry.type,
        "*" if entry.wildcard else draw(id_),
        entry.relation,
        entry.caveat,
        draw(st.sampled_from(CONTEXTS[entry.caveat])) if entry.caveat else "",
        draw(st.sampled_from((FAR, *INSTANTS))) if entry.expiration else None,
        draw(st.sampled_from((None, None, None, *INSTANTS))) if entry.expiration else None,
    )


def _kinds(schema: Schema) -> list[tuple[str, str, AllowedSubject]]:
    return [
        (definition.name, relation.name, entry)
        for definition in schema.definitions.values()
        for relation in definition.relations.values()
        for entry in relation.allowed
    ]


def histories(schema: Schema, *, transactions_max: int = 6) -> st.SearchStrategy[list[list[Update]]]:
    """Transactions of TOUCH and DELETE, each relationship at most once in a transaction, ids often met again."""
    update = st.builds(
        Update, st.sampled_from((Operation.TOUCH, Operation.TOUCH, Operation.DELETE)), relationship(schema)
    )
    transaction = st.lists(update, min_size=1, max_size=5, unique_by=lambda each: each.relationship.identity)
    return st.lists(transaction, max_size=transactions_max)


def written(transactions: Sequence[Sequence[Update]]) -> list[Relationship]:
    """What is stored when all transactions have been written, in order."""
    stored: dict[tuple[str, ...], Relationship] = {}
    for transaction in transactions:
        for update in transaction:
            stored.pop(update.relationship.identity, None)
            if update.operation is not Operation.DELETE:
                stored[update.relationship.identity] = update.relationship
    return list(stored.values())


# Questions


def caveat_verdicts() -> st.SearchStrategy[Verdicts]:
    """A verdict for each caveat as relationships can name it."""
    verdict = st.sampled_from(
        (HAS, LACKS, conditional("used"), conditional("inside"), conditional("limit", "used"), FAILED)
    )
    return st.fixed_dictionaries(dict.fromkeys(LEAVES, verdict))


def read_verdict(verdicts: Verdicts) -> Valuation:
    """The same for the oracle, which asks by relationship."""
    return lambda relationship: verdicts[relationship.caveat_name, relationship.caveat_context]


def resources(schema: Schema, *, ids: Sequence[str] = IDS) -> list[tuple[ObjectRef, str]]:
    """Every relation and permission on every object."""
    return [
        (ObjectRef(definition.name, id_), relation)
        for definition in schema.definitions.values()
        for id_ in ids
        for relation in definition.relations
    ]


def subjects(schema: Schema, *, ids: Sequence[str] = IDS) -> list[SubjectRef]:
    """Every object and every userset, and one object that no relationship names of each type with a wildcard."""
    return [
        *(
            SubjectRef(definition.name, id_, relation)
            for definition in schema.definitions.values()
            for relation in ("", *definition.relations)
            for id_ in ids
        ),
        *sorted({SubjectRef(entry.type, "unheard_of") for _, _, entry in _kinds(schema) if entry.wildcard}),
    ]
