"""Watching a store: its changelog as events, for as long as somebody listens.

One `Tail` a store polls the changelog for all watchers of the process and hands each what is new. A watcher that
resumes further back first reads its own way up, at its own pace. Nobody is buffered for without bound: a watcher that
leaves `BUFFERED_MAX` transactions untaken is dropped, and told so; it can resume from the last event it took.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pdp.errors import PdpError, RevisionExpired, RevisionInFuture, StoreUnavailable, WatchTooSlow
from pdp.relationships import Instant, Relationship, Revision
from pdp.stores.database import Query
from pdp.stores.filters import ROW, matches, snapshot
from pdp.stores.protocol import Transaction
from pdp.stores.values import WatchEvent, WatchRequest

if TYPE_CHECKING:
    from pdp.stores.store import SqlStore

BUFFERED_MAX = 1_024
_CHANGES_MAX = 500
_POLL_SECONDS = 0.02
_RETRY_SECONDS = 0.5
_CLOCK_SECONDS = 1.0
_TIMES_MAX = 10_000


class Subscription:
    """What a watcher has not taken yet."""

    def __init__(self) -> None:
        self.waiting: deque[Transaction] = deque()
        self.failed: PdpError | None = None
        self._something = asyncio.Event()

    def put(self, transactions: Sequence[Transaction]) -> None:
        """Hand it what is new."""
        self.waiting.extend(transactions)
        if len(self.waiting) > BUFFERED_MAX:
            self.waiting.clear()
            self.failed = WatchTooSlow(f"more than {BUFFERED_MAX} changes were waiting to be taken")
        self._something.set()

    def fail(self, error: PdpError) -> None:
        """End it with an error."""
        self.failed = error
        self._something.set()

    async def take(self, timeout_seconds: float | None) -> Sequence[Transaction]:
        """All that waits; after the timeout perhaps nothing."""
        if not self.waiting and self.failed is None:
            self._something.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._something.wait(), timeout_seconds)
        if self.failed is not None:
            raise self.failed
        taken = tuple(self.waiting)
        self.waiting.clear()
        return taken


class Tail:
    """Follows the end of a store's changelog while it has subscriptions."""

    def __init__(self, store: "SqlStore") -> None:
        self._store = store
        self._subscriptions: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self.position = Revision(0)

    def wake(self) -> None:
        """A write was acknowledged here: no need to wait for the next poll."""
        self._woken.set()

    async def start(self) -> None:
        """Follow from the newest revision on, if it does not follow yet."""
        if self._task is None or self._task.done():
            head = await self._store.head()
            if self._task is None or self._task.done():
                self.position = head
                self._task = asyncio.create_task(self._follow(), name=f"tail of {self._store.name}")

    def subscribe(self) -> Subscription:
        """Have all that comes after ``position``."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Want no more of it."""
        self._subscriptions.discard(subscription)

    async def close(self, error: PdpError) -> None:
        """Follow no more; the error is what watchers get."""
        for subscription in self._subscriptions:
            subscription.fail(error)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        idle_rounds = 0
        while self._subscriptions or idle_rounds < 2:
            idle_rounds = 0 if self._subscriptions else idle_rounds + 1
            self._woken.clear()
            try:
                transactions = await self._store.changes(self.position, _CHANGES_MAX)
            except StoreUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            except PdpError as error:
                for subscription in self._subscriptions:
                    subscription.fail(error)
                return
            if transactions:
                self.position = transactions[-1].revision
                for subscription in self._subscriptions:
                    subscription.put(transactions)
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), _POLL_SECONDS)


async def watch(store: "SqlStore", tail: Tail, after: Revision, request: WatchRequest) -> AsyncIterator[WatchEvent]:
    """See `pdp.stores.protocol.History.watch`."""
    if after > await store.head():
        raise RevisionInFuture(f"revision {after} was not reached yet")
    clock = _Clock(store, request, after) if request.times else None
    position = after
    subscription: Subscription | None = None
    try:
        while True:
            await tail.start()
            if subscription is None and tail.position <= position:
                subscription = tail.subscribe()
            if subscription is None:
                transactions = await store.changes(position, _CHANGES_MAX)
            else:
                transactions = await subscription.take(_CLOCK_SECONDS if clock else None)
            for event in _events(request, position, transactions):
                yield event
            if transactions:
                position = transactions[-1].revision
            if clock is not None:
                async for event in clock.events(position):
                    yield event
    finally:
        if subscription is not None:
            tail.unsubscribe(subscription)


def _events(request: WatchRequest, position: Revision, transactions: Sequence[Transaction]) -> Iterator[WatchEvent]:
    told = position
    for transaction in transactions:
        if transaction.revision <= position:
            continue
        updates = [update for update in transaction.updates if _wanted(request, update.relationship)]
        schema_changed = request.schema and transaction.schema_changed
        if updates or schema_changed:
            told = transaction.revision
            yield WatchEvent(
                told, transaction.committed_at, updates, transaction.metadata, schema_changed=schema_changed
            )
    if request.checkpoints and transactions and transactions[-1].revision > told:
        last = transactions[-1]
        yield WatchEvent(last.revision, last.committed_at, is_checkpoint=True)


def _wanted(request: WatchRequest, relationship: Relationship) -> bool:
    if request.resource_types and relationship.resource_type not in request.resource_types:
        return False
    return not request.filters or any(matches(filter_, relationship) for filter_ in request.filters)


class _Clock:
    """Tells which relationships expired or began to count since it was last asked."""

    def __init__(self, store: "SqlStore", request: WatchRequest, after: Revision) -> None:
        self._store = store
        self._request = request
        self._after = after
        self._told: Instant | None = None

    async def events(self, position: Revision) -> AsyncIterator[WatchEvent]:
        """What has crossed the present since, among the relationships of a revision."""
        now = await self._store.now()
        since = self._told if self._told is not None else await self._committed_at(now)
        if now <= since:
            return
        expired = await self._crossed(position, "expires_at", since, now)
        begun = await self._crossed(position, "valid_from", since, now)
        self._told = now
        if expired or begun:
            yield WatchEvent(position, now, expired=expired, begun=begun)

    async def _committed_at(self, now: Instant) -> Instant:
        """When the revision that the watcher resumes from was committed."""
        committed_at = await self._store.committed_at(self._after)
        return now if committed_at is None else committed_at

    async def _crossed(self, position: Revision, column: str, since: Instant, now: Instant) -> Sequence[Relationship]:
        where = snapshot(self._store.store_id, position)
        where.add(f"{column} IS NOT NULL AND {column} > {{}}", since)
        where.add(f"{column} <= {{}}", now)
        text = f"SELECT {ROW} FROM pdp_relationships WHERE {where.sql} ORDER BY {column} LIMIT {_TIMES_MAX + 1}"
        mark, found = await self._store.database.relationships(Query(text, where.parameters), position)
        self._store.check_mark(mark, position)
        if len(found) > _TIMES_MAX:
            raise RevisionExpired(f"more than {_TIMES_MAX} relationships expired or began meanwhile; read them anew")
        return [one for one in found if _wanted(self._request, one)]
