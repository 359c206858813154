"""How a request is let in, the same for HTTP and gRPC: who calls, are its fields in order, may they, on which store.

Header names and gRPC metadata keys are lower case and mean the same: ``authorization``, ``tessera-store``,
``idempotency-key``.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.message import Message

from api.auth import Authenticator, Caller, require_scope
from api.fields import validate
from api.methods import Beyond, Call, Method
from api.statuses import ApiError, Code, Status
from pdp.service import Pdp

DEFAULT_STORE = "default"
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class Gate:
    """Lets requests in."""

    def __init__(self, pdp: Pdp, authenticator: Authenticator) -> None:
        self._pdp = pdp
        self._authenticator = authenticator

    async def authenticate(self, headers: Mapping[str, str], path: str, method: str = "POST") -> Caller:
        """Who calls.

        Args:
            path: what is asked, as our own routes name it; proofs of possession are for one path.

        Raises:
            Unauthenticated: nobody that is known here.
            ApiError: UNAVAILABLE, when nobody can tell at the moment.
        """
        return await self._authenticator.authenticate_request(headers, method, path)

    async def admit(
        self,
        method: Method | Beyond,
        headers: Mapping[str, str],
        caller: Caller,
        message: Message | None,
        members: Mapping[str, Any],
    ) -> Call:
        """The call that a request makes; ``message`` ``None`` where requests are a stream, each looked at by itself.

        Raises:
            InvalidFields, ApiError, StoreNotFound: it may not.
        """
        if message is not None:
            validate(message)
        require_scope(caller, method.scope)
        store = await self._pdp.store(headers.get("tessera-store", DEFAULT_STORE))
        return Call(store, caller, members, _idempotency_key(headers))


def _idempotency_key(headers: Mapping[str, str]) -> str:
    """The key under which a write is done once, ``""`` without one.

    Raises:
        ApiError: INVALID_ARGUMENT, where it is not of its form.
    """
    given = headers.get("idempotency-key", "")
    if given and not _IDEMPOTENCY_KEY.fullmatch(given):
        message = "an idempotency key has 1 to 255 printable ASCII characters"
        raise ApiError(Status(Code.INVALID_ARGUMENT, message))
    return given


def deadline(headers: Mapping[str, str]) -> float | None:
    """When the caller gives up, by the loop's clock, as ``grpc-timeout`` says; ``None`` without it.

    Raises:
        ApiError: INVALID_ARGUMENT, where it is not of its form.
    """
    given = headers.get("grpc-timeout")
    if given is None:
        return None
    found = _TIMEOUT.fullmatch(given)
    if found is None:
        raise ApiError(Status(Code.INVALID_ARGUMENT, f"invalid grpc-timeout: `{given[:32]}` is none, such as `500m`"))
    return asyncio.get_running_loop().time() + int(found[1]) * _SECONDS[found[2]]


@asynccontextmanager
async def until(at: float | None) -> AsyncIterator[None]:
    """A scope that ends with an error when the caller's deadline passes.

    Raises:
        ApiError: DEADLINE_EXCEEDED.
    """
    if at is None:
        yield
        return
    limit = asyncio.timeout_at(at)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        message = "the caller's deadline passed before there was an answer"
        raise ApiError(Status(Code.DEADLINE_EXCEEDED, message)) from None
