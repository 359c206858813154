"""CheckPermission without the detour: the common form of its request, answered at once from the replica.

It shares authentication, scopes, names, decision and wording with the ordinary path and adds none of its own: what
is not of the common form, or not a plain yes or no, it hands over whole and untouched, by answering nothing. Nobody
is let in here who would not be let in there.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from api.auth import Authenticator, require_scope
from api.gate import DEFAULT_STORE
from api.methods import METHODS
from api.statuses import ApiError
from pdp.errors import PdpError
from pdp.relationships import Revision
from pdp.replica.compiled import CompiledChecks, Undecided
from pdp.service import StoreService
from pdp.zookies import encode

CHECK_PATH = "/v1/permissions/check"
_SCOPE = next(method.scope for method in METHODS if method.path == CHECK_PATH)
_MEMBERS = 8
"""Members of the common form at the least; each has one colon, and no value that passes has any."""

_ID = re.compile(r"[a-zA-Z0-9/_|\-=+]{1,1024}")


class _Object(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    object_type: str
    object_id: str


class _Subject(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    object: _Object
    optional_relation: str | msgspec.UnsetType = msgspec.UNSET


class _Consistency(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    minimize_latency: bool


class _Request(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The common form: no context, no trace, no member beyond the wire, the least consistency."""

    resource: _Object
    permission: str
    subject: _Subject
    consistency: _Consistency | msgspec.UnsetType = msgspec.UNSET


class FastAnswer(NamedTuple):
    """A body, and what the access log tells of it."""

    body: bytes
    caller: str
    has: bool


class FastCheck:
    """Answers checks on the default store."""

    def __init__(self, authenticator: Authenticator, opened: Mapping[str, StoreService]) -> None:
        """``opened`` are the stores that are open at the moment."""
        self._authenticate = authenticator.authenticate
        self._opened = opened
        self._service: StoreService | None = None
        self._decoder = msgspec.json.Decoder(_Request)
        self._revision = Revision(-1)
        self._checks: CompiledChecks | None = None
        self._bodies = (b"", b"")

    def answer(self, authorization: str | None, store: str | None, body: bytes) -> FastAnswer | None:
        """The answer, or None for the ordinary path to find out what there is to say."""
        if store is not None and store != DEFAULT_STORE:
            return None
        try:
            request = self._decoder.decode(body)
        except msgspec.DecodeError:
            return None
        resource, subject, members = request.resource, request.subject, _MEMBERS
        if request.consistency is not msgspec.UNSET:
            if not request.consistency.minimize_latency:
                return None
            members += 2
        relation = ""
        if subject.optional_relation is not msgspec.UNSET:
            relation = subject.optional_relation
            members += 1
        if body.count(b":") != members:
            return None  # a member stands twice, or a name holds what no name may
        subject_id = subject.object.object_id
        if not _ID.fullmatch(resource.object_id) or not _ID.fullmatch(subject_id):
            return None
        try:
            caller = self._authenticate(authorization)
            require_scope(caller, _SCOPE)
        except ApiError:
            return None
        service = self._opened.get(DEFAULT_STORE)
        if service is None:
            return None
        stale = service is not self._service or self._revision != service.follower.applied
        if stale or self._checks is None:
            self._renew(service)
            if self._checks is None:
                return None
        try:
            has = self._checks.check(
                resource.object_type,
                resource.object_id,
                request.permission,
                subject.object.object_type,
                subject_id,
                relation,
            )
        except (Undecided, PdpError):
            return None
        return FastAnswer(self._bodies[has], caller.id, has)

    def _renew(self, service: StoreService) -> None:
        """Answer from the newest revision on, where its schema and a replica are at hand."""
        revision = service.follower.applied
        version = service.follower.schema_at_once(revision)
        self._checks = service.keeper.checks(version, revision) if version is not None else None
        self._service, self._revision = service, revision
        zookie = encode(service.store, revision)
        self._bodies = (
            _body(zookie, "PERMISSIONSHIP_NO_PERMISSION"),
            _body(zookie, "PERMISSIONSHIP_HAS_PERMISSION"),
        )


def _body(zookie: str, permissionship: str) -> bytes:
    return (
        f'{{"checkedAt":{{"token":"{zookie}"}},"permissionship":"{permissionship}",'
        '"partialCaveatInfo":null,"debugTrace":null,"optionalExpiresAt":null}'
    ).encode()
