"""What depends on what: which relations a permission is computed from, and which permissions a relation reaches.

A permission depends on the relations that its expression names, an arrow's on both sides; a relation on the usersets
that may be its subjects. Both questions are walks over the same edges, in one direction or the other.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from schema.check import RelationName, leaves
from schema.model import ComputedUserset, Definition, Relation, Schema, TupleToUserset


def direct_dependencies(schema: Schema) -> Mapping[RelationName, tuple[RelationName, ...]]:
    """For each relation and permission those that its answer is made of, one step away."""
    return {
        RelationName(definition.name, relation.name): tuple(dict.fromkeys(_sources(schema, definition, relation)))
        for definition in schema.definitions.values()
        for relation in definition.relations.values()
    }


def dependent_relations(schema: Schema, definition: str, permission: str) -> list[RelationName]:
    """Everything that a permission, which exists, is computed from, at whatever remove; by name, itself left out."""
    start = RelationName(definition, permission)
    return sorted(reached(direct_dependencies(schema), [start]) - {start})


def computable_permissions(
    schema: Schema, definition: str, relation: str = "", *, definition_prefix: str = ""
) -> list[RelationName]:
    """Everything that may be computed from a relation, which exists; by name, itself left out.

    ``relation`` ``""`` asks for what objects of the type can be subjects of. ``definition_prefix`` keeps only
    definitions whose names begin so.
    """
    edges = reversed_edges(direct_dependencies(schema))
    if relation:
        start = RelationName(definition, relation)
        found = reached(edges, [start]) - {start}
    else:
        found = reached(edges, _taking(schema, definition))
    return sorted(name for name in found if name.definition.startswith(definition_prefix))


def reversed_edges(edges: Mapping[RelationName, Iterable[RelationName]]) -> Mapping[RelationName, list[RelationName]]:
    """The same edges, from what is used to what uses it."""
    reverse: dict[RelationName, list[RelationName]] = {}
    for name, sources in edges.items():
        for source in sources:
            reverse.setdefault(source, []).append(name)
    return reverse


def reached(
    edges: Mapping[RelationName, Iterable[RelationName]], starts: Iterable[RelationName]
) -> set[RelationName]:
    """The starts, and all that can be reached from them."""
    found = set(starts)
    todo = deque(found)
    while todo:
        for name in edges.get(todo.popleft(), ()):
            if name not in found:
                found.add(name)
                todo.append(name)
    return found


def _taking(schema: Schema, type_: str) -> Iterator[RelationName]:
    """Relations whose subjects may be objects of the type, by name or by wildcard."""
    for definition in schema.definitions.values():
        for relation in definition.relations.values():
            if any(allowed.type == type_ and not allowed.relation for allowed in relation.allowed):
                yield RelationName(definition.name, relation.name)


def _sources(schema: Schema, definition: Definition, relation: Relation) -> Iterator[RelationName]:
    for allowed in relation.allowed:
        if allowed.relation:
            yield RelationName(allowed.type, allowed.relation)
    for leaf in leaves(relation.rewrite):
        match leaf:
            case ComputedUserset(name):
                yield RelationName(definition.name, name)
            case TupleToUserset(tupleset, computed):
                yield RelationName(definition.name, tupleset)
                for allowed in definition.relations[tupleset].allowed:
                    if computed in schema.definitions[allowed.type].relations:
                        yield RelationName(allowed.type, computed)
            case _:
                pass
