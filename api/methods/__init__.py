"""The v1 API's methods over the decision point, the same for HTTP and gRPC.

A method takes a `Call` and its request message, and gives its response message, or an async iterator of them. What
goes wrong is raised as what it is; `api.statuses` says what the caller is told.
"""

from authzed.api.v1 import permission_service_pb2 as permissions_pb
from authzed.api.v1 import schema_service_pb2 as schema_pb

from api.methods.call import Call, Method, Streaming, Unary
from api.methods.permissions import check_permission
from api.methods.relationships import read_relationships, write_relationships
from api.methods.schema import read_schema, write_schema

__all__ = ["METHODS", "Call", "Method", "Streaming", "Unary"]

_PERMISSIONS = "authzed.api.v1.PermissionsService"
_SCHEMA = "authzed.api.v1.SchemaService"

METHODS: tuple[Unary | Streaming, ...] = (
    Unary(
        _PERMISSIONS,
        "CheckPermission",
        "/v1/permissions/check",
        "permissions:check",
        permissions_pb.CheckPermissionRequest,
        permissions_pb.CheckPermissionResponse,
        "Has a subject a permission on a resource?",
        check_permission,
    ),
    Unary(
        _PERMISSIONS,
        "WriteRelationships",
        "/v1/relationships/write",
        "relationships:write",
        permissions_pb.WriteRelationshipsRequest,
        permissions_pb.WriteRelationshipsResponse,
        "Create, touch and delete relationships, all or none of them.",
        write_relationships,
    ),
    Streaming(
        _PERMISSIONS,
        "ReadRelationships",
        "/v1/relationships/read",
        "relationships:read",
        permissions_pb.ReadRelationshipsRequest,
        permissions_pb.ReadRelationshipsResponse,
        "Relationships that match a filter.",
        read_relationships,
    ),
    Unary(
        _SCHEMA,
        "WriteSchema",
        "/v1/schema/write",
        "schema:write",
        schema_pb.WriteSchemaRequest,
        schema_pb.WriteSchemaResponse,
        "Replace the schema.",
        write_schema,
    ),
    Unary(
        _SCHEMA,
        "ReadSchema",
        "/v1/schema/read",
        "schema:read",
        schema_pb.ReadSchemaRequest,
        schema_pb.ReadSchemaResponse,
        "The newest schema.",
        read_schema,
    ),
)
