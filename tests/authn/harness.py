"""An identity part to test: started on a database, asked through its endpoints, with a clock that the test moves."""

import base64
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

from api.oauth import Endpoint, HttpRequest, endpoints
from authn.clients.registry import Registered
from authn.clock import World
from authn.rights import Rights
from authn.service import Authn
from authn.settings import AuthnSettings
from authn.stores.connect import AuthnStore, connect
from tests.authn.forge import Key, proof

ISSUER = "https://id.example"
TOKEN_URL = ISSUER + "/oauth2/token"
KEK = b"0123456789abcdef0123456789abcdef"
FORM = "application/x-www-form-urlencoded"
_numbers = itertools.count()


class Clock:
    """A clock that goes only when it is told to; monotonic time goes with it."""

    def __init__(self) -> None:
        self.ms = time.time_ns() // 1_000_000

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.ms += int(seconds * 1000)

    @property
    def s(self) -> int:
        """Now, in whole seconds."""
        return self.ms // 1000

    def world(self) -> World:
        """The world by this clock."""
        return World(now_ms=lambda: self.ms, monotonic_s=lambda: self.ms / 1000)


@dataclass
class Reply:
    """An endpoint's answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The members of the body."""
        members: dict[str, Any] = json.loads(self.body)
        return members

    @property
    def error(self) -> str | None:
        """The error code of a refusal."""
        code: str | None = self.json.get("error") if self.status >= 400 else None
        return code


def basic(client_id: str, secret: str) -> str:
    """A Basic authorization header (RFC 6749, section 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


@dataclass
class Identity:
    """A running identity part."""

    authn: Authn
    store: AuthnStore
    admin: tuple[str, str] | None
    logs: list[bytes] = field(default_factory=list)
    _endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._endpoints = endpoints(self.authn)

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()) -> Reply:
        """Send a request to an endpoint."""
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        answer = await self._endpoints[path](HttpRequest(method, encoded, body))
        return Reply(answer.status, {k.decode(): v.decode() for k, v in answer.headers}, answer.body)

    async def post(
        self,
        path: str,
        form: Mapping[str, str] | Sequence[tuple[str, str]],
        *,
        auth: str | None = None,
        dpop: Sequence[str] | str = (),
    ) -> Reply:
        """Send a form."""
        headers = [("content-type", FORM)]
        if auth is not None:
            headers.append(("authorization", auth))
        headers += [("dpop", value) for value in ([dpop] if isinstance(dpop, str) else dpop)]
        return await self.ask("POST", path, urlencode(form).encode(), headers)

    async def client(self, **metadata: Any) -> Registered:
        """Register a client; by default one with a secret for client credentials."""
        defaults = {"client_id": f"client-{next(_numbers)}", "grant_types": ["client_credentials"], "scope": "a b c"}
        (registered,) = await self.authn.admin.create_clients([{**defaults, **metadata}], by="test")
        return registered

    async def token(self, client: Registered, *, dpop: Sequence[str] | str = (), **form: str) -> Reply:
        """Ask for a token by client credentials."""
        return await self.grant(client, "client_credentials", dpop=dpop, **form)

    async def grant(
        self, client: Registered, grant_type: str, *, dpop: Sequence[str] | str = (), **form: str
    ) -> Reply:
        """Ask for a token by a grant, with the client's secret or with none."""
        pairs = {"grant_type": grant_type, **form}
        auth = None
        if client.secret is None:
            pairs["client_id"] = client.client.client_id
        else:
            auth = basic(client.client.client_id, client.secret)
        return await self.post("/oauth2/token", pairs, auth=auth, dpop=dpop)

    async def introspect(self, by: Registered, token: str) -> dict[str, Any]:
        """Look into a token."""
        assert by.secret is not None
        reply = await self.post("/oauth2/introspect", {"token": token}, auth=basic(by.client.client_id, by.secret))
        assert reply.status == 200, reply
        return reply.json

    async def revoke(self, by: Registered, token: str) -> Reply:
        """Take a token back."""
        assert by.secret is not None
        return await self.post("/oauth2/revoke", {"token": token}, auth=basic(by.client.client_id, by.secret))


@asynccontextmanager
async def running(
    url: str = "sqlite:///:memory:",
    clock: Clock | None = None,
    rights: Rights | None = None,
    fetch: Any = None,
    **settings: Any,
) -> AsyncIterator[Identity]:
    """An identity part on a database. Its keys are ES256 alone unless others are asked for: RSA keys take time."""
    store = await connect(url)
    await store.migrate()
    logs: list[bytes] = []
    values = {"issuer": ISSUER, "key_encryption_keys": (KEK,), "signing_algorithms": ("ES256",), **settings}
    world = clock.world() if clock else None
    authn = Authn(AuthnSettings(**values), store, rights=rights, log=logs.append, world=world, fetch=fetch)
    try:
        admin = await authn.start()
        yield Identity(authn, store, admin, logs)
    finally:
        await authn.stop()
        await store.close()


def token_proof(key: Key, **claims: Any) -> str:
    """A proof for the token endpoint."""
    return proof(key, "POST", TOKEN_URL, **claims)
