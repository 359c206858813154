"""Renaming a definition, a relation or a permission everywhere in a schema, so that its data can move along.

Both give the schema as it reads afterwards; the relationships to rewrite are those whose type or relation, on either
side, has the old name.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from schema.errors import hint, quote
from schema.model import (
    ComputedUserset,
    Definition,
    Exclusion,
    Intersection,
    Relation,
    Rewrite,
    Schema,
    TupleToUserset,
    Union,
)
from schema.names import definition_name_fault, relation_name_fault


class CannotRename(Exception):
    """The rename would not keep every meaning, or its names are not fit."""


def rename_definition(schema: Schema, old: str, new: str) -> Schema:
    """The schema with a definition under another name.

    Raises:
        CannotRename: there is no such definition, or the new name is taken or no name.
    """
    if old not in schema.definitions:
        raise CannotRename(f"no definition {quote(old)}{hint(old, schema.definitions)}")
    fault = definition_name_fault(new)
    if fault:
        raise CannotRename(fault)
    if new in schema.definitions or new in schema.caveats:
        raise CannotRename(f"{quote(new)} is already the name of a definition or caveat")

    def renamed(relation: Relation) -> Relation:
        return replace(
            relation,
            allowed=tuple(replace(one, type=new) if one.type == old else one for one in relation.allowed),
            annotation=tuple(new if one == old else one for one in relation.annotation),
        )

    definitions = {
        (new if name == old else name): replace(
            definition,
            name=new if name == old else name,
            relations={member: renamed(relation) for member, relation in definition.relations.items()},
        )
        for name, definition in schema.definitions.items()
    }
    return replace(schema, definitions=definitions)


def rename_relation(schema: Schema, definition: str, old: str, new: str) -> Schema:
    """The schema with a relation or permission of a definition under another name.

    Raises:
        CannotRename: there is no such relation, the new name is taken or no name, or an arrow reaches the old name
            on other definitions too and so cannot follow.
    """
    owner = schema.definitions.get(definition)
    if owner is None:
        raise CannotRename(f"no definition {quote(definition)}{hint(definition, schema.definitions)}")
    if old not in owner.relations:
        message = f"no relation or permission {quote(old)} on `{definition}`{hint(old, owner.relations)}"
        raise CannotRename(message)
    fault = relation_name_fault(new, "permission" if owner.relations[old].is_permission else "relation")
    if fault:
        raise CannotRename(fault)
    if new in owner.relations:
        raise CannotRename(f"{quote(new)} is already a relation or permission of `{definition}`")

    def member(holder: Definition, relation: Relation) -> Relation:
        allowed = tuple(
            replace(one, relation=new) if (one.type, one.relation) == (definition, old) else one
            for one in relation.allowed
        )
        rewrite = _mapped(relation.rewrite, lambda leaf: _leaf(schema, holder, leaf, definition, old, new))
        return replace(relation, allowed=allowed, rewrite=rewrite)

    definitions = {}
    for name, holder in schema.definitions.items():
        relations: dict[str, Relation] = {}
        for relation in holder.relations.values():
            found = member(holder, relation)
            if name == definition and relation.name == old:
                found = replace(found, name=new)
            relations[found.name] = found
        definitions[name] = replace(holder, relations=relations)
    return replace(schema, definitions=definitions)


def _leaf(schema: Schema, holder: Definition, leaf: Rewrite, definition: str, old: str, new: str) -> Rewrite:
    here = holder.name == definition
    match leaf:
        case ComputedUserset(relation) if here and relation == old:
            return replace(leaf, relation=new)
        case TupleToUserset(tupleset, computed):
            if computed == old:
                computed = _target(schema.definitions, holder, leaf, definition, new)
            return replace(leaf, tupleset=new if here and tupleset == old else tupleset, computed=computed)
        case _:
            return leaf


def _target(
    definitions: Mapping[str, Definition], holder: Definition, arrow: TupleToUserset, definition: str, new: str
) -> str:
    """What an arrow to the old name is to reach: one name, whatever the types it walks to."""
    walked = {one.type for one in holder.relations[arrow.tupleset].allowed}
    if definition not in walked:
        return arrow.computed
    others = sorted(
        type_ for type_ in walked - {definition} if {arrow.computed, new} & definitions[type_].relations.keys()
    )
    if others:
        raise CannotRename(
            f"the arrow `{arrow.tupleset}->{arrow.computed}` on `{holder.name}` also reaches `{others[0]}`, "
            "and cannot follow one rename alone"
        )
    return new


def _mapped(rewrite: Rewrite, leaf: Callable[[Rewrite], Rewrite]) -> Rewrite:
    """The expression with each leaf replaced. Recurses on its depth, which the language bounds."""
    match rewrite:
        case Union(children):
            return Union(tuple(_mapped(child, leaf) for child in children))
        case Intersection(children):
            return Intersection(tuple(_mapped(child, leaf) for child in children))
        case Exclusion(base, subtract):
            return Exclusion(_mapped(base, leaf), _mapped(subtract, leaf))
        case _:
            return leaf(rewrite)
