"""The v1 API in the test's own process: what a caller sends, and what comes back."""

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette

from api.auth import Authenticator, Caller, Unauthenticated
from api.gate import DEFAULT_STORE, Gate
from api.http import v1_routes
from pdp.relationships import Revision
from pdp.replica.keeper import ReplicaSettings
from pdp.service import CheckSettings, Pdp, StoreService
from pdp.stores.connect import connect
from tests.notation import relationship

KEY = "a key for tests"
READ_ONLY_TOKEN = "a token that may only read relationships"
SCHEMA = """use expiration

caveat office_hours(hour int) {
	hour >= 9 && hour < 17
}

definition user {}

definition group {
	relation member: user | group#member
}

definition document {
	relation viewer: user | user:* | group#member | user with office_hours | user with expiration
	relation banned: user
	permission view = viewer - banned
}
"""


def subject(text: str) -> dict[str, Any]:
    """``user:ann`` or ``group:eng#member`` as the wire has it."""
    object_, _, relation = text.partition("#")
    type_, _, id_ = object_.partition(":")
    found: dict[str, Any] = {"object": {"objectType": type_, "objectId": id_}}
    return {**found, "optionalRelation": relation} if relation else found


def resource(text: str) -> dict[str, Any]:
    """``document:one`` as the wire has it."""
    type_, _, id_ = text.partition(":")
    return {"objectType": type_, "objectId": id_}


def on_wire(text: str) -> dict[str, Any]:
    """A relationship in the field's notation as the wire has it."""
    found = relationship(text)
    members: dict[str, Any] = {
        "resource": {"objectType": found.resource_type, "objectId": found.resource_id},
        "relation": found.relation,
        "subject": {
            "object": {"objectType": found.subject_type, "objectId": found.subject_id},
            "optionalRelation": found.subject_relation,
        },
    }
    if found.caveat_name:
        context = json.loads(found.caveat_context) if found.caveat_context else {}
        members["optionalCaveat"] = {"caveatName": found.caveat_name, "context": context}
    if found.expires_at is not None:
        members["optionalExpiresAt"] = f"1970-01-01T00:00:00.{found.expires_at:06d}Z"
        assert found.expires_at < 1_000_000, "only times long past in tests of the wire; else say it yourself"
    return members


def updates(operation: str, *texts: str) -> dict[str, Any]:
    """A write of relationships, all by the same operation."""
    return {"updates": [{"operation": f"OPERATION_{operation}", "relationship": on_wire(text)} for text in texts]}


def question(text: str) -> dict[str, Any]:
    """``document:one#view@user:ann`` as a check's members."""
    asked, _, who = text.partition("@")
    what, _, permission = asked.partition("#")
    return {"resource": resource(what), "permission": permission, "subject": subject(who)}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as a caller meets it."""

    http_status: int
    code: int
    reason: str
    message: str
    metadata: dict[str, str]
    details: list[dict[str, Any]]

    @property
    def told(self) -> tuple[int, int, str]:
        """Status, code and reason."""
        return self.http_status, self.code, self.reason


def refusal(response: httpx.Response, *, in_stream: bool = False) -> Refusal:
    """The error that a response tells."""
    body = response.json()
    status = body["error"] if in_stream else body
    assert set(status) == {"code", "message", "details"}
    infos = [d for d in status["details"] if d["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"]
    info: dict[str, Any] = infos[0] if infos else {"reason": "", "metadata": {}}
    assert not infos or info["domain"] == "authzed.com"
    reason = info["reason"].removeprefix("ERROR_REASON_")
    return Refusal(
        response.status_code, status["code"], reason, status["message"], info["metadata"], status["details"]
    )


class Wire:
    """A caller of the API with a key that may do everything."""

    def __init__(self, client: httpx.AsyncClient, store: StoreService, gate: Gate) -> None:
        self.client = client
        self.service = store
        self.gate = gate

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send a body: JSON of a value, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, content=content, headers=names)

    async def ok(self, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """The answer of a request that must pass."""
        response = await self.post(path, body, **headers)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def results(self, path: str, body: Any = None, **headers: str) -> list[dict[str, Any]]:
        """The results of a stream that must end well."""
        response = await self.post(path, body, **headers)
        assert response.status_code == 200, response.text
        return [json.loads(line)["result"] for line in response.text.splitlines()]

    async def refused(self, path: str, body: Any = None, **headers: str) -> Refusal:
        """The error of a request that must not pass, and that must leave no trace."""
        return refusal(await self._without_trace(path, body, headers))

    async def refused_stream(self, path: str, body: Any = None, **headers: str) -> Refusal:
        """The error of a stream that must not begin."""
        return refusal(await self._without_trace(path, body, headers), in_stream=True)

    async def _without_trace(self, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        before = await self.stored()
        response = await self.post(path, body, **headers)
        assert response.status_code >= 400, response.text
        assert await self.stored() == before, "a refused request wrote something"
        return response

    async def stored(self) -> tuple[Revision, Sequence[str], str | None]:
        """All that the store holds: the newest revision, every relationship and the schema's text."""
        store = self.service.store
        head = await store.head()
        rows = [repr(row) async for batch in store.scan(head) for row in batch]
        schema = await store.schema(head)
        return head, sorted(rows), schema.text if schema else None

    async def schema(self, text: str = SCHEMA) -> str:
        """Write a schema; its zookie."""
        token: str = (await self.ok("/v1/schema/write", {"schema": text}))["writtenAt"]["token"]
        return token

    async def touch(self, *texts: str) -> str:
        """Write relationships; their zookie."""
        answer = await self.ok("/v1/relationships/write", updates("TOUCH", *texts))
        token: str = answer["writtenAt"]["token"]
        return token

    async def has(self, text: str, **members: Any) -> str:
        """What check says, in short: ``HAS``, ``NO`` or ``CONDITIONAL``."""
        answer = await self.ok("/v1/permissions/check", {**question(text), **members})
        said: str = answer["permissionship"]
        return said.removeprefix("PERMISSIONSHIP_").removesuffix("_PERMISSION")


class Listening:
    """A stream without end, over a connection made by hand: `line` gives what came next, `hang_up` goes away."""

    def __init__(self, gate: Gate, path: str, body: Any, **headers: str) -> None:
        self.started: dict[str, Any] = {}
        self.ended = asyncio.Event()
        self._app = Starlette(routes=v1_routes(gate))
        self._lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._body = json.dumps(body).encode()
        self._sent = False
        names = {"authorization": f"Bearer {KEY}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        self._scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in names.items()],
        }
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        finally:
            self.ended.set()

    async def _receive(self) -> dict[str, Any]:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._body}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self.started = dict(event)
        for line in event.get("body", b"").splitlines():
            await self._lines.put(json.loads(line))

    async def line(self, seconds: float = 5.0) -> dict[str, Any]:
        """What came next."""
        return await asyncio.wait_for(self._lines.get(), seconds)

    async def result(self) -> dict[str, Any]:
        """The next result."""
        found: dict[str, Any] = (await self.line())["result"]
        return found

    def nothing_more(self) -> bool:
        """Whether all that came was taken."""
        return self._lines.empty()

    async def hang_up(self) -> None:
        """Go away, and wait until that was noticed."""
        self._gone.set()
        await asyncio.wait_for(self._task, 5)


def _verify_token(token: str) -> Caller:
    if token == READ_ONLY_TOKEN:
        return Caller("a reader", frozenset({"relationships:read"}))
    raise Unauthenticated("the access token is not valid")


@asynccontextmanager
async def served_pdp(database_url: str, *stores: str) -> AsyncIterator[tuple[Gate, Pdp]]:
    """A decision point over a database, with a gate before it."""
    datastore = await connect(database_url)
    await datastore.migrate()
    for name in (DEFAULT_STORE, *stores):
        await datastore.create(name)
    pdp = Pdp(datastore, CheckSettings(), ReplicaSettings())
    try:
        yield Gate(pdp, Authenticator([KEY], _verify_token)), pdp
    finally:
        await pdp.close()


@asynccontextmanager
async def serving(database_url: str = "sqlite:///:memory:", *stores: str) -> AsyncIterator[Wire]:
    """The API over a database, the schema not written yet."""
    async with served_pdp(database_url, *stores) as (gate, pdp):
        app = Starlette(routes=v1_routes(gate))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://tessera",
            headers={"authorization": f"Bearer {KEY}"},
        ) as client:
            yield Wire(client, await pdp.store(DEFAULT_STORE), gate)
