"""Load a company into a running service through its API, ask what its records tell, and compare every answer.

The checks begin the moment the last write is acknowledged, and say nothing of consistency: what a service answers
by default must already be right. Writes are TOUCHes, so that a second run over the same data is as good as a first.
"""

import asyncio
import base64
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote_plus

import orjson

from benchmarks.codehost import CHECKS_FILE, RELATIONSHIPS_FILE, SCHEMA_FILE, Question
from benchmarks.connection import Connection

BATCH = 1_000
"""Relationships a write, the API's limit."""
_RENEW_SECONDS = 30.0
"""A token is renewed when it lasts less than this."""
_OBJECT = r"([a-z][a-z0-9_/]*):([A-Za-z0-9/_|\-=+]+|\*)"
_RELATIONSHIP = re.compile(rf"{_OBJECT}#([a-z][a-z0-9_]*)@{_OBJECT}(?:#([a-z][a-z0-9_]*))?")
_QUESTION = re.compile(rf"({_OBJECT})#([a-z][a-z0-9_]*)@({_OBJECT}) (true|false) (.+)")
_ANSWERS = {"PERMISSIONSHIP_HAS_PERMISSION": True, "PERMISSIONSHIP_NO_PERMISSION": False}

Work = TypeVar("Work")


class LoadFailed(Exception):
    """The service refused something, or a file is not what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running service, and how to be let in: a bearer token, or a client's id and secret."""

    url: str
    token: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    in_flight: int = 8


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run did. ``wrong`` holds each question that was not answered as the records tell, with the answer."""

    relationships: int
    load_seconds: float
    first_answer_seconds: float
    """From the last write's acknowledgement to the first check's answer."""
    checks: int
    check_seconds: float
    allowed: int
    wrong: list[str]

    def lines(self) -> list[str]:
        """The report as text."""
        load, check = self.relationships / self.load_seconds, self.checks / self.check_seconds
        right = self.checks - len(self.wrong)
        return [
            f"relationships  {self.relationships:,} written in {self.load_seconds:.1f} s ({load:,.0f}/s)",
            f"first answer   {self.first_answer_seconds * 1000:.1f} ms after the last write",
            f"checks         {self.checks:,} answered in {self.check_seconds:.1f} s ({check:,.0f}/s)",
            f"answers        {right:,} right, {len(self.wrong):,} wrong; {self.allowed:,} of them yes",
        ]


class _Credential:
    """The ``Authorization`` header: a fixed token, or one fetched by client credentials (RFC 6749, section 4.4)."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._header = f"Bearer {target.token}" if target.token else ""
        self._renew_at = float("inf") if target.token else 0.0
        self._lock = asyncio.Lock()

    async def header(self, connection: Connection) -> str:
        """A header that is good for a while, asked for over this connection when there is none."""
        async with self._lock:
            if time.monotonic() >= self._renew_at:
                await self._fetch(connection)
        return self._header

    async def _fetch(self, connection: Connection) -> None:
        pair = f"{quote_plus(self._target.client_id)}:{quote_plus(self._target.client_secret)}"
        answer = await connection.post(
            "/oauth2/token",
            b"grant_type=client_credentials",
            {
                "content-type": "application/x-www-form-urlencoded",
                "authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
            },
        )
        if answer.status != 200:
            raise LoadFailed(f"no token: {answer.status} {answer.body.decode(errors='replace')}")
        members = orjson.loads(answer.body)
        self._header = f"Bearer {members['access_token']}"
        self._renew_at = time.monotonic() + float(members.get("expires_in", 300)) - _RENEW_SECONDS


class _Caller:
    """A few connections that calls are spread over."""

    def __init__(self, credential: _Credential, connections: Sequence[Connection]) -> None:
        self._credential = credential
        self._connections = connections

    async def call(self, connection: Connection, path: str, request: object) -> tuple[int, Any]:
        """One call: the status and the decoded body."""
        headers = {
            "authorization": await self._credential.header(connection),
            "content-type": "application/json",
        }
        answer = await connection.post(path, orjson.dumps(request), headers)
        try:
            return answer.status, orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise LoadFailed(f"`{path}` answered {answer.status} with no JSON") from error

    async def must(self, connection: Connection, path: str, request: object) -> Any:
        """One call that has to succeed."""
        status, members = await self.call(connection, path, request)
        if status != 200:
            raise LoadFailed(f"`{path}` answered {status}: {members.get('message', members)}")
        return members

    async def spread(self, works: Iterator[Work], do: Callable[[Connection, Work], Awaitable[None]]) -> None:
        """Do all works, one at a time on each connection."""

        async def take(connection: Connection) -> None:
            for work in works:
                await do(connection, work)

        try:
            async with asyncio.TaskGroup() as group:
                for connection in self._connections:
                    group.create_task(take(connection))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def first(self, path: str, request: object) -> Any:
        """One call that has to succeed, on the first connection."""
        return await self.must(self._connections[0], path, request)


def relationship_of(line: str) -> dict[str, Any]:
    """A line of a relationship file, as the API takes it.

    Raises:
        LoadFailed: it is none.
    """
    match = _RELATIONSHIP.fullmatch(line)
    if match is None:
        raise LoadFailed(f"`{line}` is no `resource:id#relation@subject:id`")
    resource_type, resource_id, relation, subject_type, subject_id, subject_relation = match.groups()
    return {
        "resource": {"objectType": resource_type, "objectId": resource_id},
        "relation": relation,
        "subject": {
            "object": {"objectType": subject_type, "objectId": subject_id},
            "optionalRelation": subject_relation or "",
        },
    }


def question_of(line: str) -> Question:
    """A line of a file of checks.

    Raises:
        LoadFailed: it is none.
    """
    match = _QUESTION.fullmatch(line)
    if match is None:
        raise LoadFailed(f"`{line}` is no `resource:id#permission@subject:id true|false kind`")
    return Question(match[1], match[4], match[5], match[8] == "true", match[9])


def _check_request(question: Question) -> dict[str, Any]:
    resource_type, _, resource_id = question.resource.partition(":")
    subject_type, _, subject_id = question.subject.partition(":")
    return {
        "resource": {"objectType": resource_type, "objectId": resource_id},
        "permission": question.permission,
        "subject": {"object": {"objectType": subject_type, "objectId": subject_id}},
    }


@dataclass(frozen=True, slots=True)
class Workload:
    """What to load, as lines of relationships, and what to ask."""

    schema: str
    relationships: Sequence[str]
    questions: Sequence[Question]


def read_workload(folder: Path) -> Workload:
    """The workload that `benchmarks.codehost.write_files` wrote there.

    Raises:
        LoadFailed: a file is missing, or a line of one is none of its kind.
    """
    try:
        lines = (folder / RELATIONSHIPS_FILE).read_text().splitlines()
        questions = [question_of(line) for line in (folder / CHECKS_FILE).read_text().splitlines()]
        return Workload((folder / SCHEMA_FILE).read_text(), lines, questions)
    except OSError as error:
        raise LoadFailed(f"cannot read `{error.filename}`: {error.strerror}") from error


def _batches(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    return (lines[start : start + BATCH] for start in range(0, len(lines), BATCH))


async def load_and_check(target: Target, workload: Workload) -> Report:
    """Write the schema and the relationships, then ask every question.

    Raises:
        LoadFailed: the service refused the schema, a write or the credential.
        ConnectionFailed: it cannot be reached, or went away.
    """
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(Connection(target.url)) for _ in range(target.in_flight)]
        caller = _Caller(_Credential(target), connections)
        await caller.first("/v1/schema/write", {"schema": workload.schema})
        started = time.monotonic()
        await _load(caller, workload.relationships)
        loaded = time.monotonic()
        first_answer_seconds, allowed, wrong = await _check(caller, workload.questions)
        return Report(
            relationships=len(workload.relationships),
            load_seconds=loaded - started,
            first_answer_seconds=first_answer_seconds,
            checks=len(workload.questions),
            check_seconds=time.monotonic() - loaded,
            allowed=allowed,
            wrong=wrong,
        )


async def _load(caller: _Caller, relationships: Sequence[str]) -> None:
    async def write(connection: Connection, lines: Sequence[str]) -> None:
        updates = [{"operation": "OPERATION_TOUCH", "relationship": relationship_of(line)} for line in lines]
        await caller.must(connection, "/v1/relationships/write", {"updates": updates})

    await caller.spread(_batches(relationships), write)


async def _check(caller: _Caller, questions: Sequence[Question]) -> tuple[float, int, list[str]]:
    started = time.monotonic()
    first_answer: float | None = None
    allowed = 0
    wrong: list[str] = []

    async def check(connection: Connection, question: Question) -> None:
        nonlocal first_answer, allowed
        status, members = await caller.call(connection, "/v1/permissions/check", _check_request(question))
        first_answer = first_answer or time.monotonic()
        told = members.get("permissionship", f"{status} {members.get('message')}")
        allowed += _ANSWERS.get(told) is True
        if _ANSWERS.get(told) is not question.expected:
            wrong.append(f"{question}: {told}")

    await caller.spread(iter(questions), check)
    return (first_answer or started) - started, allowed, wrong
