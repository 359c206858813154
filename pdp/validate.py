"""Relationships and filters, held against the schema before they reach a store."""

import json
from collections.abc import Iterable

from pdp.caveats import caveats_of
from pdp.errors import CannotUpdatePermission, DuplicateUpdate, InvalidFilter, InvalidSubjectType, NothingStored
from pdp.names import definition, near, relation
from pdp.relationships import WILDCARD, Operation, Relationship, RelationshipFilter, Update
from schema.model import AllowedSubject, Relation, Schema

RESOURCE_IDS_MAX = 100
"""Resource ids in one filter: each is a range of the index of its own."""


def check_updates(schema: Schema, updates: Iterable[Update]) -> None:
    """Hold the updates of one request against the schema, deletions too (their caveats and times do not matter).

    Raises:
        DuplicateUpdate: two are of the same relationship.
        UnknownDefinition, UnknownRelation: a name is not there.
        CannotUpdatePermission: a permission is named where a relation belongs.
        InvalidSubjectType: the relation does not take such subjects.
        CaveatParameterInvalid: a context does not fit its caveat's parameters.
    """
    seen = set()
    for update in updates:
        relationship = update.relationship
        if relationship.identity in seen:
            raise DuplicateUpdate(relationship)
        seen.add(relationship.identity)
        check_relationship(schema, relationship, traits=update.operation is not Operation.DELETE)


def check_relationship(schema: Schema, relationship: Relationship, *, traits: bool = True) -> None:
    """Hold one relationship against the schema; without ``traits`` caveat and expiration are not looked at.

    Raises:
        UnknownDefinition, UnknownRelation, CannotUpdatePermission, InvalidSubjectType: as `check_updates`.
        CaveatParameterInvalid: its context does not fit the caveat's parameters.
    """
    found = check_relation(schema, relationship.resource_type, relationship.relation)
    definition(schema, relationship.subject_type)
    if relationship.subject_relation:
        relation(schema, relationship.subject_type, relationship.subject_relation)
    if not any(_allows(entry, relationship, traits) for entry in found.allowed):
        spelled = spell(_wanted(relationship, traits))
        raise InvalidSubjectType(
            relationship.resource_type, relationship.relation, spelled, _nearest(found, relationship, spelled)
        )
    if traits and relationship.caveat_context:
        caveats_of(schema).get(relationship.caveat_name).check_stored(json.loads(relationship.caveat_context))


def check_relation(schema: Schema, type_: str, name: str) -> Relation:
    """The relation of that name, to which relationships can be written.

    Raises:
        UnknownDefinition, UnknownRelation: a name is not there.
        CannotUpdatePermission: it is a permission.
    """
    found = relation(schema, type_, name)
    if found.is_permission:
        raise CannotUpdatePermission(type_, name)
    return found


def check_contextual(schema: Schema, relationships: Iterable[Relationship]) -> None:
    """Hold a question's contextual relationships against the schema, as if they were to be written.

    Raises what `check_updates` raises.
    """
    check_updates(schema, (Update(Operation.TOUCH, relationship) for relationship in relationships))


def _allows(entry: AllowedSubject, relationship: Relationship, traits: bool) -> bool:
    return (
        entry.type == relationship.subject_type
        and entry.relation == relationship.subject_relation
        and entry.wildcard == (relationship.subject_id == WILDCARD)
        and (
            not traits
            or (
                entry.caveat == relationship.caveat_name and entry.expiration == (relationship.expires_at is not None)
            )
        )
    )


def _wanted(relationship: Relationship, traits: bool) -> AllowedSubject:
    return AllowedSubject(
        relationship.subject_type,
        relationship.subject_relation,
        relationship.subject_id == WILDCARD,
        relationship.caveat_name if traits else "",
        traits and relationship.expires_at is not None,
    )


def spell(entry: AllowedSubject) -> str:
    """A subject type as the language writes it, such as ``user:* with office_hours and expiration``."""
    text = entry.type
    if entry.wildcard:
        text += ":*"
    elif entry.relation:
        text += f"#{entry.relation}"
    traits = [entry.caveat] if entry.caveat else []
    if entry.expiration:
        traits.append("expiration")
    return f"{text} with {' and '.join(traits)}" if traits else text


def _nearest(found: Relation, relationship: Relationship, spelled: str) -> str | None:
    same_type = [spell(entry) for entry in found.allowed if entry.type == relationship.subject_type]
    return same_type[0] if len(same_type) == 1 else near(spelled, [spell(entry) for entry in found.allowed])


def check_filter(schema: Schema, filter_: RelationshipFilter, *, stored: bool = False) -> None:
    """Hold a filter against its bounds and the schema; with ``stored`` its relation must be one that is stored.

    Raises:
        InvalidFilter: it has too many ids, or ids and a prefix.
        UnknownDefinition, UnknownRelation: a name is not there.
        NothingStored: with ``stored``, it is a permission.
    """
    if len(filter_.resource_ids) > RESOURCE_IDS_MAX:
        raise InvalidFilter(f"more than {RESOURCE_IDS_MAX} resource ids", filter_)
    if filter_.resource_ids and filter_.resource_id_prefix is not None:
        raise InvalidFilter("resource ids and a prefix of resource ids exclude each other", filter_)
    if filter_.resource_type is not None:
        definition(schema, filter_.resource_type)
        if filter_.relation is not None:
            found = relation(schema, filter_.resource_type, filter_.relation)
            if stored and found.is_permission:
                raise NothingStored(filter_.resource_type, filter_.relation)
    subject = filter_.subject
    if subject is not None:
        definition(schema, subject.type)
        if subject.relation:
            relation(schema, subject.type, subject.relation)
