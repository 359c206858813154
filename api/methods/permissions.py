"""Questions: PermissionsService's checks."""

from authzed.api.v1 import permission_service_pb2 as pb

from api.convert import from_instant, to_consistency, to_context, to_resource, to_subject, zookie
from api.methods.call import Call
from api.methods.limits import check_context
from pdp.service import CheckRequest


async def check_permission(call: Call, request: pb.CheckPermissionRequest) -> pb.CheckPermissionResponse:
    """CheckPermission."""
    check_context(request.context)
    store = call.store
    checked = await store.check(
        CheckRequest(
            to_resource(request.resource),
            request.permission,
            to_subject(request.subject),
            to_consistency(store.store, request.consistency),
            to_context(request.context),
        )
    )
    answer = checked.answer
    response = pb.CheckPermissionResponse(
        checked_at=zookie(store.store, checked.revision),
        permissionship=pb.CheckPermissionResponse.Permissionship.ValueType(answer.permissionship.value),
    )
    if answer.missing:
        response.partial_caveat_info.missing_required_context.extend(answer.missing)
    if answer.stable_until is not None:
        response.optional_expires_at.CopyFrom(from_instant(answer.stable_until))
    return response
