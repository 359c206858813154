"""The second level in Redis: a ``GET`` or ``SET`` each, given up soon, and left alone for a while after a failure."""

import asyncio
import time
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

_TIMEOUT_SECONDS = 0.05
_PAUSE_SECONDS = 1.0
_KEPT_SECONDS = 3_600
_VALUE_BYTES_MAX = 4_096


class RedisLevel:
    """See `pdp.second_level.SecondLevel`."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS, max_connections=64
        )
        self._clock = clock
        self._resume_at = 0.0
        self._log = structlog.get_logger(component="second level")
        self.failing = False
        self.failures = 0

    async def get(self, key: bytes) -> bytes | None:
        """See `pdp.second_level.SecondLevel`."""
        if self._clock() < self._resume_at:
            return None
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                value = await self._redis.get(key)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            return None
        self._answered()
        return value if isinstance(value, bytes) else None

    async def put(self, key: bytes, value: bytes) -> None:
        """See `pdp.second_level.SecondLevel`."""
        if self._clock() < self._resume_at or len(value) > _VALUE_BYTES_MAX:
            return
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await self._redis.set(key, value, ex=_KEPT_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
        else:
            self._answered()

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._resume_at = self._clock() + _PAUSE_SECONDS
        if not self.failing:
            self._log.warning("Redis cannot be used; checks go on without it", error=type(error).__name__)
        self.failing = True

    def _answered(self) -> None:
        if self.failing:
            self._log.info("Redis is used again")
        self.failing = False

    async def close(self) -> None:
        """Let go of its connections."""
        await self._redis.aclose()
