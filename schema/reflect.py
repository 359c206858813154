"""A schema's parts, chosen by filters, for those who show or generate something from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from schema.model import Caveat, Definition, Relation, Schema


class InvalidFilter(Exception):
    """A filter that asks for two things at once, or for a relation of no definition."""


@dataclass(frozen=True, slots=True)
class ReflectionFilter:
    """Prefixes of names; ``""`` is any. Only one of relation and permission, and only of a definition."""

    definition: str = ""
    caveat: str = ""
    relation: str = ""
    permission: str = ""


@dataclass(frozen=True, slots=True)
class ReflectedDefinition:
    """A definition with those of its relations and permissions that were asked for, in written order."""

    definition: Definition
    relations: tuple[Relation, ...]
    permissions: tuple[Relation, ...]


@dataclass(frozen=True, slots=True)
class Reflection:
    """Definitions and caveats by name."""

    definitions: tuple[ReflectedDefinition, ...]
    caveats: tuple[Caveat, ...]


def reflect(schema: Schema, filters: Sequence[ReflectionFilter] = ()) -> Reflection:
    """What any of the filters asks for; without filters, everything. An empty filter among others asks for nothing.

    Raises:
        InvalidFilter: a filter contradicts itself.
    """
    for one in filters:
        _check(one)
    definitions = (_definition(schema.definitions[name], filters) for name in sorted(schema.definitions))
    caveats = (schema.caveats[name] for name in sorted(schema.caveats))
    return Reflection(
        tuple(one for one in definitions if one is not None),
        tuple(
            one for one in caveats if not filters or any(f.caveat and one.name.startswith(f.caveat) for f in filters)
        ),
    )


def _check(one: ReflectionFilter) -> None:
    if one.definition and one.caveat:
        raise InvalidFilter("cannot filter by both definition and caveat name")
    if one.relation and one.permission:
        raise InvalidFilter("cannot filter by both relation and permission name")
    if (one.relation or one.permission) and not one.definition:
        kind = "relation" if one.relation else "permission"
        raise InvalidFilter(f"a {kind} name filter needs a definition name filter")


def _definition(definition: Definition, filters: Sequence[ReflectionFilter]) -> ReflectedDefinition | None:
    if filters:
        filters = [one for one in filters if one.definition and definition.name.startswith(one.definition)]
        if not filters:
            return None
    members = definition.relations.values()
    return ReflectedDefinition(
        definition,
        tuple(m for m in members if not m.is_permission and _wanted(m, [one.relation for one in filters])),
        tuple(m for m in members if m.is_permission and _wanted(m, [one.permission for one in filters])),
    )


def _wanted(member: Relation, prefixes: Sequence[str]) -> bool:
    return not prefixes or any(member.name.startswith(prefix) for prefix in prefixes)
