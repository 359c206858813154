"""The OAuth endpoints over HTTP: forms taken apart by hand, answers and errors as their RFCs give them.

Each endpoint is a plain function of an `HttpRequest`, with a thin ASGI shell around it, so that another
transport can call the same function.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.logs import get_logger, log_bug
from authn.clients.authenticator import OAuthRequest
from authn.discovery import (
    AUTHORIZATION_SERVER_PATH,
    COMPROMISED_KEYS_PATH,
    INTROSPECT_PATH,
    JWKS_PATH,
    OPENID_CONFIGURATION_PATH,
    PROTECTED_RESOURCE_PATH,
    REVOKE_PATH,
    TOKEN_PATH,
)
from authn.errors import (
    InvalidClient,
    InvalidRequest,
    OAuthError,
    StoreUnavailable,
    TemporarilyUnavailable,
)
from authn.keys.states import JWKS_MAX_AGE_S
from authn.service import Authn, OAuthAnswer

FORM_BYTES_MAX = 64 * 1024
PARAMETERS_MAX = 256
_JSON = (b"content-type", b"application/json")
_NO_STORE = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
_FORM = "application/x-www-form-urlencoded"

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """An HTTP request as far as an endpoint looks at it. Header names are lower case, every header is there."""

    method: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes = b""

    def all(self, name: bytes) -> list[str]:
        """The values of every header of that name."""
        return [value.decode("latin-1") for key, value in self.headers if key == name]

    def first(self, name: bytes) -> str | None:
        """The first value of that header."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), None)


@dataclass(slots=True)
class HttpAnswer:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: Headers = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What the access log should tell of it."""


Endpoint = Callable[[HttpRequest], Awaitable[HttpAnswer]]


def error_answer(error: Exception, *, used_authorization: bool = False) -> HttpAnswer:
    """What a client is told of an error (RFC 6749, section 5.2); what nobody meant to raise is logged as a bug."""
    if isinstance(error, StoreUnavailable):
        error = TemporarilyUnavailable(str(error))
    if not isinstance(error, OAuthError):
        log_bug(error)
        return _json(500, {"error": "server_error", "error_description": OAuthError.description})
    body = {"error": error.code, "error_description": error.description}
    headers: Headers = []
    status = 400
    if isinstance(error, TemporarilyUnavailable):
        status = 503
        headers.append((b"retry-after", b"1"))
    elif isinstance(error, InvalidClient):
        status = 401
        if used_authorization:
            headers.append((b"www-authenticate", b'Basic realm="tessera", charset="UTF-8"'))
    if error.dpop_nonce is not None:
        headers.append((b"dpop-nonce", error.dpop_nonce.encode()))
    get_logger("oauth").info("refused", error=error.code, why=str(error))
    answer = _json(status, body, headers)
    answer.facts["code"] = error.code
    return answer


def read_form(request: HttpRequest) -> list[tuple[str, str]]:
    """The parameters of a form body, in order.

    Raises:
        InvalidRequest: it is no form in UTF-8, or has too many parameters.
    """
    try:
        text = request.body.decode("utf-8")
        return parse_qsl(
            text, keep_blank_values=True, strict_parsing=False, errors="strict", max_num_fields=PARAMETERS_MAX
        )
    except ValueError as error:
        raise InvalidRequest("the body is no form in UTF-8, or has too many parameters") from error


def has_form_type(request: HttpRequest) -> bool:
    """Whether the body says that it is a form."""
    content_type = request.first(b"content-type") or ""
    return content_type.partition(";")[0].strip().lower() == _FORM


def oauth_request(request: HttpRequest) -> OAuthRequest:
    """The request as ``authn`` takes it.

    Raises:
        InvalidRequest: the body is no form, or there are two credentials in headers.
    """
    authorizations = request.all(b"authorization")
    if len(authorizations) > 1:
        raise InvalidRequest("there is more than one authorization header")
    return OAuthRequest(read_form(request), authorizations[0] if authorizations else None, request.all(b"dpop"))


class FormEndpoint:
    """An endpoint that takes a form by POST.

    Args:
        handle: gives the members of the answer, or raises an `authn.errors.OAuthError`.
    """

    def __init__(self, handle: Callable[[OAuthRequest], Awaitable[OAuthAnswer]]) -> None:
        self._handle = handle

    async def __call__(self, request: HttpRequest) -> HttpAnswer:
        """Answer; never raises."""
        if request.method != "POST":
            members = {"error": "invalid_request", "error_description": "only POST is answered here"}
            return _json(405, members, [(b"allow", b"POST")])
        if len(request.body) > FORM_BYTES_MAX:
            return _json(413, {"error": "invalid_request", "error_description": "the body is too large"})
        if not has_form_type(request):
            return _json(415, {"error": "invalid_request", "error_description": f"the body is not `{_FORM}`"})
        try:
            answer = await self._handle(oauth_request(request))
        except Exception as error:
            return error_answer(error, used_authorization=request.first(b"authorization") is not None)
        nonce = () if answer.dpop_nonce is None else ((b"dpop-nonce", answer.dpop_nonce.encode()),)
        if answer.members is None:
            return HttpAnswer(200, b"", [*_NO_STORE, *nonce])
        return _json(200, answer.members, nonce)


def _json(status: int, members: Mapping[str, Any], headers: Sequence[tuple[bytes, bytes]] = ()) -> HttpAnswer:
    return HttpAnswer(status, orjson.dumps(members), [_JSON, *_NO_STORE, *headers])


class DocumentEndpoint:
    """A public document by GET, with an entity tag.

    Args:
        document: gives its bytes and its tag.
    """

    def __init__(self, document: Callable[[], tuple[bytes, str]], content_type: bytes, cache_control: bytes) -> None:
        self._document = document
        self._headers = ((b"content-type", content_type), (b"cache-control", cache_control))

    async def __call__(self, request: HttpRequest) -> HttpAnswer:
        """Answer; never raises."""
        if request.method not in {"GET", "HEAD"}:
            return HttpAnswer(405, b"", [(b"allow", b"GET, HEAD")])
        body, tag = self._document()
        headers = [*self._headers, (b"etag", tag.encode()), (b"access-control-allow-origin", b"*")]
        known = request.first(b"if-none-match") or ""
        if {each.strip().removeprefix("W/") for each in known.split(",")} & {"*", tag}:
            return HttpAnswer(304, b"", headers)
        return HttpAnswer(200, body, headers)


class Shell:
    """The ASGI application of one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        body = await _read_body(receive)
        if body is None:
            return
        answer = await self._endpoint(HttpRequest(scope["method"], scope["headers"], body))
        scope.setdefault("state", {}).update(answer.facts)
        headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


async def _read_body(receive: Receive) -> bytes | None:
    """The body, or as much of it as shows that it is too large; ``None`` when the caller went away."""
    body = b""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        body += bytes(event.get("body", b""))
        if len(body) > FORM_BYTES_MAX or not event.get("more_body", False):
            return body


def _tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _fixed_document(body: bytes) -> DocumentEndpoint:
    tag = _tag(body)
    return DocumentEndpoint(lambda: (body, tag), b"application/json", b"public, max-age=300")


def endpoints(authn: Authn) -> dict[str, Endpoint]:
    """Every endpoint by its path."""
    discovery = _fixed_document(authn.discovery())
    jwks_cache = f"public, max-age={JWKS_MAX_AGE_S}, stale-while-revalidate={JWKS_MAX_AGE_S}".encode()

    def jwks() -> tuple[bytes, str]:
        ring = authn.keys.ring
        return ring.jwks, ring.jwks_etag

    def compromised() -> tuple[bytes, str]:
        body = orjson.dumps({"kids": sorted(authn.keys.ring.compromised)})
        return body, _tag(body)

    return {
        TOKEN_PATH: FormEndpoint(authn.token),
        JWKS_PATH: DocumentEndpoint(jwks, b"application/jwk-set+json", jwks_cache),
        INTROSPECT_PATH: FormEndpoint(authn.introspect),
        REVOKE_PATH: FormEndpoint(authn.revoke),
        COMPROMISED_KEYS_PATH: DocumentEndpoint(compromised, b"application/json", b"public, max-age=15"),
        OPENID_CONFIGURATION_PATH: discovery,
        AUTHORIZATION_SERVER_PATH: discovery,
        PROTECTED_RESOURCE_PATH: _fixed_document(authn.resource_metadata()),
    }


def routes(authn: Authn) -> list[Route]:
    """The endpoints as routes to mount."""
    return [Route(path, Shell(endpoint)) for path, endpoint in endpoints(authn).items()]


class InFront:
    """Sends requests for known paths straight to their applications, past a router that would try each in turn.

    Args:
        app: answers everything else.
        routes: fixed paths, without parameters, whose applications answer every method.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[Route]) -> None:
        self._app = app
        self._known = {route.path: route.app for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        app = self._known.get(scope["path"], self._app) if scope["type"] == "http" else self._app
        await app(scope, receive, send)
