"""Checks, one and in bulk, without the detour: the common form of a request, answered at once from the replica.

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
BULK_PATH = "/v1/permissions/checkbulk"
ITEMS_MAX = 1_000
"""More in one request would hold the loop for too long; the ordinary path takes turns."""
_SCOPE = next(method.scope for method in METHODS if method.path == CHECK_PATH)
_ITEM_MEMBERS = 8
"""Members of a question of the common form, at the least; each has one colon, and no value that passes has any."""

_ID = re.compile(r"[a-zA-Z0-9/_|\-=+]{1,1024}")


class _Object(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    object_type: str
    object_id: str


class _Subject(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    object: _Object
    optional_relation: str | msgspec.UnsetType = msgspec.UNSET


class _Consistency(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    minimize_latency: bool


class _Item(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A question of the common form: no context, no member beyond the wire."""

    resource: _Object
    permission: str
    subject: _Subject


class _Request(_Item, forbid_unknown_fields=True, rename="camel"):
    """One question, with the least consistency and without a trace."""

    consistency: _Consistency | msgspec.UnsetType = msgspec.UNSET


class _Bulk(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Questions, with the least consistency and without traces."""

    items: list[_Item]
    consistency: _Consistency | msgspec.UnsetType = msgspec.UNSET


class FastAnswer(NamedTuple):
    """A body, and what the access log tells of it."""

    body: bytes
    caller: str
    has: bool | None


class FastChecks:
    """Answers on the default store."""

    def __init__(self, authenticator: Authenticator, opened: Mapping[str, StoreService]) -> None:
        """``opened`` are the stores that are open at the moment."""
        self._authenticate = authenticator.authenticate
        self._opened = opened
        self._service: StoreService | None = None
        self._one = msgspec.json.Decoder(_Request)
        self._many = msgspec.json.Decoder(_Bulk)
        self._revision = Revision(-1)
        self._checks: CompiledChecks | None = None
        self._zookie = ""
        self._bodies = (b"", b"")

    def check(self, authorization: str | None, store: str | None, body: bytes) -> FastAnswer | None:
        """The answer to one question, or None for the ordinary path to find out what there is to say."""
        try:
            request = self._one.decode(body)
        except msgspec.DecodeError:
            return None
        members = _members(request.consistency)
        if members is None or body.count(b":") != members + _ITEM_MEMBERS + _has_relation(request):
            return None  # a member stands twice, or a name holds what no name may
        caller = self._admit(authorization, store)
        if caller is None:
            return None
        has = self._decide(request)
        return None if has is None else FastAnswer(self._bodies[has], caller, has)

    def bulk(self, authorization: str | None, store: str | None, body: bytes) -> FastAnswer | None:
        """The answer to many; None where one of them is not plain."""
        try:
            request = self._many.decode(body)
        except msgspec.DecodeError:
            return None
        items = request.items
        members = _members(request.consistency)
        if members is None or not 0 < len(items) <= ITEMS_MAX:
            return None
        if body.count(b":") != members + 1 + _ITEM_MEMBERS * len(items) + sum(map(_has_relation, items)):
            return None
        caller = self._admit(authorization, store)
        if caller is None:
            return None
        pairs = []
        for item in items:
            has = self._decide(item)
            if has is None:
                return None
            pairs.append(_pair(item, has))
        told = f'{{"checkedAt":{{"token":"{self._zookie}"}},"pairs":[{",".join(pairs)}]}}'
        return FastAnswer(told.encode(), caller, None)

    def _admit(self, authorization: str | None, store: str | None) -> str | None:
        """Who calls, if they may and everything is at hand."""
        if store is not None and store != DEFAULT_STORE:
            return None
        try:
            caller = self._authenticate(authorization)
            require_scope(caller, _SCOPE)
        except ApiError:
            return None
        service = self._opened.get(DEFAULT_STORE)
        if service is None:
            return None
        if self._checks is None or service is not self._service or self._revision != service.follower.applied:
            self._renew(service)
        return None if self._checks is None else caller.id

    def _decide(self, item: _Item) -> bool | None:
        resource, subject = item.resource, item.subject.object
        if not _ID.fullmatch(resource.object_id) or not _ID.fullmatch(subject.object_id) or self._checks is None:
            return None
        try:
            return self._checks.check(
                resource.object_type,
                resource.object_id,
                item.permission,
                subject.object_type,
                subject.object_id,
                item.subject.optional_relation or "",
            )
        except (Undecided, PdpError):
            return None

    def _renew(self, service: StoreService) -> None:
        """Answer from the newest revision on, where its schema and a replica are at hand."""
        revision = service.follower.applied
        version = service.follower.schema_at_once(revision)
        self._checks = service.keeper.checks(version, revision) if version is not None else None
        self._service, self._revision = service, revision
        self._zookie = encode(service.store, revision)
        self._bodies = (
            _body(self._zookie, _PERMISSIONSHIPS[False]),
            _body(self._zookie, _PERMISSIONSHIPS[True]),
        )


_PERMISSIONSHIPS = ("PERMISSIONSHIP_NO_PERMISSION", "PERMISSIONSHIP_HAS_PERMISSION")


def _members(consistency: _Consistency | msgspec.UnsetType) -> int | None:
    """How many members a consistency of the common form has; None for another one."""
    if consistency is msgspec.UNSET:
        return 0
    return 2 if consistency.minimize_latency else None


def _has_relation(item: _Item) -> bool:
    return item.subject.optional_relation is not msgspec.UNSET


def _body(zookie: str, permissionship: str) -> bytes:
    return (
        f'{{"checkedAt":{{"token":"{zookie}"}},"permissionship":"{permissionship}",'
        '"partialCaveatInfo":null,"debugTrace":null,"optionalExpiresAt":null}'
    ).encode()


def _pair(item: _Item, has: bool) -> str:
    """A question and its answer. Names and ids that were answered hold nothing that JSON would escape."""
    resource, subject = item.resource, item.subject.object
    return (
        f'{{"request":{{"resource":{{"objectType":"{resource.object_type}","objectId":"{resource.object_id}"}},'
        f'"permission":"{item.permission}","subject":{{"object":{{"objectType":"{subject.object_type}",'
        f'"objectId":"{subject.object_id}"}},"optionalRelation":"{item.subject.optional_relation or ""}"}},'
        f'"context":null}},"item":{{"permissionship":"{_PERMISSIONSHIPS[has]}",'
        '"partialCaveatInfo":null,"debugTrace":null}}'
    )
