"""Names in a question, held against the schema before anything is evaluated: an unknown one is an error, not a no."""

from collections.abc import Iterable
from difflib import get_close_matches

from pdp.errors import UnknownDefinition, UnknownRelation, WildcardNotAllowed
from pdp.relationships import WILDCARD, SubjectRef
from schema.model import Definition, Relation, Schema


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name most like a mistaken one, if any is."""
    return next(iter(get_close_matches(name, list(known), n=1)), None)


def definition(schema: Schema, name: str) -> Definition:
    """The definition of that name.

    Raises:
        UnknownDefinition: there is none.
    """
    found = schema.definitions.get(name)
    if found is None:
        raise UnknownDefinition(name, near(name, schema.definitions))
    return found


def relation(schema: Schema, type_: str, name: str) -> Relation:
    """The relation or permission of that name.

    Raises:
        UnknownDefinition: there is no such definition.
        UnknownRelation: the definition has none of that name.
    """
    relations = definition(schema, type_).relations
    found = relations.get(name)
    if found is None:
        raise UnknownRelation(type_, name, near(name, relations))
    return found


def check_names(
    schema: Schema, resource_type: str, permission: str, subject_type: str, subject_relation: str
) -> None:
    """Hold a question's names against the schema.

    Raises:
        UnknownDefinition, UnknownRelation: a name is not there.
    """
    relation(schema, resource_type, permission)
    definition(schema, subject_type)
    if subject_relation:
        relation(schema, subject_type, subject_relation)


def check_goal(schema: Schema, resource_type: str, permission: str, subject: SubjectRef) -> None:
    """Hold a question against the schema; ids are never unknown.

    Raises:
        UnknownDefinition, UnknownRelation: a name is not there.
        WildcardNotAllowed: the subject is ``type:*``.
    """
    check_names(schema, resource_type, permission, subject.type, subject.relation)
    if subject.id == WILDCARD:
        raise WildcardNotAllowed("subject.object_id")
