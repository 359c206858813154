"""Checks: PermissionsService's CheckPermission and CheckBulkPermissions."""

from authzed.api.v1 import permission_service_pb2 as pb

from api.convert import from_instant, to_context, to_resource, to_subject, zookie
from api.methods.call import Call, Response
from api.methods.extras import circumstances, marked
from api.methods.limits import check_checks, check_context
from api.statuses import Code, Status, status_of
from pdp.bulk import BulkItem, Outcome
from pdp.evaluate import Answer
from pdp.queries import check_bulk
from pdp.relationships import ObjectRef
from pdp.service import CheckRequest


async def check_permission(call: Call, request: pb.CheckPermissionRequest) -> Response:
    """CheckPermission."""
    check_context(request.context)
    under = circumstances(call, request.consistency, request.context)
    checked = await call.store.check(
        CheckRequest(
            to_resource(request.resource),
            request.permission,
            to_subject(request.subject),
            under.consistency,
            under.context,
            under.contextual,
            under.instant,
        )
    )
    answer = checked.answer
    call.facts.update(decision=answer.permissionship.name, revision=checked.revision)
    response = pb.CheckPermissionResponse(
        checked_at=zookie(call.store.store, checked.revision),
        permissionship=permissionship(answer),
    )
    if answer.missing:
        response.partial_caveat_info.missing_required_context.extend(answer.missing)
    if answer.stable_until is not None:
        response.optional_expires_at.CopyFrom(from_instant(answer.stable_until))
    return marked(response, under)


def permissionship(answer: Answer) -> pb.CheckPermissionResponse.Permissionship.ValueType:
    """The wire's number of an answer."""
    return pb.CheckPermissionResponse.Permissionship.ValueType(answer.permissionship.value)


async def check_bulk_permissions(call: Call, request: pb.CheckBulkPermissionsRequest) -> Response:
    """CheckBulkPermissions: each item has its answer or its error, in order, all at one revision."""
    check_checks(len(request.items))
    items = []
    for item in request.items:
        check_context(item.context)
        # a resource `*` is no mistake here: nobody has anything on it
        resource = ObjectRef(item.resource.object_type, item.resource.object_id)
        context = to_context(item.context) if item.context.fields else {}
        items.append(BulkItem(resource, item.permission, to_subject(item.subject), context))
    under = circumstances(call, request.consistency)
    checked = await check_bulk(call.store, items, under)
    call.facts.update(revision=checked.revision)
    response = pb.CheckBulkPermissionsResponse(checked_at=zookie(call.store.store, checked.revision))
    for item, outcome in zip(request.items, checked.outcomes, strict=True):
        response.pairs.append(_pair(item, outcome))
    return marked(response, under)


def _pair(item: pb.CheckBulkPermissionsRequestItem, outcome: Outcome) -> pb.CheckBulkPermissionsPair:
    pair = pb.CheckBulkPermissionsPair(request=item)
    if isinstance(outcome, Answer):
        pair.item.permissionship = permissionship(outcome)
        if outcome.missing:
            pair.item.partial_caveat_info.missing_required_context.extend(outcome.missing)
    else:
        status = status_of(outcome) or Status(Code.INTERNAL, "internal error")
        pair.error.CopyFrom(status.to_proto())
    return pair
