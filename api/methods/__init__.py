"""The v1 API's methods over the decision point, the same for HTTP and gRPC.

A method takes a `Call` and its request message, and gives its response message, or an async iterator of them. What
goes wrong is raised as what it is; `api.statuses` says what the caller is told.
"""

from authzed.api.v1 import permission_service_pb2, schema_service_pb2

from api.methods.call import Call, Collecting, Method, Streaming, Unary, method
from api.methods.permissions import check_permission
from api.methods.relationships import read_relationships, write_relationships
from api.methods.schema import read_schema, write_schema

__all__ = ["METHODS", "Call", "Collecting", "Method", "Streaming", "Unary"]

_PERMISSIONS = permission_service_pb2.DESCRIPTOR.services_by_name["PermissionsService"]
_SCHEMA = schema_service_pb2.DESCRIPTOR.services_by_name["SchemaService"]

METHODS: tuple[Method, ...] = (
    method(
        _PERMISSIONS,
        "CheckPermission",
        "/v1/permissions/check",
        "permissions:check",
        "Has a subject a permission on a resource?",
        check_permission,
    ),
    method(
        _PERMISSIONS,
        "WriteRelationships",
        "/v1/relationships/write",
        "relationships:write",
        "Create, touch and delete relationships, all or none of them.",
        write_relationships,
    ),
    method(
        _PERMISSIONS,
        "ReadRelationships",
        "/v1/relationships/read",
        "relationships:read",
        "Relationships that match a filter.",
        read_relationships,
    ),
    method(
        _SCHEMA,
        "WriteSchema",
        "/v1/schema/write",
        "schema:write",
        "Replace the schema.",
        write_schema,
    ),
    method(
        _SCHEMA,
        "ReadSchema",
        "/v1/schema/read",
        "schema:read",
        "The newest schema.",
        read_schema,
    ),
)
