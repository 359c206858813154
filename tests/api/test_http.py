"""What the HTTP door does before and after a method: order of refusals, bodies, headers, streams."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from api.http import BODY_BYTES_MAX, Endpoint, V1Door, decode_headers
from api.methods import METHODS, Streaming
from tests.api.wire import KEY, READ_ONLY_TOKEN, Wire, question, refusal, updates

WRITE, READ, CHECK = "/v1/relationships/write", "/v1/relationships/read", "/v1/permissions/check"
_NO_HEADERS: dict[str, str] = {}
FILTER = {"relationshipFilter": {"resourceType": "document"}}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(b"{", "syntax error", id="truncated"),
        pytest.param(b'{"updates": [', "syntax error", id="truncated list"),
        pytest.param(b"[]", "an object was expected", id="a list"),
        pytest.param(b"null", "an object was expected", id="null"),
        pytest.param(b'"{}"', "an object was expected", id="a string"),
        pytest.param(b"}{", "syntax error", id="no JSON"),
        pytest.param(b"{'updates': []}", "syntax error", id="single quotes"),
        pytest.param(b'{"updates": [],}', "syntax error", id="trailing comma"),
        pytest.param(b'{"updates": [], "updates": []}', "duplicate member `updates`", id="repeated member"),
        pytest.param(
            b'{"optionalPreconditions": [], "optional_preconditions": []}', "duplicate member", id="both spellings"
        ),
        pytest.param(b'{"a": NaN}', "`NaN` is no JSON value", id="NaN"),
        pytest.param(b'{"a": -Infinity}', "no JSON value", id="Infinity"),
        pytest.param(b'{"updates": "x"}', "`updates`: a list was expected", id="text for a list"),
        pytest.param(b'{"updates": [null]}', "`updates[0]`: an item of a list is never null", id="null item"),
        pytest.param(b'{"updates": [1]}', "`updates[0]`: an object was expected", id="number for a message"),
        pytest.param(
            b'{"updates": [{"relationship": {"relation": 7}}]}',
            "`updates[0].relationship.relation`: a string was expected",
            id="number for text",
        ),
        pytest.param(b'{"updates": [{"operation": true}]}', "a whole number was expected", id="bool for an enum"),
        pytest.param(b'{"optionalTransactionMetadata": []}', "an object was expected", id="list for an object"),
        pytest.param(
            b'{"optionalTransactionMetadata": {"a": 1e400}}', "a number is too large", id="number beyond double"
        ),
        pytest.param(
            b'{"optionalTransactionMetadata": {"a": 1' + b"0" * 400 + b"}}", "a number is too large", id="huge int"
        ),
        pytest.param(b'{"a": 1' + b"0" * 5_000 + b"}", "a number is too long", id="endless int"),
        pytest.param(b'{"a": ' + b"[" * 100_000, "nested too deeply", id="endless nesting"),
        pytest.param(
            b'{"optionalTransactionMetadata": ' + b'{"a":' * 40 + b"1" + b"}" * 41, "nested deeper than", id="deep"
        ),
        pytest.param(
            b'{"updates": [{"relationship": {"relation": "\\ud800"}}]}', "half of a surrogate pair", id="surrogate"
        ),
        pytest.param(b'{"a": "\xff"}', "not UTF-8", id="no UTF-8"),
        pytest.param('\ufeff{"updates": []}'.encode(), "syntax error", id="byte order mark"),
    ],
)
async def test_bodies_that_do_not_decode(wire: Wire, body: bytes, why: str) -> None:
    """Each is InvalidArgument, without details, and whoever sends it: the body comes before the credential."""
    for headers in _NO_HEADERS, {"authorization": ""}:
        refused = await wire.refused(WRITE, body, **headers)
        assert refused.told == (400, 3, "")
        assert why in refused.message
        assert refused.details == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" \r\n\t", id="blank"),
        pytest.param(b"{}", id="empty object"),
        pytest.param(b" {} garbage", id="only the first value is read"),
        pytest.param(b'{"updates": null}', id="null is unset"),
        pytest.param(b'{"unknown": {"deep": [1]}, "updates": []}', id="unknown members are dropped"),
    ],
)
async def test_bodies_that_do(wire: Wire, body: bytes) -> None:
    """What gateways of the field let pass, passes."""
    assert (await wire.ok(WRITE, body))["writtenAt"]["token"]


async def test_both_spellings_of_members(wire: Wire) -> None:
    """snake_case is read where camelCase is."""
    body = {"updates": [{"operation": 2, "relationship": json.loads(_snake("document:one#viewer@user:ann"))}]}
    await wire.ok(WRITE, body)
    assert await wire.has("document:one#view@user:ann") == "HAS"


def _snake(text: str) -> str:
    members = json.dumps(updates("TOUCH", text)["updates"][0]["relationship"])
    return members.replace("objectType", "object_type").replace("objectId", "object_id")


async def test_oversized_body(wire: Wire) -> None:
    """A body above 4 MiB is 413, declared or not, and before any look at the token."""
    body = b'{"schema": "' + b" " * BODY_BYTES_MAX + b'"}'
    for headers in _NO_HEADERS, {"authorization": "Bearer wrong"}:
        refused = await wire.refused("/v1/schema/write", body, **headers)
        assert refused.told == (413, 8, "")


async def test_body_of_exactly_the_limit(wire: Wire) -> None:
    """A body of 4 MiB passes."""
    body = b'{"schema": "' + b" " * (BODY_BYTES_MAX - 14) + b'"}'
    assert len(body) == BODY_BYTES_MAX
    await wire.ok("/v1/schema/write", body)


async def test_oversized_body_that_does_not_say_so(wire: Wire) -> None:
    """Chunks are counted where no length was declared."""

    async def chunks() -> object:
        for _ in range(5):
            yield b" " * 1024 * 1024

    response = await wire.client.post(WRITE, content=chunks())  # type: ignore[arg-type]  # httpx wants its own bytes
    assert refusal(response).told == (413, 8, "")


@pytest.mark.parametrize("verb", ["GET", "PUT", "OPTIONS", "DELETE", "PATCH", "HEAD"])
async def test_another_verb(wire: Wire, verb: str) -> None:
    """Only POST is served on a known path; the verb comes before the token."""
    response = await wire.client.request(verb, CHECK, headers={"authorization": ""})
    assert response.status_code == 501
    if verb != "HEAD":
        assert response.json() == {"code": 12, "message": "Method Not Allowed", "details": []}


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        pytest.param("", "a bearer token is needed", id="none"),
        pytest.param(f"Basic {KEY}", "a bearer token is needed", id="another scheme"),
        pytest.param(KEY, "a bearer token is needed", id="no scheme"),
        pytest.param("Bearer", "the authorization header has no token", id="no token"),
        pytest.param("Bearer  ", "the authorization header has no token", id="blank token"),
        pytest.param("Bearer wrong", "not valid", id="wrong"),
        pytest.param(f"Bearer {KEY}x", "not valid", id="longer"),
        pytest.param(f"Bearer {KEY[:-1]}", "not valid", id="shorter"),
        pytest.param(f"Bearer {KEY}, Bearer {KEY}", "not valid", id="two"),
    ],
)
async def test_credentials_that_are_not_good(wire: Wire, authorization: str, message: str) -> None:
    """Each is Unauthenticated with a challenge, and before the fields are looked at."""
    body = {"updates": [{"operation": 0}]}
    refused = await wire.refused(WRITE, body, authorization=authorization)
    assert refused.told == (401, 16, "")
    assert message in refused.message
    response = await wire.post(WRITE, body, authorization=authorization)
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_two_authorization_headers(wire: Wire) -> None:
    """Two credentials are none."""
    headers = decode_headers([(b"authorization", f"Bearer {KEY}".encode()), (b"authorization", b"Bearer other")])
    refused = await wire.refused(WRITE, {}, **headers)
    assert refused.told == (401, 16, "")


async def test_scheme_is_case_insensitive(wire: Wire) -> None:
    """RFC 9110, section 11.1."""
    await wire.ok(WRITE, {}, authorization=f"bEARER {KEY}")


async def test_a_token_without_the_scope(wire: Wire) -> None:
    """Who is known and may not: PermissionDenied, after the fields were looked at."""
    reader = f"Bearer {READ_ONLY_TOKEN}"
    refused = await wire.refused(WRITE, {}, authorization=reader)
    assert refused.told == (403, 7, "")
    assert "`relationships:write`" in refused.message
    refused = await wire.refused(WRITE, {"updates": [{"operation": 0}]}, authorization=reader)
    assert refused.told == (400, 3, "")
    assert await wire.results(READ, FILTER, authorization=reader) == []


async def test_unknown_store(wire: Wire) -> None:
    """A store that is not there is NotFound, not an empty one."""
    refused = await wire.refused(CHECK, question("document:one#view@user:ann"), tessera_store="nowhere")
    assert refused.told == (404, 5, "")
    assert refused.message == "no store `nowhere`"


async def test_stream_lines(wire: Wire) -> None:
    """One compact object a line."""
    await wire.touch("document:one#viewer@user:ann", "document:two#viewer@user:ann")
    response = await wire.post(READ, FILTER)
    assert response.headers["content-type"] == "application/json"
    lines = response.text.split("\n")
    assert lines.pop() == ""
    found = {json.loads(line)["result"]["relationship"]["resource"]["objectId"] for line in lines}
    assert found == {"one", "two"}
    assert len(lines) == 2
    assert all(": " not in line for line in lines)


async def test_stream_of_nothing(wire: Wire) -> None:
    """No results: an empty body without a type."""
    response = await wire.post(READ, FILTER)
    assert (response.status_code, response.content) == (200, b"")
    assert "content-type" not in response.headers


@pytest.mark.parametrize(
    ("body", "headers", "told"),
    [
        pytest.param(FILTER, {"authorization": ""}, (401, 16, ""), id="credential"),
        pytest.param({}, {}, (400, 3, ""), id="fields"),
        pytest.param({"relationshipFilter": {}}, {}, (400, 3, "INVALID_FILTER"), id="the method's own"),
        pytest.param(FILTER, {"tessera_store": "nowhere"}, (404, 5, ""), id="store"),
    ],
)
async def test_error_before_the_first_result(
    wire: Wire, body: object, headers: dict[str, str], told: tuple[int, int, str]
) -> None:
    """A stream that fails at once has the error's own status, and the error inside ``error``."""
    refused = await wire.refused_stream(READ, body, **headers)
    assert refused.told == told


async def test_undecodable_body_of_a_stream(wire: Wire) -> None:
    """A body that does not decode is told without the stream's wrapping."""
    refused = await wire.refused(READ, b"{")
    assert refused.told == (400, 3, "")


async def test_error_after_the_first_result(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status stays; the last line tells the error."""
    await wire.touch(*(f"document:d{number}#viewer@user:ann" for number in range(3)))
    real = wire.service.read
    pages: list[object] = []

    async def read(*arguments: object, **named: object) -> object:
        if pages:
            raise RuntimeError("nobody meant this")
        page = await real(*arguments, **{**named, "limit": 2})  # type: ignore[arg-type]  # passed on
        pages.append(page)
        return page

    monkeypatch.setattr(wire.service, "read", read)
    response = await wire.post(READ, FILTER)
    assert response.status_code == 200
    *results, last = [json.loads(line) for line in response.text.splitlines()]
    assert [set(line) for line in results] == [{"result"}, {"result"}]
    assert last == {"error": {"code": 13, "message": "internal error", "details": []}}


async def test_a_bug_is_not_described(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody meant to raise is Internal and tells nothing."""

    async def check(_: object) -> Message:
        raise KeyError("a secret")

    monkeypatch.setattr(wire.service, "check", check)
    response = await wire.post(CHECK, question("document:one#view@user:ann"))
    assert response.status_code == 500
    assert response.json() == {"code": 13, "message": "internal error", "details": []}


@pytest.mark.parametrize("given", ["5", "S5", "-1S", "123456789S", "1s", "", "1.5S"])
async def test_timeouts_of_no_form(wire: Wire, given: str) -> None:
    """A timeout that cannot be read is refused, not ignored."""
    refused = await wire.refused(WRITE, {}, grpc_timeout=given)
    assert refused.told == (400, 3, "")
    assert "grpc-timeout" in refused.message


async def test_a_deadline_that_passes(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's own deadline ends the work."""
    cancelled = asyncio.Event()

    async def check(_: object) -> Message:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    monkeypatch.setattr(wire.service, "check", check)
    refused = await wire.refused(CHECK, question("document:one#view@user:ann"), grpc_timeout="10m")
    assert refused.told == (504, 4, "")
    assert cancelled.is_set()


async def test_a_deadline_that_does_not_pass(wire: Wire) -> None:
    """A generous deadline changes nothing."""
    await wire.ok(CHECK, question("document:one#view@user:ann"), grpc_timeout="5S")


async def test_a_stream_whose_caller_left_ends(wire: Wire) -> None:
    """Work for a stream stops when the caller goes away."""
    started, ended = asyncio.Event(), asyncio.Event()
    gone = asyncio.Event()

    async def run(*_: object) -> AsyncIterator[list[Message]]:
        try:
            started.set()
            await asyncio.Event().wait()
            yield [Empty()]
        finally:
            ended.set()

    read = next(m for m in METHODS if m.path == READ)
    assert isinstance(read, Streaming)
    endpoint = Endpoint(replace(read, run=run), V1Door(wire.gate))
    bodies = iter([{"type": "http.request", "body": json.dumps(FILTER).encode()}])

    async def receive() -> object:
        for event in bodies:
            return event
        await gone.wait()
        return {"type": "http.disconnect"}

    sent: list[object] = []

    async def send(event: object) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "method": "POST",
        "path": READ,
        "headers": [(b"authorization", f"Bearer {KEY}".encode())],
    }
    task = asyncio.create_task(endpoint(scope, receive, send))  # type: ignore[arg-type]  # a caller made by hand
    await asyncio.wait_for(started.wait(), 5)
    gone.set()
    await asyncio.wait_for(task, 5)
    assert ended.is_set()
    assert sent == []
