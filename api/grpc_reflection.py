"""Server reflection, so that tools find services and messages by themselves: ``v1`` and its older name ``v1alpha``.

The two differ in the package's name alone, and the library has the older one: `v1` is made from it. Neither asks for
a credential.
"""

from collections.abc import Iterable

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import _async, reflection_pb2, reflection_pb2_grpc

_OLD, _NEW = "grpc.reflection.v1alpha", "grpc.reflection.v1"
_METHOD = "ServerReflectionInfo"
SERVICES = (f"{_NEW}.ServerReflection", f"{_OLD}.ServerReflection")


def _describe_v1() -> None:
    """Put the newer name's file into the pool that reflection answers from, once."""
    proto = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(proto)
    proto.name = "grpc/reflection/v1/reflection.proto"
    proto.package = _NEW
    old, new = f".{_OLD}.", f".{_NEW}."
    for message in proto.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(old, new)
    for method in proto.service[0].method:
        method.input_type = method.input_type.replace(old, new)
        method.output_type = method.output_type.replace(old, new)
    descriptor_pool.Default().AddSerializedFile(proto.SerializeToString())


def add_reflection(services: Iterable[str], server: grpc.aio.Server) -> None:
    """Add reflection to a server, for these services and itself."""
    _describe_v1()
    servicer = _async.ReflectionServicer((*services, *SERVICES))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICES[0], {_METHOD: handler}),))
