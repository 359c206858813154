"""A kept-open HTTP/1.1 connection that sends JSON and forms: as little client as possible beside what is measured."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_ANSWER_SECONDS = 60.0
_HEAD_BYTES_MAX = 64 * 1024


class ConnectionFailed(Exception):
    """The server cannot be reached, hung up, or does not speak HTTP as this client knows it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One connection, one request at a time. Use it in ``async with``.

    Args:
        url: where the server is, ``http://host:port``; a path in it is put before each request's.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConnectionFailed(f"`{url}` is no http(s) URL")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        self._authority = parts.netloc.rpartition("@")[2]
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def _open(self) -> None:
        opening = asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=_HEAD_BYTES_MAX)
        try:
            self._reader, self._writer = await asyncio.wait_for(opening, _ANSWER_SECONDS)
        except OSError as error:
            raise ConnectionFailed(f"cannot reach `{self._host}:{self._port}`: {error}") from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send one request and wait for its answer.

        Raises:
            ConnectionFailed: it did not come whole, or not in time.
        """
        return await self._ask("POST", path, body, {"content-length": str(len(body)), **headers})

    async def get(self, path: str) -> Answer:
        """As `post`, without a body."""
        return await self._ask("GET", path, b"", {})

    async def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._reader.at_eof():  # it hung up on a connection that was idle
            self._writer.close()
            await self._open()
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._writer.drain()
                return await self._answer()
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            raise ConnectionFailed(f"no whole answer from `{path}`: {error or type(error).__name__}") from error

    async def _answer(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = head[0].split(" ", 2)[1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        length = headers.get("content-length", "")
        if not status.isdigit() or not length.isdigit():
            raise ConnectionFailed(f"an answer without a length: `{head[0]}`")
        return Answer(int(status), headers, await self._reader.readexactly(int(length)))
