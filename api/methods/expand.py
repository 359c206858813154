"""ExpandPermissionTree."""

from authzed.api.v1 import core_pb2
from authzed.api.v1 import permission_service_pb2 as pb

from api.convert import from_subject, to_resource, zookie
from api.methods.call import Call, Response
from api.methods.extras import circumstances, marked
from api.statuses import ApiError, Code, Status
from pdp.expand import Branch, Leaf, Tree
from pdp.queries import expand

_LEVELS_MAX = 45
"""Of a tree: protobuf writes a hundred messages inside each other, and each level is two."""

_TOO_DEEP = Status(
    Code.FAILED_PRECONDITION,
    f"the tree has more than {_LEVELS_MAX} levels, which this answer cannot hold; expand what is below it",
    "MAXIMUM_DEPTH_EXCEEDED",
    {"maximum_depth_allowed": str(_LEVELS_MAX)},
)


async def expand_permission_tree(call: Call, request: pb.ExpandPermissionTreeRequest) -> Response:
    """ExpandPermissionTree: usersets are shown, not followed."""
    under = circumstances(call, request.consistency)
    expanded = await expand(call.store, to_resource(request.resource), request.permission, under)
    call.facts.update(revision=expanded.revision)
    response = pb.ExpandPermissionTreeResponse(
        expanded_at=zookie(call.store.store, expanded.revision), tree_root=_tree(expanded.tree)
    )
    return marked(response, under)


def _tree(root: Tree) -> core_pb2.PermissionRelationshipTree:
    """The wire's tree. As deep as data and schema go together, so built without recursion.

    Raises:
        ApiError: MAXIMUM_DEPTH_EXCEEDED.
    """
    message = core_pb2.PermissionRelationshipTree()
    todo: list[tuple[Tree, core_pb2.PermissionRelationshipTree, int]] = [(root, message, 1)]
    while todo:
        tree, into, level = todo.pop()
        if level > _LEVELS_MAX:
            raise ApiError(_TOO_DEEP)
        into.expanded_object.object_type, into.expanded_object.object_id = tree.object
        into.expanded_relation = tree.relation
        match tree:
            case Leaf(_, _, subjects):
                into.leaf.SetInParent()
                into.leaf.subjects.extend(from_subject(subject) for subject in subjects)
            case Branch(_, _, operation, children):
                into.intermediate.operation = core_pb2.AlgebraicSubjectSet.Operation.ValueType(operation.value)
                todo.extend((child, into.intermediate.children.add(), level + 1) for child in children)
    return message
