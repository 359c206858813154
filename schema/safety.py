"""What a schema change must not orphan: values that a store judges under its lock, in the transaction of the change.

Definitions, relations and subject types may go only where no stored relationship needs them. A caveat's parameters
may neither go nor change their type, whether or not a relationship uses the caveat, since stored contexts are not
rewritten and relationships naming the caveat may be on their way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from schema.check import spell_allowed
from schema.errors import ProblemKind, SchemaProblem
from schema.model import AllowedSubject, Relation, Schema


@dataclass(frozen=True, slots=True)
class MustBeUnused:
    """Relationships that must not exist for a change to be made: every field given must match, ``None`` is any.

    ``message`` and ``names`` are what a caller is told where one does, by the wire's metadata keys; ``operation`` is
    one of ``delete_object_definition``, ``delete_relation``, ``delete_relation_reverse_check`` and
    ``remove_allowed_type``.
    """

    operation: str
    message: str
    resource_type: str | None = None
    relation: str | None = None
    subject_type: str | None = None
    subject_relation: str | None = None
    wildcard: bool | None = None
    caveat_name: str | None = None
    expiration: bool | None = None
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChangeCheck:
    """What a change needs: nothing in ``refused``, and no relationship that matches one of ``unused``.

    Each of ``refused`` is a type error whose names hold the operation, ``remove_parameter`` or
    ``change_parameter_type``.
    """

    unused: tuple[MustBeUnused, ...] = ()
    refused: tuple[SchemaProblem, ...] = ()


def check_change(old: Schema, new: Schema) -> ChangeCheck:
    """What replacing ``old`` by ``new`` needs. Both are valid; neither is changed."""
    return ChangeCheck(tuple(_unused(old, new)), tuple(_refused_parameters(old, new)))


def _unused(old: Schema, new: Schema) -> Iterator[MustBeUnused]:
    for definition in old.definitions.values():
        kept = new.definitions.get(definition.name)
        if kept is None:
            yield MustBeUnused(
                "delete_object_definition",
                f"cannot delete object definition `{definition.name}`, as at least one relationship exists under it",
                resource_type=definition.name,
                names={"resource_type": definition.name, "definition_name": definition.name},
            )
            continue
        for relation in definition.relations.values():
            if relation.is_permission:
                continue
            renewed = kept.relations.get(relation.name)
            if renewed is None or renewed.is_permission:
                yield from _deleted_relation(definition.name, relation)
            else:
                yield from _removed_types(definition.name, relation, renewed)


def _deleted_relation(definition: str, relation: Relation) -> Iterator[MustBeUnused]:
    where = (
        f"cannot delete relation `{relation.name}` in object definition `{definition}`, as at least one relationship"
    )
    names = {
        "resource_type": definition,
        "relation": relation.name,
        "definition_name": definition,
        "relation_name": relation.name,
    }
    yield MustBeUnused(
        "delete_relation",
        f"{where} exists under it",
        resource_type=definition,
        relation=relation.name,
        names=names,
    )
    yield MustBeUnused(
        "delete_relation_reverse_check",
        f"{where} references it as part of a subject",
        subject_type=definition,
        subject_relation=relation.name,
        names=names,
    )


def _removed_types(definition: str, old: Relation, new: Relation) -> Iterator[MustBeUnused]:
    kept = set(new.allowed)
    for allowed in old.allowed:
        if allowed in kept:
            continue
        spelled = spell_allowed(allowed)
        yield MustBeUnused(
            "remove_allowed_type",
            f"cannot remove allowed type `{spelled}` from relation `{old.name}` in object definition `{definition}`, "
            "as a relationship exists with it",
            resource_type=definition,
            relation=old.name,
            subject_type=allowed.type,
            subject_relation=allowed.relation,
            wildcard=_wildcard(allowed),
            caveat_name=allowed.caveat,
            expiration=allowed.expiration,
            names={
                "resource_type": definition,
                "relation": old.name,
                "allowed_type": spelled,
                "definition_name": definition,
                "relation_name": old.name,
            },
        )


def _wildcard(allowed: AllowedSubject) -> bool | None:
    """A plain type may not go while its wildcard is stored either; a wildcard only concerns itself."""
    return True if allowed.wildcard else None


def _refused_parameters(old: Schema, new: Schema) -> Iterator[SchemaProblem]:
    for caveat in old.caveats.values():
        renewed = new.caveats.get(caveat.name)
        if renewed is None:
            continue
        for name, type_ in caveat.parameters.items():
            names = {"caveat_name": caveat.name, "parameter_name": name}
            if name not in renewed.parameters:
                message = f"cannot remove parameter `{name}` on caveat `{caveat.name}`"
                metadata = {**names, "operation": "remove_parameter"}
                yield SchemaProblem(ProblemKind.TYPE, "parameter-removed", message, names=metadata)
            elif renewed.parameters[name] != type_:
                message = f"cannot change the type of parameter `{name}` on caveat `{caveat.name}` from `{type_}`"
                metadata = {**names, "operation": "change_parameter_type"}
                yield SchemaProblem(ProblemKind.TYPE, "parameter-type-changed", message, names=metadata)
