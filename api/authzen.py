"""AuthZEN's Authorization API 1.0 over the same engine: evaluations, searches, discovery.

A door translates: the subject is an object of the schema, the action's name a permission, the request's context and
the entities' properties are what caveats are judged by. Properties come flat, ``subject_…``, ``resource_…`` and
``action_…``; the request's own context wins over them. The API knows only yes and no: a conditional answer is a no
whose context names what was missing. Unknown types and actions are a no with an error in its context in an
evaluation, and nothing in a search (the certification's scenario).
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import msgspec
import orjson
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.gate import Gate
from api.http import Answer, decode_headers, error_answer, read_body, send_answer
from api.jsontext import BodyTooLarge, UndecodableBody, loads
from api.methods import METHODS, Call, Method
from api.statuses import status_of
from pdp.bulk import BulkItem, Outcome
from pdp.consistency import MINIMIZE_LATENCY, AtExactSnapshot
from pdp.errors import UnknownDefinition, UnknownRelation, WildcardNotAllowed
from pdp.evaluate import Answer as Decision
from pdp.evaluate import Permissionship
from pdp.lookup import Listing
from pdp.lookup_resources import FoundResource
from pdp.lookup_subjects import FoundSubject
from pdp.queries import (
    Circumstances,
    ResourcesRequest,
    SubjectsRequest,
    check_bulk,
    list_permissions,
    lookup_resources,
    lookup_subjects,
)
from pdp.relationships import Instant, ObjectRef, Revision, SubjectRef

EVALUATIONS_MAX = 1_000
PAGE_MAX = 1_000
WELL_KNOWN = "/.well-known/authzen-configuration"
PATHS: Mapping[str, str] = {
    "access_evaluation_endpoint": "/access/v1/evaluation",
    "access_evaluations_endpoint": "/access/v1/evaluations",
    "search_subject_endpoint": "/access/v1/search/subject",
    "search_resource_endpoint": "/access/v1/search/resource",
    "search_action_endpoint": "/access/v1/search/action",
}
_CHECK = next(method for method in METHODS if method.name == "CheckPermission")
_TAG_BYTES = 12
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NOBODY = (UnknownDefinition, UnknownRelation)

Semantic: TypeAlias = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]


class Entity(msgspec.Struct):
    """A subject or a resource."""

    type: str
    id: str
    properties: dict[str, Any] = {}


class Action(msgspec.Struct):
    """What is to be done."""

    name: str
    properties: dict[str, Any] = {}


class Kind(msgspec.Struct):
    """What a search is for: entities of a type. An id is not looked at."""

    type: str
    properties: dict[str, Any] = {}


class Evaluation(msgspec.Struct):
    """One question."""

    subject: Entity
    action: Action
    resource: Entity
    context: dict[str, Any] = {}


class Options(msgspec.Struct):
    """How several questions are answered."""

    evaluations_semantic: Semantic = "execute_all"


class Evaluations(msgspec.Struct):
    """Several questions; what an item lacks comes from the top."""

    subject: Any = msgspec.UNSET
    action: Any = msgspec.UNSET
    resource: Any = msgspec.UNSET
    context: Any = msgspec.UNSET
    evaluations: list[dict[str, Any]] = []
    options: Options = msgspec.field(default_factory=Options)


class Page(msgspec.Struct):
    """Which part of a list is wanted."""

    token: str = ""
    limit: int = 0


class SubjectSearch(msgspec.Struct):
    """Who may do this?"""

    subject: Kind
    action: Action
    resource: Entity
    context: dict[str, Any] = {}
    page: Page = msgspec.field(default_factory=Page)


class ResourceSearch(msgspec.Struct):
    """On what may this be done?"""

    subject: Entity
    action: Action
    resource: Kind
    context: dict[str, Any] = {}
    page: Page = msgspec.field(default_factory=Page)


class ActionSearch(msgspec.Struct):
    """What may be done?"""

    subject: Entity
    resource: Entity
    context: dict[str, Any] = {}
    page: Page = msgspec.field(default_factory=Page)


class BadRequest(Exception):
    """A request that is not of its form."""


def read(members: Any, kind: type[Any]) -> Any:
    """A request from its members.

    Raises:
        BadRequest: a member is missing or of the wrong type.
    """
    try:
        return msgspec.convert(members, kind)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)[:1].lower() + str(error)[1:]) from error


def context_of(
    given: Mapping[str, Any],
    *,
    subject: Mapping[str, Any] = {},
    resource: Mapping[str, Any] = {},
    action: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """What caveats are judged by."""
    flat = {
        f"{kind}_{name}": value
        for kind, properties in (("subject", subject), ("resource", resource), ("action", action))
        for name, value in properties.items()
    }
    return {**flat, **given}


def told(outcome: Outcome) -> dict[str, Any]:
    """A decision as the API tells it."""
    if isinstance(outcome, Decision):
        if outcome.permissionship is Permissionship.CONDITIONAL_PERMISSION:
            return {"decision": False, "context": {"missing_context": list(outcome.missing)}}
        return {"decision": outcome.permissionship is Permissionship.HAS_PERMISSION}
    return refused(outcome)


def refused(error: Exception) -> dict[str, Any]:
    """A no, with why there was no answer."""
    status = status_of(error)
    code = status.http_status if status is not None else 400
    return {"decision": False, "context": {"error": {"status": code, "message": str(error)}}}


def _item(evaluation: Evaluation) -> BulkItem:
    subject, resource, action = evaluation.subject, evaluation.resource, evaluation.action
    context = context_of(
        evaluation.context,
        subject=subject.properties,
        resource=resource.properties,
        action=action.properties,
    )
    return BulkItem(ObjectRef(resource.type, resource.id), action.name, SubjectRef(subject.type, subject.id), context)


async def evaluate(call: Call, members: Mapping[str, Any]) -> dict[str, Any]:
    """The access evaluation API."""
    return await _decide(call, read(members, Evaluation))


async def _decide(call: Call, evaluation: Evaluation) -> dict[str, Any]:
    checked = await check_bulk(call.store, [_item(evaluation)])
    outcome = checked.outcomes[0]
    call.facts["decision"] = isinstance(outcome, Decision) and outcome.permissionship is Permissionship.HAS_PERMISSION
    return told(outcome)


async def evaluate_all(call: Call, members: Mapping[str, Any]) -> dict[str, Any]:
    """The access evaluations API; without ``evaluations`` it asks and answers as the one above."""
    if not members.get("evaluations"):
        return await evaluate(call, members)
    request: Evaluations = read(members, Evaluations)
    if len(request.evaluations) > EVALUATIONS_MAX:
        raise BadRequest(f"there are {len(request.evaluations)} evaluations and may be {EVALUATIONS_MAX}")
    defaults = {
        name: value
        for name in ("subject", "action", "resource", "context")
        if (value := getattr(request, name)) is not msgspec.UNSET
    }
    items: list[BulkItem | Exception] = []
    for given in request.evaluations:
        try:
            items.append(_item(read({**defaults, **given}, Evaluation)))
        except BadRequest as error:
            items.append(error)
    asked = [item for item in items if isinstance(item, BulkItem)]
    outcomes = iter((await check_bulk(call.store, asked)).outcomes if asked else ())
    answers = [told(next(outcomes)) if isinstance(item, BulkItem) else refused(item) for item in items]
    return {"evaluations": _cut(answers, request.options.evaluations_semantic)}


def _cut(answers: list[dict[str, Any]], semantic: Semantic) -> list[dict[str, Any]]:
    """Answers up to the deciding one, which comes last."""
    if semantic == "execute_all":
        return answers
    deciding = semantic == "permit_on_first_permit"
    for position, answer in enumerate(answers):
        if answer["decision"] is deciding:
            return answers[: position + 1]
    return answers


class _Place(msgspec.Struct, array_like=True):
    """Where a search's page ended."""

    revision: int
    instant: int
    after: str


def _bound_to(call: Call, members: Mapping[str, Any]) -> bytes:
    """What the next request must repeat: all but the page's token."""
    page = {name: value for name, value in (members.get("page") or {}).items() if name != "token"}
    asked = json.dumps({**members, "page": page}, sort_keys=True).encode()
    store = call.store.store
    digest = blake2b(asked, key=store.zookie_key, digest_size=_TAG_BYTES, person=b"authzen")
    digest.update(store.timeline.encode())
    return digest.digest()


def _token(bound_to: bytes, place: _Place) -> str:
    return urlsafe_b64encode(bound_to + msgspec.msgpack.encode(place)).decode().rstrip("=")


def _resume(
    call: Call, members: Mapping[str, Any], page: Page, context: dict[str, Any]
) -> tuple[Circumstances, str | None]:
    if not page.token:
        return Circumstances(context=context), None
    try:
        raw = urlsafe_b64decode(page.token + "=" * (-len(page.token) % 4))
        if not hmac.compare_digest(raw[:_TAG_BYTES], _bound_to(call, members)):
            raise BadRequest("the page's token was made for another request")
        place = msgspec.msgpack.decode(raw[_TAG_BYTES:], type=_Place)
    except (ValueError, msgspec.DecodeError) as error:
        raise BadRequest("the page's token cannot be read") from error
    consistency = AtExactSnapshot(Revision(place.revision))
    return Circumstances(consistency=consistency, instant=Instant(place.instant), context=context), place.after


def _limit(page: Page) -> int:
    if page.limit < 0:
        raise BadRequest("a page's limit is no less than 0")
    return min(page.limit or PAGE_MAX, PAGE_MAX)


async def search_subjects(call: Call, members: Mapping[str, Any]) -> dict[str, Any]:
    """The subject search API: only who has the permission for certain."""
    request: SubjectSearch = read(members, SubjectSearch)
    context = context_of(request.context, resource=request.resource.properties, action=request.action.properties)
    under, after = _resume(call, members, request.page, context)
    try:
        listing = await lookup_subjects(
            call.store,
            SubjectsRequest(
                ObjectRef(request.resource.type, request.resource.id),
                request.action.name,
                request.subject.type,
                under=under,
                after=after,
                limit=_limit(request.page),
            ),
        )
    except _NOBODY:
        return {"page": {"next_token": ""}, "results": []}
    return _listed(call, members, request.subject.type, listing)


async def search_resources(call: Call, members: Mapping[str, Any]) -> dict[str, Any]:
    """The resource search API: only what the subject has the permission on for certain."""
    request: ResourceSearch = read(members, ResourceSearch)
    context = context_of(request.context, subject=request.subject.properties, action=request.action.properties)
    under, after = _resume(call, members, request.page, context)
    try:
        listing = await lookup_resources(
            call.store,
            ResourcesRequest(
                request.resource.type,
                request.action.name,
                SubjectRef(request.subject.type, request.subject.id),
                under=under,
                after=after,
                limit=_limit(request.page),
            ),
        )
    except (*_NOBODY, WildcardNotAllowed):
        return {"page": {"next_token": ""}, "results": []}
    return _listed(call, members, request.resource.type, listing)


async def search_actions(call: Call, members: Mapping[str, Any]) -> dict[str, Any]:
    """The action search API: every permission that the subject has, in written order, on one page."""
    request: ActionSearch = read(members, ActionSearch)
    context = context_of(request.context, subject=request.subject.properties, resource=request.resource.properties)
    try:
        listed = await list_permissions(
            call.store,
            ObjectRef(request.resource.type, request.resource.id),
            SubjectRef(request.subject.type, request.subject.id),
            Circumstances(consistency=MINIMIZE_LATENCY, context=context),
        )
    except (*_NOBODY, WildcardNotAllowed):
        return {"page": {"next_token": ""}, "results": []}
    results = [{"name": held.permission} for held in listed.held if told(held.outcome)["decision"]]
    return _results(call, members, results, listed.revision, listed.instant, None)


def _listed(
    call: Call, members: Mapping[str, Any], type_: str, listing: Listing[FoundSubject] | Listing[FoundResource]
) -> dict[str, Any]:
    certain = [row.id for row in listing.rows if row.permissionship is Permissionship.HAS_PERMISSION]
    last = listing.rows[-1].id if listing.rows and listing.ending.more else None
    results = [{"type": type_, "id": id_} for id_ in certain]
    return _results(call, members, results, listing.revision, listing.instant, last)


def _results(
    call: Call,
    members: Mapping[str, Any],
    results: Sequence[Mapping[str, str]],
    revision: Revision,
    instant: Instant,
    last: str | None,
) -> dict[str, Any]:
    token = "" if last is None else _token(_bound_to(call, members), _Place(revision, instant, last))
    return {"page": {"next_token": token, "count": len(results)}, "results": results}


Handle: TypeAlias = Callable[[Call, Mapping[str, Any]], Awaitable[dict[str, Any]]]

HANDLES: Mapping[str, Handle] = {
    PATHS["access_evaluation_endpoint"]: evaluate,
    PATHS["access_evaluations_endpoint"]: evaluate_all,
    PATHS["search_subject_endpoint"]: search_subjects,
    PATHS["search_resource_endpoint"]: search_resources,
    PATHS["search_action_endpoint"]: search_actions,
}


def configuration(issuer: str) -> dict[str, str]:
    """The discovery document; from the configured URL, never from what a request says."""
    return {"policy_decision_point": issuer, **{name: issuer + path for name, path in PATHS.items()}}


class AuthzenDoor:
    """Answers requests for the API's paths."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def answer(
        self, handle: Handle, method: Method, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Answer one request; never raises."""
        facts: dict[str, Any] = {}
        try:
            caller = await self._gate.authenticate(headers, path)
            facts["caller"] = caller.id
            members = _members(headers, body)
            call = await self._gate.admit(method, headers, caller, None, members)
            answer = _json(200, await handle(call, members))
            facts.update(call.facts)
        except (BadRequest, UndecodableBody) as error:
            answer = _json(400, str(error))
        except Exception as error:
            answer = error_answer(error)
            answer.body = orjson.dumps(orjson.loads(answer.body)["message"])
        facts.update(answer.facts)
        answer.facts = facts
        return answer


def _members(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise BadRequest("the content type is not `application/json`")
    if not body.strip():
        raise BadRequest("the body is empty")
    return loads(body)


def _json(status: int, value: Any) -> Answer:
    return Answer(status, [(b"content-type", b"application/json")], orjson.dumps(value))


class _Endpoint:
    """The ASGI application of one path."""

    def __init__(self, handle: Handle, door: AuthzenDoor) -> None:
        self._handle = handle
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        headers = decode_headers(scope["headers"])
        try:
            body = await read_body(receive, headers)
        except BodyTooLarge as error:
            answer = error_answer(error)
            answer.body = orjson.dumps(str(error))
        except ConnectionError:
            return
        else:
            answer = await self._door.answer(self._handle, _CHECK, scope["path"], headers, body)
        scope.setdefault("state", {}).update(answer.facts)
        await send_answer(send, answer)


class _Discovery:
    """The ASGI application of the discovery document."""

    def __init__(self, issuer: str) -> None:
        self._document = orjson.dumps(configuration(issuer))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"public, max-age=300")]
        await send_answer(send, Answer(200, headers, self._document))


def routes(gate: Gate, issuer: str) -> list[Route]:
    """The API's paths, to be mounted."""
    door = AuthzenDoor(gate)
    return [
        *(Route(path, _Endpoint(handle, door), methods=["POST"]) for path, handle in HANDLES.items()),
        Route(WELL_KNOWN, _Discovery(issuer), methods=["GET"]),
    ]
