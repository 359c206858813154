"""The OAuth endpoints over HTTP: forms taken apart by hand, answers and errors as their RFCs give them.

Each endpoint is a plain function of an `OAuthHttpRequest`, with a thin ASGI shell around it, so that another
transport can call the same function.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.logs import get_logger, log_bug
from authn.discovery import AUTHORIZATION_SERVER_PATH, JWKS_PATH, OPENID_CONFIGURATION_PATH, TOKEN_PATH
from authn.errors import (
    InvalidClient,
    InvalidRequest,
    OAuthError,
    StoreUnavailable,
    TemporarilyUnavailable,
)
from authn.keys.states import JWKS_MAX_AGE_S
from authn.service import Authn, OAuthRequest

FORM_BYTES_MAX = 64 * 1024
PARAMETERS_MAX = 256
_JSON = (b"content-type", b"application/json")
_NO_STORE = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
_FORM = "application/x-www-form-urlencoded"

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class OAuthHttpRequest:
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
class OAuthAnswer:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: Headers = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What the access log should tell of it."""


Endpoint = Callable[[OAuthHttpRequest], Awaitable[OAuthAnswer]]


def error_answer(error: Exception, *, used_authorization: bool = False) -> OAuthAnswer:
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


def read_form(request: OAuthHttpRequest) -> list[tuple[str, str]]:
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


def has_form_type(request: OAuthHttpRequest) -> bool:
    """Whether the body says that it is a form."""
    content_type = request.first(b"content-type") or ""
    return content_type.partition(";")[0].strip().lower() == _FORM


def oauth_request(request: OAuthHttpRequest) -> OAuthRequest:
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

    def __init__(self, handle: Callable[[OAuthRequest], Awaitable[Mapping[str, Any] | None]]) -> None:
        self._handle = handle

    async def __call__(self, request: OAuthHttpRequest) -> OAuthAnswer:
        """Answer; never raises."""
        if request.method != "POST":
            answer = _json(405, {"error": "invalid_request", "error_description": "only POST is answered here"})
            answer.headers.append((b"allow", b"POST"))
            return answer
        if len(request.body) > FORM_BYTES_MAX:
            return _json(413, {"error": "invalid_request", "error_description": "the body is too large"})
        if not has_form_type(request):
            return _json(415, {"error": "invalid_request", "error_description": f"the body is not `{_FORM}`"})
        try:
            members = await self._handle(oauth_request(request))
        except Exception as error:
            return error_answer(error, used_authorization=request.first(b"authorization") is not None)
        return _json(200, members) if members is not None else OAuthAnswer(200, b"", list(_NO_STORE))


def _json(status: int, members: Mapping[str, Any], headers: Sequence[tuple[bytes, bytes]] = ()) -> OAuthAnswer:
    return OAuthAnswer(status, orjson.dumps(members), [_JSON, *_NO_STORE, *headers])


class DocumentEndpoint:
    """A public document by GET, with an entity tag.

    Args:
        document: gives its bytes and its tag.
    """

    def __init__(self, document: Callable[[], tuple[bytes, str]], content_type: bytes, cache_control: bytes) -> None:
        self._document = document
        self._headers = ((b"content-type", content_type), (b"cache-control", cache_control))

    async def __call__(self, request: OAuthHttpRequest) -> OAuthAnswer:
        """Answer; never raises."""
        if request.method not in {"GET", "HEAD"}:
            return OAuthAnswer(405, b"", [(b"allow", b"GET, HEAD")])
        body, tag = self._document()
        headers = [*self._headers, (b"etag", tag.encode()), (b"access-control-allow-origin", b"*")]
        known = request.first(b"if-none-match") or ""
        if {each.strip().removeprefix("W/") for each in known.split(",")} & {"*", tag}:
            return OAuthAnswer(304, b"", headers)
        return OAuthAnswer(200, body, headers)


class Shell:
    """The ASGI application of one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        body = await _read_body(receive)
        if body is None:
            return
        answer = await self._endpoint(OAuthHttpRequest(scope["method"], scope["headers"], body))
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


def endpoints(authn: Authn) -> dict[str, Endpoint]:
    """Every endpoint by its path."""
    discovery = authn.discovery()
    tag = f'"{hashlib.sha256(discovery).hexdigest()[:32]}"'
    document = DocumentEndpoint(lambda: (discovery, tag), b"application/json", b"public, max-age=300")
    jwks_cache = f"public, max-age={JWKS_MAX_AGE_S}, stale-while-revalidate={JWKS_MAX_AGE_S}".encode()

    def jwks() -> tuple[bytes, str]:
        ring = authn.keys.ring
        return ring.jwks, ring.jwks_etag

    return {
        TOKEN_PATH: FormEndpoint(authn.token),
        JWKS_PATH: DocumentEndpoint(jwks, b"application/jwk-set+json", jwks_cache),
        OPENID_CONFIGURATION_PATH: document,
        AUTHORIZATION_SERVER_PATH: document,
    }


def routes(authn: Authn) -> list[Route]:
    """The endpoints as routes to mount."""
    return [Route(path, Shell(endpoint)) for path, endpoint in endpoints(authn).items()]
