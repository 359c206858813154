"""What a resolved schema must satisfy to mean something: every name known, and every rule of the language kept.

Nothing here recurses on the schema: expressions are walked with a stack, and what must hold through several
definitions (wildcards reached, aliases) spreads along edges until nothing changes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from schema.errors import Problems, hint, quote
from schema.model import (
    AllowedSubject,
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

REWRITE_DEPTH_MAX = 100
"""Operators within one another. A chain of ``-`` nests to its left, so that parentheses alone do not bound it.
What is printed has a pair of parentheses an operator, and can be read again."""
_CYCLE_SHOWN_MAX = 8


class RelationName(NamedTuple):
    """A relation or permission by its full name."""

    definition: str
    relation: str

    def __str__(self) -> str:
        return f"{self.definition}#{self.relation}"


def check(schema: Schema, problems: Problems) -> None:
    """Note every rule that the schema breaks."""
    wildcards = wildcard_relations(schema)
    for definition in schema.definitions.values():
        for relation in definition.relations.values():
            if relation.allowed:
                _check_allowed(schema, definition, relation, wildcards, problems)
            if not isinstance(relation.rewrite, This):
                _check_rewrite(schema, definition, relation, wildcards, problems)
        _check_aliases(definition, problems)
    if not problems.found:
        _check_annotations(schema, problems)


def wildcard_relations(schema: Schema) -> set[RelationName]:
    """The relations that hold a wildcard, by their own types or through a relation of a type."""
    holders: dict[RelationName, list[RelationName]] = {}
    found: set[RelationName] = set()
    if not any(allowed.wildcard for allowed in _allowed(schema)):
        return found
    for definition in schema.definitions.values():
        for relation in definition.relations.values():
            name = RelationName(definition.name, relation.name)
            for allowed in relation.allowed:
                if allowed.wildcard:
                    found.add(name)
                elif allowed.relation:
                    holders.setdefault(RelationName(allowed.type, allowed.relation), []).append(name)
    todo = list(found)
    while todo:
        for holder in holders.get(todo.pop(), ()):
            if holder not in found:
                found.add(holder)
                todo.append(holder)
    return found


def _allowed(schema: Schema) -> Iterator[AllowedSubject]:
    for definition in schema.definitions.values():
        for relation in definition.relations.values():
            yield from relation.allowed


def _check_allowed(
    schema: Schema, definition: Definition, relation: Relation, wildcards: set[RelationName], problems: Problems
) -> None:
    names = {"definition_name": definition.name, "relation_name": relation.name}
    seen: set[AllowedSubject] = set()
    for allowed in relation.allowed:
        at = allowed.position
        if allowed in seen:
            message = f"relation `{relation.name}` already takes `{spell_allowed(allowed)}`"
            problems.type("duplicate-type", message, at, names)
        seen.add(allowed)
        if allowed.caveat and allowed.caveat not in schema.caveats:
            message = f"no caveat {quote(allowed.caveat)}{hint(allowed.caveat, schema.caveats)}"
            problems.type("unknown-caveat", message, at, {**names, "caveat_name": allowed.caveat})
        subject = schema.definitions.get(allowed.type)
        if subject is None:
            message = f"no definition {quote(allowed.type)}{hint(allowed.type, schema.definitions)}"
            problems.type("unknown-definition", message, at, {**names, "definition_name": allowed.type})
        elif allowed.relation and allowed.relation not in subject.relations:
            message = (
                f"no relation or permission {quote(allowed.relation)} on `{allowed.type}`"
                f"{hint(allowed.relation, subject.relations)}"
            )
            metadata = {"definition_name": allowed.type, "relation_or_permission_name": allowed.relation}
            problems.type("unknown-relation", message, at, metadata)
        elif allowed.type != definition.name and RelationName(allowed.type, allowed.relation) in wildcards:
            message = (
                f"`{allowed.type}#{allowed.relation}` may hold a wildcard, directly or through its own types, "
                f"so it cannot be a subject of `{definition.name}#{relation.name}`"
            )
            problems.type("transitive-wildcard", message, at, names)


def leaves(rewrite: Rewrite) -> Iterator[Rewrite]:
    """The parts of an expression that are no operators, from left to right."""
    todo = [rewrite]
    while todo:
        one = todo.pop()
        if isinstance(one, Union | Intersection):
            todo.extend(reversed(one.children))
        elif isinstance(one, Exclusion):
            todo.extend((one.subtract, one.base))
        else:
            yield one


def rewrite_depth(rewrite: Rewrite) -> int:
    """How many operators stand within one another, a leaf counted as one."""
    deepest, todo = 0, [(rewrite, 1)]
    while todo:
        one, depth = todo.pop()
        deepest = max(deepest, depth)
        if isinstance(one, Union | Intersection):
            todo.extend((child, depth + 1) for child in one.children)
        elif isinstance(one, Exclusion):
            todo.extend(((one.base, depth + 1), (one.subtract, depth + 1)))
    return deepest


def _check_rewrite(
    schema: Schema, definition: Definition, relation: Relation, wildcards: set[RelationName], problems: Problems
) -> None:
    names = {"definition_name": definition.name, "permission_name": relation.name}
    if rewrite_depth(relation.rewrite) > REWRITE_DEPTH_MAX:
        message = f"permission `{relation.name}` nests more than {REWRITE_DEPTH_MAX} operators in one another"
        problems.parse("nested-too-deep", message, relation.position, names)
        return
    for leaf in leaves(relation.rewrite):
        match leaf:
            case ComputedUserset(name, position) if name not in definition.relations:
                problems.type(
                    "unknown-relation",
                    f"no relation or permission {quote(name)} on `{definition.name}`"
                    f"{hint(name, definition.relations)}",
                    position,
                    {"definition_name": definition.name, "relation_or_permission_name": name},
                )
            case TupleToUserset():
                _check_arrow(definition, leaf, wildcards, problems, names)
            case ComputedUserset() | This() | Nil() | SelfSubject():
                pass
            case _:
                raise AssertionError(leaf)


def _check_arrow(
    definition: Definition,
    arrow: TupleToUserset,
    wildcards: set[RelationName],
    problems: Problems,
    names: Mapping[str, str],
) -> None:
    tupleset = definition.relations.get(arrow.tupleset)
    metadata = {**names, "relation_name": arrow.tupleset}
    if tupleset is None:
        message = (
            f"no relation {quote(arrow.tupleset)} on `{definition.name}` for an arrow to follow"
            f"{hint(arrow.tupleset, definition.relations)}"
        )
        metadata = {"definition_name": definition.name, "relation_or_permission_name": arrow.tupleset}
        problems.type("unknown-relation", message, arrow.position, metadata)
    elif tupleset.is_permission:
        message = f"`{arrow.tupleset}` is a permission, and an arrow follows relations alone"
        problems.type("arrow-from-permission", message, arrow.position, metadata)
    elif RelationName(definition.name, arrow.tupleset) in wildcards:
        message = (
            f"relation `{arrow.tupleset}` may hold a wildcard, directly or through a relation of its subjects, "
            "and an arrow cannot follow everybody"
        )
        problems.type("arrow-from-wildcard", message, arrow.position, metadata)


def _check_aliases(definition: Definition, problems: Problems) -> None:
    """Refuse permissions that are nothing but each other."""
    aliases = {
        relation.name: relation.rewrite.relation
        for relation in definition.relations.values()
        if isinstance(relation.rewrite, ComputedUserset)
    }
    settled: set[str] = set()
    for name in aliases:
        path: dict[str, None] = {}
        at = name
        while at in aliases and at not in settled and at not in path:
            path[at] = None
            at = aliases[at]
        if at in path:
            members = list(path)
            cycle = members[members.index(at) :]
            shown = [*cycle, cycle[0]] if len(cycle) < _CYCLE_SHOWN_MAX else [*cycle[:_CYCLE_SHOWN_MAX], "…"]
            message = f"permissions are nothing but each other: `{' = '.join(shown)}`"
            position = definition.relations[cycle[0]].position
            names = {"definition_name": definition.name, "permission_name": cycle[0]}
            problems.type("permission-cycle", message, position, names)
        settled.update(path)


def spell_allowed(allowed: AllowedSubject) -> str:
    """One entry of a relation's subject types as the language writes it."""
    text = allowed.type
    if allowed.wildcard:
        text += ":*"
    elif allowed.relation:
        text += f"#{allowed.relation}"
    traits = [allowed.caveat] if allowed.caveat else []
    if allowed.expiration:
        traits.append("expiration")
    return f"{text} with {' and '.join(traits)}" if traits else text


def reachable_types(schema: Schema) -> Mapping[RelationName, frozenset[str]]:
    """For each relation and permission the types of objects that can be subjects of it, usersets walked through.

    Every part of an expression counts, also what an exclusion takes away.
    """
    types: dict[RelationName, set[str]] = {}
    parents: dict[RelationName, list[RelationName]] = {}
    for definition in schema.definitions.values():
        for relation in definition.relations.values():
            name = RelationName(definition.name, relation.name)
            types[name] = set()
            for source in _sources(schema, definition, relation):
                if isinstance(source, str):
                    types[name].add(source)
                else:
                    parents.setdefault(source, []).append(name)
    todo = [name for name, found in types.items() if found]
    while todo:
        name = todo.pop()
        for parent in parents.get(name, ()):
            if not types[name] <= types[parent]:
                types[parent] |= types[name]
                todo.append(parent)
    return {name: frozenset(found) for name, found in types.items()}


def _sources(schema: Schema, definition: Definition, relation: Relation) -> Iterable[str | RelationName]:
    """What the subjects of a relation or permission come from: types, and other relations."""
    for allowed in relation.allowed:
        yield RelationName(allowed.type, allowed.relation) if allowed.relation else allowed.type
    for leaf in leaves(relation.rewrite):
        if isinstance(leaf, ComputedUserset):
            yield RelationName(definition.name, leaf.relation)
        elif isinstance(leaf, SelfSubject):
            yield definition.name
        elif isinstance(leaf, TupleToUserset):
            for allowed in definition.relations[leaf.tupleset].allowed:
                if leaf.computed in schema.definitions[allowed.type].relations:
                    yield RelationName(allowed.type, leaf.computed)


def _check_annotations(schema: Schema, problems: Problems) -> None:
    if not any(one.annotation for definition in schema.definitions.values() for one in definition.relations.values()):
        return
    reachable = reachable_types(schema)
    for definition in schema.definitions.values():
        for relation in definition.relations.values():
            if not relation.annotation:
                continue
            held = reachable[RelationName(definition.name, relation.name)]
            undeclared = sorted(held.difference(relation.annotation))
            if undeclared:
                missing = ", ".join(f"`{type_}`" for type_ in undeclared)
                message = f"permission `{relation.name}` can also hold {missing}, which its annotation leaves out"
                names = {"definition_name": definition.name, "permission_name": relation.name}
                problems.type("annotation-too-narrow", message, relation.position, names)
