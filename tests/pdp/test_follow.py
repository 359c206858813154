"""Following a changelog: in order, at once for whom it matters, and through every failure of the store."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import pytest_asyncio

from pdp.errors import RevisionExpired, StoreUnavailable
from pdp.follow import Follower, Listener
from pdp.relationships import Instant, Relationship, Revision
from pdp.stores.protocol import StoredSchema, Transaction


class Changelog:
    """A store's changelog, and its failures."""

    name = "fake"

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self.kept_after = Revision(0)
        self.failure: Exception | None = None
        self.heads = 0
        self.answering = asyncio.Event()
        self.answering.set()

    def write(self, count: int = 1, *, schema: bool = False) -> Revision:
        """Commit transactions."""
        for _ in range(count):
            revision = Revision(len(self.transactions) + 1)
            row = Relationship("doc", str(revision), "viewer", "user", "ann")
            self.transactions.append(Transaction(revision, Instant(0), [row], (), schema))
        return Revision(len(self.transactions))

    async def head(self) -> Revision:
        """See `pdp.stores.protocol.RelationshipStore`."""
        self.heads += 1
        head = Revision(len(self.transactions))
        await self.answering.wait()
        return head

    async def schema(self, at: Revision) -> StoredSchema | None:
        """See `pdp.stores.protocol.RelationshipStore`."""
        written = [t.revision for t in self.transactions[:at] if t.schema_changed]
        return StoredSchema(f"definition v{written[-1]:03} {{}}", written[-1]) if written else None

    async def changes(self, after: Revision, limit: int) -> Sequence[Transaction]:
        """See `pdp.stores.protocol.RelationshipStore`."""
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        if after < self.kept_after:
            raise RevisionExpired("gone")
        return self.transactions[after : after + limit]


@pytest.fixture
def changelog() -> Changelog:
    """An empty changelog."""
    return Changelog()


@pytest_asyncio.fixture
async def follower(changelog: Changelog) -> AsyncIterator[Follower]:
    """A follower that has started."""
    store: Any = changelog
    made = Follower(store)
    await made.start()
    yield made
    await made.stop()


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what must happen soon."""
    for _ in range(300):
        if happened():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


async def test_transactions_are_heard_in_order_and_once(changelog: Changelog, follower: Follower) -> None:
    """Before ``applied`` moves past them."""
    heard: list[int] = []
    follower.listen(
        Listener(lambda ts: heard.extend(t.revision for t in ts if follower.applied < t.revision), lambda _: None)
    )
    for _ in range(5):
        changelog.write(700)
        await follower.catch_up(Revision(len(changelog.transactions)))
    assert heard == list(range(1, 3_501))


async def test_it_follows_by_itself(changelog: Changelog, follower: Follower) -> None:
    """What another process wrote comes without asking."""
    changelog.write(3)
    await until(lambda: follower.applied == 3)


@pytest.mark.parametrize("failure", [StoreUnavailable("gone"), ValueError("a bug")], ids=["outage", "bug"])
async def test_it_goes_on_after_a_failure(changelog: Changelog, follower: Follower, failure: Exception) -> None:
    """And says in between that it does not follow."""
    changelog.failure = failure
    await until(lambda: follower.failing)
    changelog.write()
    changelog.failure = None
    await until(lambda: follower.applied == 1)
    await until(lambda: not follower.failing)


async def test_what_waits_for_a_revision_is_told_of_a_failure(changelog: Changelog, follower: Follower) -> None:
    """Not left waiting."""
    revision = changelog.write()
    changelog.failure = StoreUnavailable("gone")
    with pytest.raises(StoreUnavailable):
        await follower.catch_up(revision)


async def test_it_begins_anew_where_the_changelog_is_gone(changelog: Changelog, follower: Follower) -> None:
    """Whoever kept something is told to let it go, and the schema is the newest."""
    lost: list[int] = []
    heard: list[int] = []
    follower.listen(Listener(lambda ts: heard.extend(t.revision for t in ts), lost.append))
    changelog.failure = StoreUnavailable("asleep")
    await until(lambda: follower.failing)
    changelog.write(50)
    changelog.write(schema=True)
    changelog.kept_after = Revision(30)
    changelog.failure = None
    await until(lambda: follower.applied == 51)
    changelog.write()
    await until(lambda: follower.applied == 52)
    assert (lost, heard) == ([51], [52])
    assert list((await follower.schema(Revision(52))).program.schema.definitions) == ["v051"]


async def test_the_schema_of_each_revision(changelog: Changelog, follower: Follower) -> None:
    """Empty before the first, then the latest written by then, old ones from the store."""
    changelog.write(2)
    for _ in range(20):
        changelog.write(schema=True)
        changelog.write()
    await follower.catch_up(Revision(42))
    for at, expected in ((1, []), (3, ["v003"]), (4, ["v003"]), (41, ["v041"]), (42, ["v041"])):
        assert list((await follower.schema(Revision(at))).program.schema.definitions) == expected


async def test_head_is_asked_after_the_call(changelog: Changelog, follower: Follower) -> None:
    """Callers share a query that has not begun; one under way is too old for those who come later."""
    changelog.heads = 0
    changelog.answering.clear()
    first = asyncio.create_task(follower.head())
    await asyncio.sleep(0.01)
    changelog.write()
    later = [asyncio.create_task(follower.head()) for _ in range(10)]
    await asyncio.sleep(0.01)
    changelog.answering.set()
    assert await first == 0
    assert set(await asyncio.gather(*later)) == {1}
    assert changelog.heads == 2
