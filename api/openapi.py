"""The OpenAPI document's part for the v1 API, made from the messages themselves."""

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from api.methods import Method, Streaming
from api.protojson import is_map

_WELL_KNOWN: Mapping[str, dict[str, Any]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "examples": ["1.5s"]},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}},
}
_SCALARS: Mapping[int, dict[str, Any]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "format": "byte"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number"},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptor.TYPE_INT32: {"type": "integer"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0},
}
_STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "details": {"type": "array", "items": {"type": "object"}},
    },
}
_ERRORS: Mapping[str, str] = {
    "400": "The request is not valid, or names what the schema does not have.",
    "401": "There is no credential, or it is not good.",
    "403": "The credential does not allow this.",
    "404": "There is no such store, or no schema.",
    "409": "It is there already, or another write was faster.",
    "413": "The body is too large.",
    "429": "A limit was reached.",
    "500": "An error of ours.",
    "501": "Not offered here.",
    "503": "The database cannot be reached; try again after `Retry-After`.",
    "504": "The answer took too long.",
}


def v1_paths(methods: Iterable[Method]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Path items and component schemas of the methods."""
    schemas: dict[str, Any] = {"Status": _STATUS}
    paths = {}
    for method in methods:
        response = _reference(method.response.DESCRIPTOR, schemas)
        status: dict[str, Any] = {"$ref": "#/components/schemas/Status"}
        if isinstance(method, Streaming):
            response = {"type": "object", "properties": {"result": response, "error": status}}
            status = {"type": "object", "properties": {"error": status, **_STATUS["properties"]}}
        ok = "A JSON object a line." if isinstance(method, Streaming) else "Success."
        paths[method.path] = {
            "post": {
                "tags": [method.service.rpartition(".")[2]],
                "operationId": method.name,
                "summary": method.summary,
                "security": [{"bearer": []}],
                "parameters": [{"$ref": "#/components/parameters/TesseraStore"}],
                "requestBody": _body(_reference(method.request.DESCRIPTOR, schemas)),
                "responses": {
                    "200": {"description": ok, **_body(response)},
                    **{code: {"description": text, **_body(status)} for code, text in _ERRORS.items()},
                },
            }
        }
    components = {
        "schemas": schemas,
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        "parameters": {
            "TesseraStore": {
                "name": "Tessera-Store",
                "in": "header",
                "description": "The store to ask; `default` where it is left out.",
                "schema": {"type": "string", "default": "default"},
            }
        },
    }
    return paths, components


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _reference(descriptor: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    known = _WELL_KNOWN.get(descriptor.full_name)
    if known is not None:
        return known
    name = descriptor.full_name.removeprefix("authzed.api.v1.")
    if name not in schemas:
        schemas[name] = {}
        schemas[name] = {
            "type": "object",
            "properties": {field.json_name: _field(field, schemas) for field in descriptor.fields},
        }
    return {"$ref": f"#/components/schemas/{name}"}


def _field(field: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if is_map(field.message_type):
        return {"type": "object", "additionalProperties": _field(field.message_type.fields_by_name["value"], schemas)}
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        schema = _reference(field.message_type, schemas)
        if not field.is_repeated:
            return {"anyOf": [schema, {"type": "null"}]}
    elif field.type == FieldDescriptor.TYPE_ENUM:
        schema = {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    else:
        schema = _SCALARS[field.type]
    return {"type": "array", "items": schema} if field.is_repeated else schema
