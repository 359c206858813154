"""The benchmarks' connection: what it takes for an answer, and what for none."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks.connection import Connection, ConnectionFailed
from tests.servers import free_port

_GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Kind: good\r\n\r\n{}"


@asynccontextmanager
async def _serving(answer: bytes, *, hangs_up: bool) -> AsyncIterator[tuple[str, Callable[[], int]]]:
    """A server that answers every request alike; gives its URL and how many connections it saw."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                writer.write(answer)
                await writer.drain()
                if hangs_up:
                    return
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", lambda: connections
    finally:
        server.close()
        await server.wait_closed()


async def test_one_connection_serves_many_requests() -> None:
    """Status, headers in lower case, and the body to its length."""
    async with _serving(_GOOD, hangs_up=False) as (url, connections), Connection(url) as connection:
        for _ in range(3):
            answer = await connection.post("/x", b"abc", {})
            assert (answer.status, answer.body, answer.headers["x-kind"]) == (200, b"{}", "good")
        assert connections() == 1


async def test_a_connection_that_was_hung_up_is_opened_again() -> None:
    """A server ends what was idle for long; the next request must not fail for that."""
    async with _serving(_GOOD, hangs_up=True) as (url, connections), Connection(url) as connection:
        for _ in range(3):
            assert (await connection.post("/x", b"", {})).status == 200
            assert await connection._reader.read() == b"", "the server hangs up and says no more"
        assert connections() == 3


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(b"", "no whole answer from `/x`", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", "no whole answer from `/x`", id="half a head"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "no whole answer from `/x`", id="half a body"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n{}", "an answer without a length", id="no length"),
        pytest.param(b"HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n", "an answer without a length", id="no status"),
    ],
)
async def test_what_is_no_whole_answer_is_an_error(answer: bytes, says: str) -> None:
    """Never an empty success."""
    async with _serving(answer, hangs_up=True) as (url, _), Connection(url) as connection:
        with pytest.raises(ConnectionFailed, match=says):
            await connection.post("/x", b"", {})


async def test_nobody_there_is_an_error() -> None:
    """With the address, and no traceback of sockets."""
    with pytest.raises(ConnectionFailed, match="cannot reach"):
        async with Connection(f"http://127.0.0.1:{free_port()}"):
            pass


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConnectionFailed, match=r"is no http\(s\) URL"):
        Connection(url)
