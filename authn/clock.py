"""Time and randomness as arguments: what a driver passes in, and what tests replace."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Millis: TypeAlias = int
"""Milliseconds since 1970-01-01 UTC."""

SKEW_MS = 10_000
"""How far another party's clock may be ahead of ours before what it signed counts as not yet valid."""


def _now_ms() -> Millis:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The clock, the stop-watch and the dice.

    ``monotonic_s`` never goes back and tells how old something in this process is; ``now_ms`` is what tokens carry.
    """

    now_ms: Callable[[], Millis] = _now_ms
    monotonic_s: Callable[[], float] = time.monotonic
    random_bytes: Callable[[int], bytes] = secrets.token_bytes


def uuid7(now_ms: Millis, random_10: bytes) -> str:
    """A UUID of version 7 (RFC 9562, section 5.7): unique, and sorted by the time it was made."""
    value = now_ms << 80 | int.from_bytes(random_10, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
