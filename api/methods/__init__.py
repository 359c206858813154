"""The v1 API's methods over the decision point, the same for HTTP and gRPC.

A method takes a `Call` and its request message, and gives its response message, or an async iterator of batches of
them. What goes wrong is raised as what it is; `api.statuses` says what the caller is told.
"""

from authzed.api.v1 import (
    experimental_service_pb2,
    permission_service_pb2,
    schema_service_pb2,
    watch_service_pb2,
)

from api.methods import bulk, counters, expand, lookups, permissions, relationships, schema, watch
from api.methods.beyond import BEYOND
from api.methods.call import Beyond, Call, Collecting, Extended, Method, Response, Streaming, Unary, method
from api.methods.deprecated import alias

__all__ = [
    "BEYOND",
    "METHODS",
    "Beyond",
    "Call",
    "Collecting",
    "Extended",
    "Method",
    "Response",
    "Streaming",
    "Unary",
]

_PERMISSIONS = permission_service_pb2.DESCRIPTOR.services_by_name["PermissionsService"]
_SCHEMA = schema_service_pb2.DESCRIPTOR.services_by_name["SchemaService"]
_WATCH = watch_service_pb2.DESCRIPTOR.services_by_name["WatchService"]
_EXPERIMENTAL = experimental_service_pb2.DESCRIPTOR.services_by_name["ExperimentalService"]

_CHECK_BULK = method(
    _PERMISSIONS,
    "CheckBulkPermissions",
    "/v1/permissions/checkbulk",
    "permissions:check",
    "Many checks at one revision, each with its answer or its error.",
    permissions.check_bulk_permissions,
)
_IMPORT = method(
    _PERMISSIONS,
    "ImportBulkRelationships",
    "/v1/relationships/importbulk",
    "relationships:write",
    "Create a stream of relationships, all or none of them.",
    bulk.import_bulk,
)
_EXPORT = method(
    _PERMISSIONS,
    "ExportBulkRelationships",
    "/v1/relationships/exportbulk",
    "relationships:read",
    "All relationships of a snapshot.",
    bulk.export_bulk,
)
_REFLECT = method(
    _SCHEMA,
    "ReflectSchema",
    "/v1/schema/reflectschema",
    "schema:read",
    "The schema's parts.",
    schema.reflect_schema,
)
_DIFF = method(
    _SCHEMA,
    "DiffSchema",
    "/v1/schema/diffschema",
    "schema:read",
    "How another schema differs from the stored one.",
    schema.diff_schema,
)
_COMPUTABLE = method(
    _SCHEMA,
    "ComputablePermissions",
    "/v1/schema/permissions/computable",
    "schema:read",
    "What is computed from a relation or a type.",
    schema.computable_permissions,
)
_DEPENDENT = method(
    _SCHEMA,
    "DependentRelations",
    "/v1/schema/permissions/dependent",
    "schema:read",
    "What a permission is computed from.",
    schema.dependent_relations,
)

METHODS: tuple[Method, ...] = (
    method(
        _PERMISSIONS,
        "CheckPermission",
        "/v1/permissions/check",
        "permissions:check",
        "Has a subject a permission on a resource?",
        permissions.check_permission,
    ),
    _CHECK_BULK,
    method(
        _PERMISSIONS,
        "ExpandPermissionTree",
        "/v1/permissions/expand",
        "permissions:check",
        "The sets of subjects that a permission is made of.",
        expand.expand_permission_tree,
    ),
    method(
        _PERMISSIONS,
        "LookupResources",
        "/v1/permissions/resources",
        "permissions:check",
        "Resources on which a subject has a permission.",
        lookups.lookup_resources_stream,
    ),
    method(
        _PERMISSIONS,
        "LookupSubjects",
        "/v1/permissions/subjects",
        "permissions:check",
        "Subjects that have a permission on a resource.",
        lookups.lookup_subjects_stream,
    ),
    method(
        _PERMISSIONS,
        "WriteRelationships",
        "/v1/relationships/write",
        "relationships:write",
        "Create, touch and delete relationships, all or none of them.",
        relationships.write_relationships,
    ),
    method(
        _PERMISSIONS,
        "ReadRelationships",
        "/v1/relationships/read",
        "relationships:read",
        "Relationships that match a filter.",
        relationships.read_relationships,
    ),
    method(
        _PERMISSIONS,
        "DeleteRelationships",
        "/v1/relationships/delete",
        "relationships:write",
        "Delete the relationships that match a filter.",
        relationships.delete_relationships,
    ),
    _IMPORT,
    _EXPORT,
    method(
        _SCHEMA,
        "WriteSchema",
        "/v1/schema/write",
        "schema:write",
        "Replace the schema.",
        schema.write_schema,
    ),
    method(
        _SCHEMA,
        "ReadSchema",
        "/v1/schema/read",
        "schema:read",
        "The newest schema.",
        schema.read_schema,
    ),
    _REFLECT,
    _DIFF,
    _COMPUTABLE,
    _DEPENDENT,
    method(
        _WATCH,
        "Watch",
        "/v1/watch",
        "watch",
        "Changes as they are written, without end.",
        watch.watch,
    ),
    method(
        _EXPERIMENTAL,
        "ExperimentalRegisterRelationshipCounter",
        "/v1/experimental/registerrelationshipcounter",
        "relationships:write",
        "Keep a filter under a name, to be counted.",
        counters.register,
    ),
    method(
        _EXPERIMENTAL,
        "ExperimentalCountRelationships",
        "/v1/experimental/countrelationships",
        "relationships:read",
        "How many relationships match a counter's filter.",
        counters.count,
    ),
    method(
        _EXPERIMENTAL,
        "ExperimentalUnregisterRelationshipCounter",
        "/v1/experimental/unregisterrelationshipcounter",
        "relationships:write",
        "Forget a counter.",
        counters.unregister,
    ),
    alias(_IMPORT, _EXPERIMENTAL, "BulkImportRelationships", "/v1/experimental/relationships/bulkimport"),
    alias(_EXPORT, _EXPERIMENTAL, "BulkExportRelationships", "/v1/experimental/relationships/bulkexport"),
    alias(_CHECK_BULK, _EXPERIMENTAL, "BulkCheckPermission", "/v1/experimental/permissions/bulkcheckpermission"),
    alias(_REFLECT, _EXPERIMENTAL, "ExperimentalReflectSchema", "/v1/experimental/reflectschema"),
    alias(_COMPUTABLE, _EXPERIMENTAL, "ExperimentalComputablePermissions", "/v1/experimental/permissions/computable"),
    alias(_DEPENDENT, _EXPERIMENTAL, "ExperimentalDependentRelations", "/v1/experimental/permissions/dependent"),
    alias(_DIFF, _EXPERIMENTAL, "ExperimentalDiffSchema", "/v1/experimental/diffschema"),
)
