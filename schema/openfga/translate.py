"""From a checked `Document` to a `Schema`, and where it can be said, on to the text of our language.

A relation keeps its one name though it may be both assigned and computed: its rewrite then contains `This`. Our
language has no such relations, so that writing a model in it moves what is assigned to a relation of its own
(`split_assigned`), and stored tuples with it.
"""

from collections.abc import Mapping
from dataclasses import replace

from schema.cel import CheckedCaveat, check_caveat
from schema.errors import Names, Problems
from schema.model import (
    Caveat,
    ComputedUserset,
    Definition,
    Exclusion,
    Intersection,
    Position,
    Relation,
    Rewrite,
    Schema,
    This,
    Union,
)
from schema.openfga.document import ConditionNode, Document
from schema.printing import NotExpressible, print_schema


def to_schema(document: Document, problems: Problems) -> Schema:
    """The values that a model means, its conditions compiled; problems are noted."""
    definitions = {
        type_.name: Definition(
            type_.name,
            {
                one.name: Relation(one.name, one.rewrite, one.restrictions, position=one.position)
                for one in type_.relations
            },
            position=type_.position,
        )
        for type_ in document.types
    }
    caveats = {one.name: _caveat(one, problems) for one in document.conditions}
    return Schema(definitions, caveats)


def _caveat(condition: ConditionNode, problems: Problems) -> Caveat:
    parameters = {one.name: one.type for one in condition.parameters}
    caveat = Caveat(condition.name, parameters, condition.expression, position=condition.position, dialect="openfga")
    checked = check_caveat(caveat)
    if isinstance(checked, CheckedCaveat):
        limits = checked.limits
        return replace(
            caveat,
            checked=checked.serialized,
            bytes_max=limits.bytes,
            elements_max=limits.elements,
            repeats_max=limits.repeats,
        )
    for fault in checked:
        names: Names = {"caveat_name": condition.name}
        position = _place(problems, condition.expression_position or condition.position, fault.line, fault.column)
        problems.type("invalid-condition", f"condition `{condition.name}`: {fault.message}", position, names)
    return caveat


def _place(problems: Problems, expression: Position, line: int, column: int) -> Position:
    """Where in the text an expression's fault is; the whole expression where it says nothing."""
    if not line or not expression.line:
        return expression
    source = problems.source_of(expression)
    start = source.offset(expression.line, expression.column)
    return source.within(start, line, column)


def print_model(schema: Schema, *, split: bool = False) -> str:
    """An imported model in our language.

    Raises:
        NotExpressible: a relation is both assigned and computed, and is not to be split.
        SchemaError: a name or a condition is not one of our language's.
    """
    if split:
        schema = split_assigned(schema)
    for definition in schema.definitions.values():
        for relation in definition.relations.values():
            if relation.allowed and not isinstance(relation.rewrite, This):
                raise NotExpressible(definition.name, relation.name)
    return print_schema(schema)


def split_assigned(schema: Schema) -> Schema:
    """The schema with what is assigned to a computed relation in a relation ``direct_…`` beside it."""
    definitions = {}
    for definition in schema.definitions.values():
        relations: dict[str, Relation] = {}
        for relation in definition.relations.values():
            if not relation.allowed or isinstance(relation.rewrite, This):
                relations[relation.name] = relation
                continue
            direct = _fresh(f"direct_{relation.name}", {**definition.relations, **relations})
            relations[direct] = Relation(direct, This(), relation.allowed, position=relation.position)
            rewrite = _with_direct(relation.rewrite, ComputedUserset(direct))
            relations[relation.name] = replace(relation, rewrite=rewrite, allowed=())
        definitions[definition.name] = replace(definition, relations=relations)
    return replace(schema, definitions=definitions)


def _fresh(name: str, taken: Mapping[str, object]) -> str:
    while name in taken:
        name = f"{name}_2"
    return name


def _with_direct(rewrite: Rewrite, direct: Rewrite) -> Rewrite:
    """The rewrite with ``direct`` for what is assigned. Recurses on its depth, which the rules bound."""
    match rewrite:
        case This():
            return direct
        case Union(children):
            return Union(tuple(_with_direct(child, direct) for child in children))
        case Intersection(children):
            return Intersection(tuple(_with_direct(child, direct) for child in children))
        case Exclusion(base, subtract):
            return Exclusion(_with_direct(base, direct), _with_direct(subtract, direct))
        case _:
            return rewrite
