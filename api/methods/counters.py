"""Counters: ExperimentalService's named filters, counted when asked."""

from authzed.api.v1 import experimental_service_pb2 as pb

from api.convert import invalid, to_filter, zookie
from api.methods.call import Call
from pdp.commands import register_counter


async def register(
    call: Call, request: pb.ExperimentalRegisterRelationshipCounterRequest
) -> pb.ExperimentalRegisterRelationshipCounterResponse:
    """ExperimentalRegisterRelationshipCounter."""
    if not request.name:
        raise invalid("a counter has a name")
    await register_counter(call.store, request.name, to_filter(request.relationship_filter))
    return pb.ExperimentalRegisterRelationshipCounterResponse()


async def count(
    call: Call, request: pb.ExperimentalCountRelationshipsRequest
) -> pb.ExperimentalCountRelationshipsResponse:
    """ExperimentalCountRelationships: counted at the newest revision."""
    store = call.store.store
    found, revision = await store.count_counter(request.name)
    call.facts.update(revision=revision)
    value = pb.ReadCounterValue(relationship_count=found, read_at=zookie(store, revision))
    return pb.ExperimentalCountRelationshipsResponse(read_counter_value=value)


async def unregister(
    call: Call, request: pb.ExperimentalUnregisterRelationshipCounterRequest
) -> pb.ExperimentalUnregisterRelationshipCounterResponse:
    """ExperimentalUnregisterRelationshipCounter."""
    await call.store.store.unregister_counter(request.name)
    return pb.ExperimentalUnregisterRelationshipCounterResponse()
