"""Group commit: writers of a process queue, and one transaction at a time takes all that wait.

The lock, the round trips and the flush to disk are paid once for all of them. Work that wants a transaction of its
own (a large deletion, an import) waits in the same queue, so that it takes its turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from pdp.errors import StoreUnavailable
from pdp.stores.protocol import WriteRequest, WriteResult

_REQUESTS_MAX = 500
_UPDATES_MAX = 5_000

T = TypeVar("T")
Commit: TypeAlias = Callable[[Sequence[WriteRequest]], Awaitable[Sequence[WriteResult | Exception]]]


class _Waiting(NamedTuple):
    work: WriteRequest | Callable[[], Awaitable[Any]]
    future: "asyncio.Future[Any]"


class GroupCommit:
    """Gathers requests while a transaction is under way; each has its own result or error.

    ``commit`` runs one transaction for a batch and gives a result or an error for each request, in order; what it
    raises is every request's error. A caller that goes away does not take its write back.
    """

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._queue: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def write(self, request: WriteRequest) -> WriteResult:
        """The request's result, once it is committed."""
        result: WriteResult = await self._enqueue(request)
        return result

    async def alone(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do work in its turn, with no transaction of this queue beside it."""
        result: T = await self._enqueue(work)
        return result

    async def _enqueue(self, work: WriteRequest | Callable[[], Awaitable[Any]]) -> Any:
        if self._closed:
            raise StoreUnavailable("the store is being closed")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(work, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Take nothing more and return once nothing waits."""
        self._closed = True
        while self._running is not None and not self._running.done():
            await asyncio.shield(self._running)

    async def _run(self) -> None:
        while self._queue:
            taken = self._take()
            try:
                results = await self._work(taken)
            except Exception as error:
                results = [error] * len(taken)
            for (_, future), result in zip(taken, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    async def _work(self, taken: Sequence[_Waiting]) -> Sequence[Any]:
        requests = [waiting.work for waiting in taken if isinstance(waiting.work, WriteRequest)]
        if requests:
            return await self._commit(requests)
        return [await work() for work, _ in taken if not isinstance(work, WriteRequest)]

    def _take(self) -> list[_Waiting]:
        """The first piece of work, with the requests that follow it if it is a request."""
        count = updates = 0
        for work, _ in self._queue[:_REQUESTS_MAX]:
            if not isinstance(work, WriteRequest):
                break
            updates += len(work.updates) + sum(len(one.relationships) for one in work.sets)
            if count and updates > _UPDATES_MAX:
                break
            count += 1
        count = max(count, 1)
        taken, self._queue = self._queue[:count], self._queue[count:]
        return taken
