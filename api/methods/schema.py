"""The schema: SchemaService's reading, writing, reflecting and comparing."""

import asyncio
from collections.abc import Iterable

from authzed.api.v1 import permission_service_pb2
from authzed.api.v1 import schema_service_pb2 as pb

from api.convert import invalid, to_consistency, zookie
from api.methods import reflection
from api.methods.call import Call
from api.statuses import ApiError, Code, Status
from pdp.errors import SchemaMissing, UnknownDefinition
from pdp.names import definition, relation
from pdp.relationships import Revision
from schema.check import RelationName
from schema.compile import read_schema as read_text
from schema.dependencies import computable_permissions as computable
from schema.dependencies import dependent_relations as dependent
from schema.diff import diff_schemas
from schema.model import Schema
from schema.printing import print_schema
from schema.reflect import InvalidFilter, ReflectionFilter, reflect


async def write_schema(call: Call, request: pb.WriteSchemaRequest) -> pb.WriteSchemaResponse:
    """WriteSchema."""
    revision = await call.store.write_schema(request.schema)
    call.facts.update(revision=revision)
    return pb.WriteSchemaResponse(written_at=zookie(call.store.store, revision))


async def read_schema(call: Call, request: pb.ReadSchemaRequest) -> pb.ReadSchemaResponse:
    """ReadSchema: the newest schema, printed canonically."""
    del request
    follower = call.store.follower
    head = await follower.head()
    await follower.catch_up(head)
    schema = (await follower.schema(head)).program.schema
    if not schema.definitions and not schema.caveats:
        raise SchemaMissing
    call.facts.update(revision=head)
    return pb.ReadSchemaResponse(schema_text=print_schema(schema), read_at=zookie(call.store.store, head))


async def _schema(call: Call, consistency: permission_service_pb2.Consistency) -> tuple[Schema, Revision]:
    """The schema that was current at the revision asked for; an empty one where there was none."""
    revision = await call.store.revision(to_consistency(call.store.store, consistency))
    call.facts.update(revision=revision)
    return (await call.store.follower.schema(revision)).program.schema, revision


async def reflect_schema(call: Call, request: pb.ReflectSchemaRequest) -> pb.ReflectSchemaResponse:
    """ReflectSchema."""
    schema, revision = await _schema(call, request.consistency)
    filters = [
        ReflectionFilter(
            one.optional_definition_name_filter,
            one.optional_caveat_name_filter,
            one.optional_relation_name_filter,
            one.optional_permission_name_filter,
        )
        for one in request.optional_filters
    ]
    try:
        found = reflect(schema, filters)
    except InvalidFilter as error:
        text = " ".join(" ".join(str(one).split()) for one in request.optional_filters)
        raise invalid(str(error), "INVALID_FILTER", filter=text) from error
    return pb.ReflectSchemaResponse(
        definitions=[reflection.definition(one) for one in found.definitions],
        caveats=[reflection.caveat(one) for one in found.caveats],
        read_at=zookie(call.store.store, revision),
    )


async def diff_schema(call: Call, request: pb.DiffSchemaRequest) -> pb.DiffSchemaResponse:
    """DiffSchema: what is different in the schema given; it must read, but need not mean anything."""
    schema, revision = await _schema(call, request.consistency)
    other = await asyncio.to_thread(read_text, request.comparison_schema)
    return pb.DiffSchemaResponse(
        diffs=[reflection.difference(one) for one in diff_schemas(schema, other)],
        read_at=zookie(call.store.store, revision),
    )


async def computable_permissions(
    call: Call, request: pb.ComputablePermissionsRequest
) -> pb.ComputablePermissionsResponse:
    """ComputablePermissions: what may be computed from a relation, or has objects of a type as subjects."""
    schema, revision = await _schema(call, request.consistency)
    _defined(schema, request.definition_name)
    if request.relation_name:
        relation(schema, request.definition_name, request.relation_name)
    prefix = request.optional_definition_name_filter
    found = computable(schema, request.definition_name, request.relation_name, definition_prefix=prefix)
    return pb.ComputablePermissionsResponse(
        permissions=_references(schema, found), read_at=zookie(call.store.store, revision)
    )


async def dependent_relations(call: Call, request: pb.DependentRelationsRequest) -> pb.DependentRelationsResponse:
    """DependentRelations: what a permission is computed from."""
    schema, revision = await _schema(call, request.consistency)
    definition_name, permission_name = request.definition_name, request.permission_name
    _defined(schema, definition_name)
    if not relation(schema, definition_name, permission_name).is_permission:
        raise ApiError(
            Status(
                Code.INVALID_ARGUMENT,
                f"`{definition_name}#{permission_name}` is not a permission",
                "UNKNOWN_RELATION_OR_PERMISSION",
                {"definition_name": definition_name, "relationName": permission_name},
            )
        )
    found = dependent(schema, definition_name, permission_name)
    return pb.DependentRelationsResponse(
        relations=_references(schema, found), read_at=zookie(call.store.store, revision)
    )


def _defined(schema: Schema, name: str) -> None:
    """Here an unknown definition is a type error of the schema."""
    try:
        definition(schema, name)
    except UnknownDefinition as error:
        status = Status(Code.FAILED_PRECONDITION, str(error), "SCHEMA_TYPE_ERROR", {"definition_name": name})
        raise ApiError(status) from error


def _references(schema: Schema, found: Iterable[RelationName]) -> list[pb.ReflectionRelationReference]:
    return [
        pb.ReflectionRelationReference(
            definition_name=type_,
            relation_name=name,
            is_permission=schema.definitions[type_].relations[name].is_permission,
        )
        for type_, name in found
    ]
