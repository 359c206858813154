"""Group commit: writers of a process queue, and one transaction at a time takes all that wait."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from pdp.errors import PdpError
from pdp.stores.protocol import WriteRequest, WriteResult

_REQUESTS_MAX = 500
_UPDATES_MAX = 5_000


class GroupCommit:
    """Gathers requests while a transaction is under way; each has its own result or error.

    ``commit`` runs one transaction for a batch and gives a result or an error for each request, in order; what it
    raises is every request's error.
    """

    def __init__(
        self, commit: Callable[[Sequence[WriteRequest]], Awaitable[Sequence[WriteResult | PdpError]]]
    ) -> None:
        self._commit = commit
        self._queue: list[tuple[WriteRequest, asyncio.Future[WriteResult]]] = []
        self._running: asyncio.Task[None] | None = None

    async def write(self, request: WriteRequest) -> WriteResult:
        """The request's result, once it is committed. A caller that goes away does not take its write back."""
        future: asyncio.Future[WriteResult] = asyncio.get_running_loop().create_future()
        self._queue.append((request, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def finish(self) -> None:
        """Return once nothing waits."""
        while self._running is not None and not self._running.done():
            await asyncio.shield(self._running)

    async def _run(self) -> None:
        while self._queue:
            taken = self._take()
            try:
                results = await self._commit([request for request, _ in taken])
            except Exception as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(taken, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, PdpError):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _take(self) -> list[tuple[WriteRequest, "asyncio.Future[WriteResult]"]]:
        count = updates = 0
        for request, _ in self._queue[:_REQUESTS_MAX]:
            updates += len(request.updates)
            if count and updates > _UPDATES_MAX:
                break
            count += 1
        taken, self._queue = self._queue[:count], self._queue[count:]
        return taken
