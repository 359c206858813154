"""The schema: SchemaService."""

from authzed.api.v1 import schema_service_pb2 as pb

from api.convert import zookie
from api.methods.call import Call
from schema.compile import compile_schema
from schema.printing import print_schema


async def write_schema(call: Call, request: pb.WriteSchemaRequest) -> pb.WriteSchemaResponse:
    """WriteSchema."""
    revision = await call.store.write_schema(request.schema)
    return pb.WriteSchemaResponse(written_at=zookie(call.store.store, revision))


async def read_schema(call: Call, request: pb.ReadSchemaRequest) -> pb.ReadSchemaResponse:
    """ReadSchema: the newest schema, printed canonically."""
    del request
    stored, revision = await call.store.read_schema()
    text = print_schema(compile_schema(stored.text))
    return pb.ReadSchemaResponse(schema_text=text, read_at=zookie(call.store.store, revision))
