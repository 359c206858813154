"""A schema's parts as SchemaService shows them."""

from authzed.api.v1 import schema_service_pb2 as pb

from schema.diff import Difference, DifferenceKind
from schema.model import AllowedSubject, Caveat, CaveatType, Definition, Relation
from schema.reflect import ReflectedDefinition


def definition(found: ReflectedDefinition) -> pb.ReflectionDefinition:
    """A definition with the relations and permissions that were asked for."""
    name = found.definition.name
    return pb.ReflectionDefinition(
        name=name,
        comment=found.definition.comment,
        relations=[relation(name, one) for one in found.relations],
        permissions=[permission(name, one) for one in found.permissions],
    )


def relation(parent: str, found: Relation) -> pb.ReflectionRelation:
    """A relation with its subject types; that one expires does not show."""
    return pb.ReflectionRelation(
        name=found.name,
        comment=found.comment,
        parent_definition_name=parent,
        subject_types=[subject_type(one) for one in found.allowed],
    )


def subject_type(allowed: AllowedSubject) -> pb.ReflectionTypeReference:
    """One of a relation's subject types."""
    found = pb.ReflectionTypeReference(subject_definition_name=allowed.type, optional_caveat_name=allowed.caveat)
    if allowed.wildcard:
        found.is_public_wildcard = True
    elif allowed.relation:
        found.optional_relation_name = allowed.relation
    else:
        found.is_terminal_subject = True
    return found


def permission(parent: str, found: Relation) -> pb.ReflectionPermission:
    """A permission."""
    return pb.ReflectionPermission(name=found.name, comment=found.comment, parent_definition_name=parent)


def caveat(found: Caveat) -> pb.ReflectionCaveat:
    """A caveat, its parameters by name."""
    return pb.ReflectionCaveat(
        name=found.name,
        comment=found.comment,
        parameters=[parameter(found.name, name, found.parameters[name]) for name in sorted(found.parameters)],
        expression=found.expression,
    )


def parameter(parent: str, name: str, type_: CaveatType | None) -> pb.ReflectionCaveatParameter:
    """A caveat's parameter."""
    return pb.ReflectionCaveatParameter(name=name, type=str(type_), parent_caveat_name=parent)


def difference(found: Difference) -> pb.ReflectionSchemaDiff:
    """One difference; the kind's value is the name of its field."""
    diff = pb.ReflectionSchemaDiff()
    getattr(diff, found.kind.value).CopyFrom(_shown(found))
    return diff


def _shown(
    found: Difference,
) -> (
    pb.ReflectionDefinition
    | pb.ReflectionRelation
    | pb.ReflectionRelationSubjectTypeChange
    | pb.ReflectionPermission
    | pb.ReflectionCaveat
    | pb.ReflectionCaveatParameter
    | pb.ReflectionCaveatParameterTypeChange
):
    match found:
        case Difference(caveat=Caveat() as of) if found.parameter:
            changed = parameter(of.name, found.parameter, found.parameter_type)
            if found.kind is DifferenceKind.CAVEAT_PARAMETER_TYPE_CHANGED:
                previous = str(found.previous_type)
                return pb.ReflectionCaveatParameterTypeChange(parameter=changed, previous_type=previous)
            return changed
        case Difference(caveat=Caveat() as of):
            return caveat(of)
        case Difference(definition=Definition() as of, relation=Relation() as member):
            if member.is_permission:
                return permission(of.name, member)
            shown = relation(of.name, member)
            if found.subject is not None:
                changed_type = subject_type(found.subject)
                return pb.ReflectionRelationSubjectTypeChange(relation=shown, changed_subject_type=changed_type)
            return shown
        case Difference(definition=Definition() as of):
            return definition(whole(of))
        case _:
            raise TypeError(f"a difference of nothing: {found}")


def whole(found: Definition) -> ReflectedDefinition:
    """A definition with all its relations and permissions."""
    members = found.relations.values()
    return ReflectedDefinition(
        found,
        tuple(one for one in members if not one.is_permission),
        tuple(one for one in members if one.is_permission),
    )
