"""Finished checks in Redis: used by other processes, never wrong, and never missed when Redis is away."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from pdp import commands, second_level
from pdp.changes import ChangeWindow
from pdp.program import compile_program
from pdp.redis_level import RedisLevel
from pdp.relationships import Instant, Operation, Revision, Update
from pdp.second_level import FinishedChecks, Question, Recording
from pdp.service import StoreService
from pdp.stores.protocol import WriteRequest
from schema.model import Schema
from tests import strategies
from tests.oracle import HAS, LACKS
from tests.pdp.test_replica import History, transactions
from tests.pdp.test_service import SCHEMA, allowed, opened, relationship, until, write
from tests.rationed import RationedGraph, ask, judge_by
from tests.servers import Redis
from tests.strategies import NOW, Verdicts, examples

NESTED = (
    "doc:1#viewer@group:a#member",
    "group:a#member@group:b#member",
    "group:b#member@group:c#member",
    "group:c#member@user:ann",
)


class InMemory:
    """A second level of a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}

    async def get(self, key: bytes) -> bytes | None:
        """See `pdp.second_level.SecondLevel`."""
        return self.kept.get(key)

    async def put(self, key: bytes, value: bytes) -> None:
        """See `pdp.second_level.SecondLevel`."""
        self.kept[key] = value


@pytest.fixture
def level() -> InMemory:
    """An empty second level."""
    return InMemory()


class Processes:
    """Services of one store in several processes, as far as they can tell."""

    def __init__(self, url: str, level: Any, stack: AsyncExitStack) -> None:
        self._url, self._level, self._stack = url, level, stack

    async def another(self) -> StoreService:
        """One more."""
        return await self._stack.enter_async_context(opened(self._url, second_level=self._level))


@pytest_asyncio.fixture
async def processes(sqlite_url: str, level: InMemory) -> AsyncIterator[Processes]:
    """A store with nested groups, and what opens it."""
    async with AsyncExitStack() as stack:
        made = Processes(sqlite_url, level, stack)
        first = await made.another()
        await first.write_schema(SCHEMA)
        await write(first, *NESTED)
        yield made


def finished(service: StoreService) -> FinishedChecks:
    """A service's finished checks."""
    assert service.fetcher.finished is not None
    return service.fetcher.finished


async def test_what_one_process_found_out_saves_another_the_database(processes: Processes) -> None:
    """A yes and a no, without a single fetch."""
    first = await processes.another()
    assert await allowed(first, "ann")
    assert not await allowed(first, "bob")
    second = await processes.another()
    assert await allowed(second, "ann")
    assert not await allowed(second, "bob")
    assert (finished(second).hits, second.fetcher.round_trips) == (2, 0)


async def test_unrelated_writes_leave_entries_alone(processes: Processes) -> None:
    """Whether they come before the process started or after."""
    first = await processes.another()
    await allowed(first, "ann")
    await write(first, "doc:2#viewer@user:bob")
    second = await processes.another()
    await write(second, "doc:3#viewer@user:bob")
    assert await allowed(second, "ann")
    assert (finished(second).hits, second.fetcher.round_trips) == (1, 0)


@pytest.mark.parametrize("before", [True, False], ids=["before the process started", "after"])
@pytest.mark.parametrize(
    ("text", "operation"),
    [
        ("group:b#member@group:c#member", Operation.DELETE),
        ("doc:1#viewer@group:a#member", Operation.DELETE),
        ("doc:1#banned@user:ann", Operation.TOUCH),
    ],
)
async def test_a_change_of_what_it_rests_on_undoes_an_entry(
    processes: Processes, before: bool, text: str, operation: Operation
) -> None:
    """Anywhere on the way, and of what was not there."""
    first = await processes.another()
    assert await allowed(first, "ann")
    if before:
        await write(first, text, operation=operation)
    second = await processes.another()
    if not before:
        await write(second, text, operation=operation)
    assert not await allowed(second, "ann")
    assert (finished(second).hits, finished(second).refused) == (0, 1)


async def test_a_schema_change_makes_other_entries(processes: Processes) -> None:
    """The schema is part of the question."""
    first = await processes.another()
    assert await allowed(first, "ann")
    await first.write_schema(SCHEMA.replace("viewer - banned", "viewer & banned"))
    second = await processes.another()
    assert not await allowed(second, "ann")
    assert finished(second).hits == 0


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda value: value[:-1] + bytes([value[-1] ^ 1]), id="a bit"),
        pytest.param(lambda value: value[:20], id="cut off"),
        pytest.param(lambda value: b"", id="empty"),
        pytest.param(lambda value: b"x" * len(value), id="something else"),
        pytest.param(lambda value: value + b"x", id="more"),
    ],
)
async def test_a_value_that_lies_is_none(processes: Processes, level: InMemory, lie: Any) -> None:
    """The answer comes from the database."""
    first = await processes.another()
    assert await allowed(first, "ann")
    for key, value in level.kept.items():
        level.kept[key] = lie(value)
    second = await processes.another()
    assert await allowed(second, "ann")
    assert (finished(second).hits, finished(second).refused) == (0, 1)


async def test_an_entry_of_another_question_is_none(processes: Processes, level: InMemory) -> None:
    """Though it is genuine."""
    first = await processes.another()
    assert await allowed(first, "ann")
    (yes,) = level.kept.values()
    assert not await allowed(first, "bob")
    for key in level.kept:
        level.kept[key] = yes
    second = await processes.another()
    assert not await allowed(second, "bob")
    assert finished(second).refused == 1


async def test_what_a_time_bound_touches_is_not_kept(processes: Processes, level: InMemory) -> None:
    """It would be another answer later."""
    first = await processes.another()
    soon = Instant(first.now() + 3_600_000_000)
    touch = Update(Operation.TOUCH, relationship("doc:1#viewer@user:cat", soon))
    await commands.write(first, WriteRequest([touch]))
    assert await allowed(first, "cat")
    assert not level.kept


class TestRedis:
    """Against a real one."""

    async def test_shared_by_processes(self, sqlite_url: str, redis_url: str) -> None:
        """As with the dictionary."""
        levels = [RedisLevel(redis_url) for _ in range(2)]
        async with (
            opened(sqlite_url, second_level=levels[0]) as first,
            opened(sqlite_url, second_level=levels[1]) as second,
        ):
            await first.write_schema(SCHEMA)
            await write(first, *NESTED)
            assert await allowed(first, "ann")
            await until(lambda: second.follower.applied == first.follower.applied)
            assert await allowed(second, "ann")
            assert (finished(second).hits, second.fetcher.round_trips) == (1, 0)
        for level in levels:
            await level.close()

    async def test_stopped_and_started_in_mid_run(self, sqlite_url: str, own_redis: Redis) -> None:
        """Checks go on, it is said that Redis is away, and used when it is back."""
        level = RedisLevel(own_redis.url)
        async with opened(sqlite_url, second_level=level) as service:
            await service.write_schema(SCHEMA)
            await write(service, *NESTED)
            assert await allowed(service, "ann")
            own_redis.stop()
            for user in ("bob", "cat", "dan"):
                assert not await allowed(service, user)
            assert (level.failing, level.failures > 0) == (True, True)
            own_redis.start()
            for number in range(200):
                assert not await allowed(service, f"user-{number}")
                if not level.failing:
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError("Redis is back and not used")
        assert service.fetcher.finished is not None
        await level.close()

    async def test_flushed(self, sqlite_url: str, own_redis: Redis) -> None:
        """Everything is found out anew."""
        level = RedisLevel(own_redis.url)
        async with opened(sqlite_url, second_level=level) as first, opened(sqlite_url, second_level=level) as second:
            await first.write_schema(SCHEMA)
            await write(first, *NESTED)
            assert await allowed(first, "ann")
            own_redis.flush()
            await until(lambda: second.follower.applied == first.follower.applied)
            assert await allowed(second, "ann")
            assert finished(second).hits == 0
        await level.close()

    async def test_one_that_does_not_answer(self) -> None:
        """Is given up soon, and not asked again for a while."""
        now = 0.0
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(8)
            level = RedisLevel(f"redis://127.0.0.1:{deaf.getsockname()[1]}", clock=lambda: now)
            async with asyncio.timeout(5):
                assert await level.get(b"key") is None
                assert level.failures == 1
                assert await level.get(b"key") is None
                await level.put(b"key", b"value")
                assert level.failures == 1
                now = 10.0
                assert await level.get(b"key") is None
            assert level.failures == 2
            await level.close()

    async def test_values_are_bounded(self, redis_url: str) -> None:
        """A large one is not kept."""
        level = RedisLevel(redis_url)
        await level.put(b"large", b"x" * 5_000)
        await level.put(b"small", b"x")
        assert (await level.get(b"large"), await level.get(b"small")) == (None, b"x")
        await level.close()


class _Named:
    """As much of a store as entries need."""

    name, timeline, zookie_key = "default", "first", bytes(32)


@examples(150)
@given(
    strategies.schemas().flatmap(lambda s: st.tuples(st.just(s), strategies.histories(s))),
    strategies.caveat_verdicts(),
)
def test_entries_tell_what_is_so(life: tuple[Schema, History], verdicts: Verdicts) -> None:
    """Whatever was kept at whatever revision, what is found later is the answer of then."""
    schema, history = life
    program = compile_program(schema)
    changelog = transactions(history, 0)
    window = ChangeWindow(digest_secret=_Named.zookie_key)
    store: Any = _Named()
    entries = FinishedChecks(InMemory(), store, window)
    luck = Random(len(history))

    async def live() -> None:
        for revision in range(len(history) + 1):
            if revision:
                window.apply(changelog[revision - 1 : revision])
            stored = strategies.written(history[:revision])
            for subject in luck.sample(strategies.subjects(schema), 3):
                for resource, permission in strategies.resources(schema):
                    recording = Recording(RationedGraph(stored, loaded=1.0))
                    ((truth, _),) = ask(
                        program,
                        recording,
                        subject,
                        [(resource, permission)],
                        instant=NOW,
                        judge=judge_by(verdicts),
                    )
                    question = Question(Revision(1), resource, permission, subject)
                    found = await entries.find(question, Revision(revision))
                    assert found is None or truth == (HAS if found else LACKS)
                    if truth in {HAS, LACKS} and not recording.bounded:
                        await entries.keep(question, Revision(revision), truth == HAS, recording.reads)

    before = second_level.READS_MIN
    second_level.READS_MIN = 1
    try:
        asyncio.run(live())
    finally:
        second_level.READS_MIN = before
