"""Administration of clients, keys and revocations over HTTP, under ``/admin``.

Client metadata are those of RFC 7591; errors are those of the rest of our own API. Secrets are in the answer to the
request that made them and nowhere afterwards.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.auth import challenges
from api.logs import log_bug
from api.statuses import ApiError, Code, Status
from authn.clients.metadata import shown
from authn.errors import (
    AuthnError,
    BadMetadata,
    ClientExists,
    ClientNotFound,
    MalformedJose,
    StoreUnavailable,
    TemporarilyUnavailable,
)
from authn.jose import loads_object
from authn.keys.keeper import KeyNotFound, NotRipe
from authn.keys.states import KeyRecord
from authn.service import Authn

BODY_BYTES_MAX = 1024 * 1024
PAGE_MAX = 1_000
OVERLAP_S_MAX = 30 * 86_400
_HEADERS = {"cache-control": "no-store"}

Guard: TypeAlias = Callable[[Request], Awaitable[str]]
"""Lets a request to the admin API through, giving the id of who asks, or raises `ApiError`."""
Handler: TypeAlias = Callable[[Request, str], Awaitable[Response]]

STATUSES: Mapping[type[AuthnError], tuple[Code, str]] = {
    BadMetadata: (Code.INVALID_ARGUMENT, "INVALID_CLIENT_METADATA"),
    ClientExists: (Code.ALREADY_EXISTS, "CLIENT_EXISTS"),
    ClientNotFound: (Code.NOT_FOUND, "CLIENT_NOT_FOUND"),
    KeyNotFound: (Code.NOT_FOUND, "KEY_NOT_FOUND"),
    NotRipe: (Code.FAILED_PRECONDITION, "KEY_NOT_RIPE"),
    StoreUnavailable: (Code.UNAVAILABLE, "STORE_UNAVAILABLE"),
    TemporarilyUnavailable: (Code.UNAVAILABLE, "TEMPORARILY_UNAVAILABLE"),
}


def status_of(error: AuthnError) -> Status:
    """What an administrator is told of an error."""
    code, reason = next(
        (STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), (Code.INTERNAL, "INTERNAL")
    )
    return Status(code, str(error), reason, retry_after_s=1 if code is Code.UNAVAILABLE else None)


def admin_router(authn: Authn, guard: Guard) -> APIRouter:
    """The admin API.

    Args:
        guard: lets administrators through and nobody else.
    """
    router = APIRouter(prefix="/admin", tags=["admin"])
    api = _Handlers(authn)
    for method, path, handler, summary, extra in api.routes():
        router.add_api_route(
            path,
            _guarded(handler, guard),
            methods=[method],
            summary=summary,
            name=handler.__name__.strip("_"),
            openapi_extra=extra,
            response_class=Response,
        )
    return router


def _guarded(handler: Handler, guard: Guard) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        challenge: dict[str, str] = {}
        try:
            return await handler(request, await guard(request))
        except ApiError as error:
            status, challenge = error.status, dict(challenges(error))
        except AuthnError as error:
            status = status_of(error)
            if status.code is Code.INTERNAL:
                log_bug(error)
                status = Status(Code.INTERNAL, "internal error")
        headers = _HEADERS | (challenge if status.http_status == 401 else {})
        if status.retry_after_s is not None:
            headers["retry-after"] = str(status.retry_after_s)
        return _json(status.to_json(), status.http_status, headers)

    return endpoint


class _Handlers:
    """What each path does. ``by`` is who asks."""

    def __init__(self, authn: Authn) -> None:
        self._authn = authn
        self._admin = authn.admin

    def routes(self) -> list[tuple[str, str, Handler, str, dict[str, Any]]]:
        """Method, path, handler, summary, and more for the OpenAPI document."""
        client, kid = {"parameters": [_path("client_id")]}, {"parameters": [_path("kid")]}
        return [
            ("POST", "/clients", self._create, "Register a client, or several", _body(_METADATA_OR_MANY)),
            ("GET", "/clients", self._list, "List clients in order of their ids", _PAGE),
            ("GET", "/clients/{client_id}", self._get, "Show a client", client),
            ("PATCH", "/clients/{client_id}", self._change, "Change metadata", {**client, **_body(_METADATA)}),
            ("DELETE", "/clients/{client_id}", self._remove, "Forget a client and end its tokens", client),
            ("POST", "/clients/{client_id}/disable", self._disable, "Disable a client and end its tokens", client),
            ("POST", "/clients/{client_id}/enable", self._enable, "Enable a client", client),
            ("POST", "/clients/{client_id}/revoke", self._revoke_tokens, "End all of a client's tokens", client),
            ("POST", "/clients/{client_id}/secret", self._secret, "Make a new secret", {**client, **_body(_SECRET)}),
            ("GET", "/keys", self._keys, "List signing keys", {}),
            ("POST", "/keys/rotate", self._rotate, "Let the next keys sign now", {}),
            ("POST", "/keys/{kid}/revoke", self._compromise, "Refuse all that a key signed", kid),
            ("POST", "/revocations", self._revoke, "End what a subject or session has", _body(_REVOCATION)),
        ]

    async def _create(self, request: Request, by: str) -> Response:
        body = await _read_json(request)
        many = body if isinstance(body, list) else [body]
        if not all(isinstance(each, dict) for each in many):
            raise _invalid("the body is neither an object of client metadata nor a list of them")
        made = [registered.to_json() for registered in await self._admin.create_clients(many, by)]
        return _json(made if isinstance(body, list) else made[0], 201)

    async def _list(self, request: Request, _: str) -> Response:
        limit = _integer(request.query_params.get("limit", "100"), "limit", 1, PAGE_MAX)
        found = await self._admin.clients(request.query_params.get("after", ""), limit)
        after = {"next": found[-1].client_id} if len(found) == limit else {}
        return _json({"clients": [shown(client) for client in found], **after})

    async def _get(self, request: Request, _: str) -> Response:
        return _json(shown(await self._admin.client(request.path_params["client_id"])))

    async def _change(self, request: Request, by: str) -> Response:
        changes = await _read_object(request)
        return _json(shown(await self._admin.change_client(request.path_params["client_id"], changes, by)))

    async def _remove(self, request: Request, by: str) -> Response:
        await self._admin.remove_client(request.path_params["client_id"], by)
        return Response(status_code=204)

    async def _disable(self, request: Request, by: str) -> Response:
        await self._admin.disable_client(request.path_params["client_id"], by)
        return Response(status_code=204)

    async def _enable(self, request: Request, by: str) -> Response:
        await self._admin.enable_client(request.path_params["client_id"], by)
        return Response(status_code=204)

    async def _revoke_tokens(self, request: Request, by: str) -> Response:
        await self._admin.revoke_client_tokens(request.path_params["client_id"], by)
        return Response(status_code=204)

    async def _secret(self, request: Request, by: str) -> Response:
        body = await _read_object(request)
        overlap_s = body.get("overlap_seconds", 0)
        if type(overlap_s) is not int or not 0 <= overlap_s <= OVERLAP_S_MAX:
            raise _invalid(f"`overlap_seconds` is no whole number from 0 to {OVERLAP_S_MAX}")
        client_id = request.path_params["client_id"]
        secret = await self._admin.rotate_secret(client_id, by, overlap_s=overlap_s, secret=body.get("client_secret"))
        return _json({"client_id": client_id, "client_secret": secret, "client_secret_expires_at": 0}, 201)

    async def _keys(self, _: Request, __: str) -> Response:
        return _json({"keys": [shown_key(key) for key in self._admin.signing_keys()]})

    async def _rotate(self, _: Request, by: str) -> Response:
        await self._admin.rotate_keys(by)
        return _json({"keys": [shown_key(key) for key in self._admin.signing_keys()]})

    async def _compromise(self, request: Request, by: str) -> Response:
        await self._admin.compromise_key(request.path_params["kid"], by)
        return Response(status_code=204)

    async def _revoke(self, request: Request, by: str) -> Response:
        body = await _read_object(request)
        match body:
            case {"subject": str(subject)} if len(body) == 1 and subject:
                await self._authn.revoker.revoke_subject(subject, f"by {by}")
            case {"sid": str(session_id)} if len(body) == 1 and session_id:
                await self._authn.revoker.revoke_session(session_id, f"by {by}")
            case {"grant_id": str(grant_id)} if len(body) == 1 and grant_id:
                await self._authn.refresh.revoke(grant_id, f"by {by}")
            case {"token": str(token)} if len(body) == 1 and token:
                await self._authn.revoker.revoke_any(token, f"by {by}")
            case _:
                raise _invalid("the body has one member of `subject`, `sid`, `grant_id` and `token`, a text")
        return Response(status_code=204)


def shown_key(key: KeyRecord) -> dict[str, Any]:
    """A signing key as it is listed: everything but its private part."""
    return {
        "kid": key.kid,
        "alg": key.algorithm,
        "state": key.state.value,
        "created_at": key.created_at_ms // 1000,
        "state_since": key.state_since_ms // 1000,
        "kek_id": key.sealed.kek_id if key.sealed else None,
    }


def _json(members: Any, status: int = 200, headers: Mapping[str, str] = _HEADERS) -> Response:
    return Response(orjson.dumps(members), status, dict(headers), "application/json")


def _invalid(message: str) -> ApiError:
    return ApiError(Status(Code.INVALID_ARGUMENT, message))


async def _read_json(request: Request) -> Any:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise ApiError(Status(Code.RESOURCE_EXHAUSTED, f"the body is larger than {BODY_BYTES_MAX} bytes"))
    try:
        return loads_object(b'{"body":' + (body or b"{}") + b"}")["body"]
    except MalformedJose as error:
        raise _invalid("the body is not JSON with distinct member names") from error


async def _read_object(request: Request) -> dict[str, Any]:
    body = await _read_json(request)
    if not isinstance(body, dict):
        raise _invalid("the body is no JSON object")
    return body


def _integer(value: str, name: str, least: int, most: int) -> int:
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
        raise _invalid(f"`{name}` is no whole number from {least} to {most}")
    return int(value)


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": kind}}


def _body(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _members(**kinds: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: _kind(kind) for name, kind in kinds.items()}}


def _kind(kind: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}} if kind == "strings" else {"type": kind}


_PAGE: dict[str, Any] = {"parameters": [_query("after", "string"), _query("limit", "integer")]}
_METADATA = _members(
    client_id="string",
    client_secret="string",
    client_name="string",
    token_endpoint_auth_method="string",
    grant_types="strings",
    scope="string",
    redirect_uris="strings",
    resources="strings",
    audiences="strings",
    jwks="object",
    jwks_uri="string",
    dpop_bound_access_tokens="boolean",
    dpop_nonce_required="boolean",
    dpop_jkts="strings",
    authorization_details_types="strings",
    access_token_format="string",
    access_token_signed_response_alg="string",
    access_token_lifetime="integer",
    refresh_token_lifetime="integer",
    refresh_token_rotation="string",
    assertion_audience="string",
    assertion_lifetime_max="integer",
)
_METADATA_OR_MANY: dict[str, Any] = {"oneOf": [_METADATA, {"type": "array", "items": _METADATA}]}
_SECRET = _members(overlap_seconds="integer", client_secret="string")
_REVOCATION = _members(subject="string", sid="string", grant_id="string", token="string")
