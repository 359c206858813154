"""Keeps the keys: loads them, takes the steps that are due, and swaps the ring when they change.

Every change of a key locks the feed first and decides anew on what it then reads, so that of many processes that
find a step due exactly one takes it.
"""

import asyncio
import hashlib
from collections.abc import Sequence

from authn.clock import World
from authn.envelope import KEY_BYTES, Envelope
from authn.keys.ring import KeyRing, generate, purpose
from authn.keys.states import Activate, Create, KeyRecord, KeyState, Move, RotationPolicy, Step, next_step
from authn.stores import feed
from authn.stores import keys as key_rows
from authn.stores.statements import Database, Work

_STEPS_MAX = 32
"""More steps than one key can need at once; a bound, so that a mistake in the rules cannot spin."""
_FEED_ENTRY_LIFE_MS = 3_600_000
_SECRET_NAMES = ("dpop-nonce", "audit-chain")


class KeyKeeper:
    """The signing keys and shared secrets of an installation, in one process."""

    def __init__(
        self, database: Database, envelope: Envelope, algorithms: Sequence[str], policy: RotationPolicy, world: World
    ) -> None:
        self._database = database
        self._envelope = envelope
        self._algorithms = algorithms
        self._world = world
        self._secrets: dict[str, bytes] = {}
        self.policy = policy
        self.ring: KeyRing

    def secret(self, name: str) -> bytes:
        """A 32-byte secret that all processes share."""
        return self._secrets[name]

    async def start(self) -> None:
        """Load what is there; make what is missing; wrap anew what an older key-encryption key wrapped."""
        await self._load_secrets()
        records = await self._database.run(key_rows.all_keys())
        if not any(key.state is KeyState.ACTIVE for key in records):
            await self.tick(first_start=not records)
        await self.rewrap()
        await self.reload()

    async def reload(self) -> None:
        """Read the keys again."""
        self.ring = KeyRing(await self._database.run(key_rows.all_keys()), self._envelope)

    async def tick(self, *, first_start: bool = False) -> bool:
        """Take every step that is due now; tells whether this process took one."""
        changed = False
        for algorithm in self._algorithms:
            for _ in range(_STEPS_MAX):
                if not await self._take_step(algorithm, first_start=first_start):
                    break
                changed = True
        if changed:
            await self.reload()
        return changed

    async def rewrap(self) -> int:
        """Wrap the data keys that an older key-encryption key wrapped with the newest; tells how many."""
        count = 0
        for key in await self._database.run(key_rows.all_keys()):
            if key.sealed is not None and key.sealed.kek_id != self._envelope.newest:
                new = self._envelope.rewrap(key.sealed, purpose(key.kid, key.algorithm))
                count += await self._database.run(key_rows.rewrap(key.kid, key.sealed, new))
        for name, sealed in (await self._database.run(key_rows.all_secrets())).items():
            if sealed.kek_id != self._envelope.newest:
                new = self._envelope.rewrap(sealed, _secret_purpose(name))
                count += await self._database.run(key_rows.rewrap_secret(name, sealed, new))
        return count

    async def _take_step(self, algorithm: str, *, first_start: bool) -> bool:
        now_ms = self._world.now_ms()
        records = await self._database.run(key_rows.all_keys())
        step = next_step(algorithm, records, now_ms, self.policy, first_start=first_start)
        if step is None:
            return False
        made = None
        if isinstance(step, Create):
            made = await asyncio.to_thread(generate, algorithm, self._envelope, now_ms)
        return await self._database.run(self._apply(algorithm, made, first_start=first_start))

    def _apply(self, algorithm: str, made: KeyRecord | None, *, first_start: bool) -> Work[bool]:
        """Decide again under the lock and take the step; ``False`` where another process has taken it."""
        now_ms = self._world.now_ms()
        yield from feed.append(feed.KEYS, algorithm, now_ms + _FEED_ENTRY_LIFE_MS, now_ms)
        records = yield from key_rows.all_keys()
        step = next_step(algorithm, records, now_ms, self.policy, first_start=first_start)
        return (yield from _perform(step, made, now_ms))

    async def _load_secrets(self) -> None:
        now_ms = self._world.now_ms()
        stored = await self._database.run(key_rows.all_secrets())
        for name in _SECRET_NAMES:
            if name not in stored:
                sealed = self._envelope.seal(self._world.random_bytes(KEY_BYTES), _secret_purpose(name))
                await self._database.run(key_rows.insert_secret(name, sealed, now_ms))
        for name, sealed in (await self._database.run(key_rows.all_secrets())).items():
            self._secrets[name] = self._envelope.open(sealed, _secret_purpose(name))


def _perform(step: Step | None, made: KeyRecord | None, now_ms: int) -> Work[bool]:
    match step:
        case None:
            return False
        case Create():
            return made is not None and (yield from key_rows.insert(made))
        case Move(key, to):
            return (yield from key_rows.move(key, to, now_ms))
        case Activate(key, previous):
            if previous is not None and not (yield from key_rows.move(previous, KeyState.RETIRING, now_ms)):
                return False
            return (yield from key_rows.move(key, KeyState.ACTIVE, now_ms))


def _secret_purpose(name: str) -> str:
    return f"shared secret {name}"


def derive(secret: bytes, purpose_: str) -> bytes:
    """A key for one purpose from a shared secret."""
    return hashlib.blake2b(purpose_.encode(), key=secret, digest_size=KEY_BYTES).digest()
