"""The short way gives, byte for byte, what the ordinary way gives; and it lets nobody in whom that would not."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api.access import AccessLog, HttpMetrics, RequestLog
from api.auth import Authenticator, Caller, Unauthenticated
from api.fast_check import BULK_PATH, CHECK_PATH, FastChecks
from api.fast_http import fast_protocol
from api.gate import DEFAULT_STORE, Gate
from api.http import v1_routes
from pdp.commands import write
from pdp.relationships import Operation, Update
from pdp.replica.keeper import ReplicaSettings
from pdp.service import CheckSettings, Pdp
from pdp.stores.connect import connect
from pdp.stores.protocol import WriteRequest
from tests.api.wire import KEY, SCHEMA, question
from tests.notation import relationship

KEEP_ALIVE_SECONDS = 2
NO_CHECKS = "a token without the scope"


class Doors:
    """The same service behind both protocols."""

    def __init__(self, ordinary: int, fast: int, pdp: Pdp, counted: list[int]) -> None:
        self.ordinary, self.fast, self.pdp, self._counted = ordinary, fast, pdp, counted

    @property
    def answered(self) -> int:
        """How many requests took the short way."""
        return self._counted[0]


def verify(token: str) -> Caller:
    """Tokens of the tests: one that is good but lacks the scope."""
    if token == NO_CHECKS:
        return Caller("somebody", frozenset({"relationships:read"}))
    raise Unauthenticated("the token is not good")


@pytest_asyncio.fixture
async def doors() -> AsyncIterator[Doors]:
    """Both doors, over a replica that is loaded."""
    datastore = await connect("sqlite:///:memory:")
    await datastore.migrate()
    await datastore.create(DEFAULT_STORE)
    pdp = Pdp(datastore, CheckSettings(), ReplicaSettings())
    store = await pdp.store(DEFAULT_STORE)
    await store.write_schema(SCHEMA)
    stored = ["document:one#viewer@user:ann", "document:two#viewer@user:*", "document:two#banned@user:bob"]
    stored += ["document:three#viewer@group:a#member", "group:a#member@user:cat"]
    await write(store, WriteRequest([Update(Operation.TOUCH, relationship(text)) for text in stored]))
    for _ in range(500):
        if store.keeper.replica is not None:
            break
        await asyncio.sleep(0.02)
    authenticator = Authenticator([KEY], verify)
    door = FastChecks(authenticator, pdp.opened)
    counted = [0]

    def counting(decide: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*asked: Any) -> Any:
            answered = decide(*asked)
            counted[0] += answered is not None
            return answered

        return answer

    door.check, door.bulk = counting(door.check), counting(door.bulk)  # type: ignore[method-assign]
    log = RequestLog()
    log.enabled = False
    app = AccessLog(
        Starlette(routes=v1_routes(Gate(pdp, authenticator))),
        HttpMetrics(CollectorRegistry()),
        frozenset({CHECK_PATH}),
        log,
    )
    servers = []
    ports = []
    for protocol in (HttpToolsProtocol, fast_protocol(door, app)):
        config = uvicorn.Config(
            app,
            http=protocol,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        config.load()
        state = ServerState()

        def make(config: uvicorn.Config = config, state: ServerState = state, kind: Any = protocol) -> Any:
            return kind(config=config, server_state=state, app_state={})

        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        servers.append(server)
        ports.append(server.sockets[0].getsockname()[1])
    made = Doors(ports[0], ports[1], pdp, counted)
    yield made
    for server in servers:
        server.close()
    await pdp.close()


async def exchange(port: int, *parts: bytes, answers: int = 1) -> bytes:
    """Send bytes, in parts that arrive apart, and read until so many answers are whole or the other side closes.

    With ``answers`` 0, how many there will be is not known: until the other side has been quiet for a while.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.01)
    answer = b""
    while not answers or whole(answer) < answers:
        try:
            chunk = await asyncio.wait_for(reader.read(65_536), 10 if answers or not answer else 0.5)
        except TimeoutError:
            break
        if not chunk:
            break
        answer += chunk
    writer.close()
    return answer


def whole(received: bytes) -> int:
    """How many whole answers bytes hold."""
    count = 0
    while b"\r\n\r\n" in received:
        head, _, received = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        if len(received) < size:
            return count
        received = received[size:]
        count += b" 100 " not in head
    return count


def plain(answer: bytes) -> bytes:
    """An answer without what differs from one to the next."""
    answer = re.sub(rb"\r\ndate: [^\r]*", b"", answer)
    return re.sub(rb"\r\nx-request-id: [0-9a-f]{20}", b"\r\nx-request-id: made", answer)


def body_of(members: Any) -> bytes:
    """A JSON body."""
    return json.dumps(members).encode()


def request(body: bytes, *headers: str, key: str | None = KEY, path: str = CHECK_PATH, method: str = "POST") -> bytes:
    """A request in full."""
    lines = [f"{method} {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


ANN = question("document:one#view@user:ann")
GOOD = [
    pytest.param(request(body_of(ANN)), id="yes"),
    pytest.param(request(body_of(question("document:one#view@user:bob"))), id="no"),
    pytest.param(request(body_of(question("document:two#view@user:zoe"))), id="everybody"),
    pytest.param(request(body_of(question("document:two#view@user:bob"))), id="everybody but him"),
    pytest.param(request(body_of(question("document:three#view@user:cat"))), id="through a group"),
    pytest.param(request(body_of(question("document:three#view@group:a#member"))), id="a userset"),
    pytest.param(request(body_of(question("document:none#view@user:ann"))), id="an unknown document"),
    pytest.param(request(body_of({**ANN, "consistency": {"minimizeLatency": True}})), id="least consistency"),
    pytest.param(request(body_of(ANN), "X-Request-Id: mine-1"), id="its own request id"),
    pytest.param(request(body_of(ANN), "Tessera-Store: default"), id="the store named"),
    pytest.param(request(json.dumps(ANN, indent=3).encode()), id="white space"),
    pytest.param(request(body_of(ANN).replace(b'"ann"', b'"\\u0061nn"')), id="an escape"),
]
GOOD += [
    pytest.param(request(body_of({"items": [ANN]}), path=BULK_PATH), id="bulk of one"),
    pytest.param(
        request(
            body_of(
                {
                    "items": [
                        question(f"document:{what}#view@{who}")
                        for what in ("one", "two", "three", "none")
                        for who in ("user:ann", "user:bob", "user:cat", "group:a#member")
                    ]
                }
            ),
            path=BULK_PATH,
        ),
        id="bulk of many",
    ),
    pytest.param(
        request(body_of({"items": [ANN] * 3, "consistency": {"minimizeLatency": True}}), path=BULK_PATH),
        id="bulk with the least consistency",
    ),
]
HANDED_OVER = [
    pytest.param(request(body_of({**ANN, "consistency": {"fullyConsistent": True}})), id="fully consistent"),
    pytest.param(request(body_of({**ANN, "consistency": {"minimizeLatency": False}})), id="a false consistency"),
    pytest.param(request(body_of({**ANN, "consistency": {}})), id="no consistency"),
    pytest.param(request(body_of({**ANN, "context": {"hour": 10}})), id="a context"),
    pytest.param(request(body_of({**ANN, "unknown": 1})), id="an unknown member"),
    pytest.param(request(body_of(ANN).replace(b"objectType", b"object_type")), id="snake case"),
    pytest.param(request(body_of(ANN)[:-1]), id="cut off"),
    pytest.param(request(body_of(ANN) + b" garbage"), id="garbage behind"),
    pytest.param(request(body_of(ANN)[:-1] + b',"permission":"view"}'), id="a member twice"),
    pytest.param(request(b"[]"), id="an array"),
    pytest.param(request(b""), id="nothing"),
    pytest.param(request(b"\xff\xfe"), id="no UTF-8"),
    pytest.param(request(body_of({**ANN, "permission": "veiw"})), id="an unknown permission"),
    pytest.param(request(body_of({**ANN, "permission": 3})), id="a number for a name"),
    pytest.param(request(body_of(question("nothing:one#view@user:ann"))), id="an unknown type"),
    pytest.param(request(body_of(question("document:one#view@nobody:ann"))), id="an unknown subject type"),
    pytest.param(request(body_of(question("document:one#view@group:a#nothing"))), id="an unknown subject relation"),
    pytest.param(request(body_of(question("document:one#view@user:*"))), id="a wildcard"),
    pytest.param(request(body_of(question("document:*#view@user:ann"))), id="a wildcard as resource"),
    pytest.param(request(body_of(question("document:a b#view@user:ann"))), id="an id with a blank"),
    pytest.param(request(body_of(question("document:" + "x" * 1025 + "#view@user:ann"))), id="a long id"),
    pytest.param(request(body_of(ANN), key=None), id="no credential"),
    pytest.param(request(body_of(ANN), key="wrong"), id="a wrong credential"),
    pytest.param(request(body_of(ANN), key=NO_CHECKS), id="no right"),
    pytest.param(request(body_of(ANN), f"Authorization: Bearer {KEY}"), id="two credentials"),
    pytest.param(request(body_of(ANN), "Authorization: Bearer wrong"), id="two credentials, one wrong"),
    pytest.param(request(body_of(ANN), key=None).replace(b"Host", b"Authorization: Basic x\r\nHost"), id="basic"),
    pytest.param(request(body_of(ANN), "Tessera-Store: elsewhere"), id="an unknown store"),
    pytest.param(request(body_of(ANN), "Tessera-Store: default", "Tessera-Store: elsewhere"), id="two stores"),
    pytest.param(request(b"", method="GET"), id="another method"),
    pytest.param(request(body_of(ANN), path=CHECK_PATH + "/"), id="a slash behind"),
    pytest.param(request(body_of(ANN), path=CHECK_PATH + "?a=1"), id="a query"),
    pytest.param(request(body_of(ANN), "Connection: close"), id="the last request"),
    pytest.param(request(body_of(ANN), "Grpc-Timeout: 5S"), id="a deadline"),
    pytest.param(request(body_of(ANN), "Grpc-Timeout: soon"), id="a bad deadline"),
]

HANDED_OVER += [
    pytest.param(request(body_of(members), path=BULK_PATH), id=f"bulk: {name}")
    for name, members in {
        "nothing": {},
        "no items": {"items": []},
        "an unknown permission among others": {"items": [ANN, {**ANN, "permission": "nothing"}]},
        "a wildcard among others": {"items": [ANN, question("document:one#view@user:*")]},
        "a wildcard as resource": {"items": [question("document:*#view@user:ann")]},
        "a context": {"items": [{**ANN, "context": {"hour": 9}}]},
        "a trace": {"items": [ANN], "withTracing": True},
        "full consistency": {"items": [ANN], "consistency": {"fullyConsistent": True}},
        "a bad id": {"items": [ANN, question("document:a b#view@user:ann")]},
        "more than are answered at once": {"items": [ANN] * 1_001},
        "an item that is none": {"items": [ANN, 3]},
    }.items()
]


@pytest.mark.parametrize("sent", GOOD)
async def test_what_it_answers_is_the_same(doors: Doors, sent: bytes) -> None:
    """And it does answer it."""
    expected = plain(await exchange(doors.ordinary, sent))
    assert expected.startswith(b"HTTP/1.1 200")
    assert plain(await exchange(doors.fast, sent)) == expected
    assert doors.answered == 1


@pytest.mark.parametrize("sent", HANDED_OVER)
async def test_what_it_does_not_answer_is_handed_over_whole(doors: Doors, sent: bytes) -> None:
    """The ordinary way says what there is to say."""
    expected = plain(await exchange(doors.ordinary, sent))
    assert expected.startswith(b"HTTP/1.1 ")
    assert plain(await exchange(doors.fast, sent)) == expected
    assert doors.answered == 0


CHUNKED = (
    f"POST {CHECK_PATH} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
).encode()
ONE = body_of(ANN)


def lengths(first: int, second: int) -> bytes:
    """A request that says twice how long it is."""
    return request(ONE).replace(
        f"Content-Length: {len(ONE)}".encode(), f"Content-Length: {first}\r\nContent-Length: {second}".encode()
    )


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(lengths(len(ONE), len(ONE)), id="two lengths, alike"),
        pytest.param(lengths(len(ONE), 0), id="two lengths, different"),
        pytest.param(request(ONE, "Transfer-Encoding: chunked"), id="a length and chunked"),
        pytest.param(CHUNKED + f"{len(ONE):x}\r\n".encode() + ONE + b"\r\n0\r\n\r\n", id="chunked"),
        pytest.param(CHUNKED + b"zz\r\n" + ONE, id="a bad chunk"),
        pytest.param(request(ONE).replace(b"\r\n", b"\n"), id="bare line feeds"),
        pytest.param(request(ONE, " folded: header"), id="a folded header"),
        pytest.param(request(ONE).replace(f"{len(ONE)}".encode(), b"-5"), id="a negative length"),
        pytest.param(request(ONE).replace(f"{len(ONE)}".encode(), b"+5"), id="a signed length"),
        pytest.param(request(ONE, "X-Big: " + "x" * 70_000), id="a large header"),
        pytest.param(request(ONE).replace(b"HTTP/1.1", b"HTTP/1.0"), id="an older version"),
        pytest.param(request(ONE, "Bad\x00Name: x"), id="a zero byte in a header"),
        pytest.param(request(ONE, "Upgrade: websocket", "Connection: Upgrade"), id="an upgrade"),
    ],
)
async def test_smuggling(doors: Doors, sent: bytes) -> None:
    """Requests that two readers might take apart differently: both ways take them apart alike."""
    second = b"GET /smuggled HTTP/1.1\r\nHost: here\r\n\r\n"
    expected = plain(await exchange(doors.ordinary, sent + second, answers=0))
    assert plain(await exchange(doors.fast, sent + second, answers=0)) == expected


async def test_requests_in_a_row_are_answered_in_order(doors: Doors) -> None:
    """Short, ordinary and short ones, sent at once on one connection."""
    sent = b"".join(
        [
            request(body_of(question("document:one#view@user:ann")), "X-Request-Id: a"),
            request(body_of({**ANN, "consistency": {"fullyConsistent": True}}), "X-Request-Id: b"),
            request(body_of(question("document:one#view@user:bob")), "X-Request-Id: c"),
            request(b"{", "X-Request-Id: d"),
            request(body_of(ANN), "X-Request-Id: e"),
        ]
    )
    expected = plain(await exchange(doors.ordinary, sent, answers=5))
    answered = plain(await exchange(doors.fast, sent, answers=5))
    assert re.findall(rb"x-request-id: (\w)", answered) == [b"a", b"b", b"c", b"d", b"e"]
    assert answered == expected


@pytest.mark.parametrize("cut", [1, 20, 60, 100, 150, -1])
async def test_a_request_that_arrives_in_parts(doors: Doors, cut: int) -> None:
    """Wherever it is cut."""
    sent = request(ONE)
    expected = plain(await exchange(doors.ordinary, sent))
    assert plain(await exchange(doors.fast, sent[:cut], sent[cut:])) == expected
    assert doors.answered == 1


async def test_expect_is_left_to_the_ordinary_way(doors: Doors) -> None:
    """The caller is told to go on, and answered."""
    sent = request(ONE, "Expect: 100-continue")
    head, body = sent[: -len(ONE)], sent[-len(ONE) :]
    answered = await exchange(doors.fast, head, body)
    assert answered.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    assert doors.answered == 0


async def test_a_write_is_seen_at_once(doors: Doors) -> None:
    """Its zookie too."""
    store = await doors.pdp.store(DEFAULT_STORE)
    sent = request(body_of(question("document:one#view@user:new")))
    for operation, expected in ((Operation.TOUCH, b"HAS_PERMISSION"), (Operation.DELETE, b"NO_PERMISSION")):
        await write(store, WriteRequest([Update(operation, relationship("document:one#viewer@user:new"))]))
        answered = await exchange(doors.fast, sent)
        assert b"PERMISSIONSHIP_" + expected in answered
        assert plain(answered) == plain(await exchange(doors.ordinary, sent))


async def test_a_schema_change_is_seen_at_once(doors: Doors) -> None:
    """What was decided by the old one is not remembered."""
    store = await doors.pdp.store(DEFAULT_STORE)
    assert b"HAS_PERMISSION" in await exchange(doors.fast, request(ONE))
    await store.write_schema(SCHEMA.replace("viewer - banned", "viewer & banned"))
    assert b"NO_PERMISSION" in await exchange(doors.fast, request(ONE))


async def test_a_condition_is_left_to_the_ordinary_way(doors: Doors) -> None:
    """A caveat makes an answer conditional, with the names that are missing."""
    store = await doors.pdp.store(DEFAULT_STORE)
    await write(
        store, WriteRequest([Update(Operation.TOUCH, relationship("document:one#viewer@user:dan[office_hours]"))])
    )
    sent = request(body_of(question("document:one#view@user:dan")))
    answered = plain(await exchange(doors.fast, sent))
    assert b"CONDITIONAL" in answered
    assert answered == plain(await exchange(doors.ordinary, sent))


async def test_a_caller_that_does_not_read_is_not_answered_without_bound(doors: Doors) -> None:
    """When what it was sent piles up, its requests take the ordinary way, which waits."""
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.fast)
    sent = request(ONE) * 1_000
    sending = asyncio.ensure_future(_send(writer, sent, 40))
    await asyncio.sleep(1.0)
    assert doors.answered < 40_000
    sending.cancel()
    writer.close()
    del reader


async def _send(writer: asyncio.StreamWriter, data: bytes, times: int) -> None:
    for _ in range(times):
        writer.write(data)
        await writer.drain()


async def test_an_idle_connection_is_closed(doors: Doors) -> None:
    """After the keep-alive time, counted from the last answer, and not before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.fast)
    for _ in range(2):
        writer.write(request(ONE))
        await asyncio.sleep(0.6)
    started = asyncio.get_running_loop().time()
    answered = await asyncio.wait_for(reader.read(), 20)
    idle = asyncio.get_running_loop().time() - started
    assert whole(answered) == 2
    assert idle > KEEP_ALIVE_SECONDS / 3
    writer.close()
