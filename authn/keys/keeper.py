"""Keeps the keys: loads them, takes the steps that are due, and swaps the ring when they change.

Every change of a key locks the feed first and decides anew on what it then reads, so that of many processes that
find a step due exactly one takes it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from authn.clock import Millis, World
from authn.envelope import KEY_BYTES, Envelope
from authn.errors import AuthnError, StoreUnavailable
from authn.keys.ring import KeyRing, generate, purpose
from authn.keys.states import (
    Activate,
    Create,
    KeyRecord,
    KeyState,
    Move,
    RotationPolicy,
    Step,
    forced_step,
    next_step,
    ripe_at_ms,
)
from authn.stores import feed
from authn.stores import keys as key_rows
from authn.stores.statements import Database, Work

_STEPS_MAX = 32
"""More steps than one key can need at once; a bound, so that a mistake in the rules cannot spin."""
_FEED_ENTRY_LIFE_MS = 3_600_000
_SECRET_NAMES = ("dpop-nonce", "audit-chain")


Moved: TypeAlias = tuple[str, KeyState]
OnMoved: TypeAlias = Callable[[str, KeyState], None]


class KeyNotFound(AuthnError):
    """No signing key of that id."""

    def __init__(self, kid: str) -> None:
        super().__init__(f"no key `{kid}`")
        self.kid = kid


class NotRipe(AuthnError):
    """The next key was published too recently to sign: verifiers would not know it yet.

    Args:
        ripe_at_ms: from when it can; ``None`` where there is none.
    """

    def __init__(self, algorithm: str, ripe_at_ms: Millis | None) -> None:
        super().__init__(f"the next key for `{algorithm}` is not known to every verifier yet")
        self.algorithm = algorithm
        self.ripe_at_ms = ripe_at_ms


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
        self._on_moved: OnMoved = _nobody_listens
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
        spares = await self._spares(first_start=first_start)
        if not spares:
            return False
        moves = await self._database.run(self._take_steps(spares, first_start=first_start))
        self._tell(moves)
        await self.reload()
        return bool(moves)

    def listen(self, on_moved: OnMoved) -> None:
        """Have a function told of every key that this process takes to another state."""
        self._on_moved = on_moved

    async def rotate(self) -> None:
        """Let the waiting keys sign now, ahead of their time, where every verifier knows them.

        Raises:
            NotRipe: a waiting key was published too recently; nothing was changed for any algorithm.
        """
        moves = await self._database.run(self._rotate_now())
        self._tell(moves)
        await self.tick()
        await self.reload()

    async def compromise(self, kid: str) -> None:
        """Refuse everything that a key signed, from now on, and let the waiting one sign in its place at once.

        Raises:
            KeyNotFound: there is no such key.
        """
        moves = await self._database.run(self._compromise_now(kid))
        self._tell(moves)
        await self.tick()
        await self.reload()

    def _rotate_now(self) -> Work[Sequence[Moved]]:
        now_ms = self._world.now_ms()
        yield from feed.append(feed.KEYS, "rotate", now_ms + _FEED_ENTRY_LIFE_MS, now_ms)
        records = yield from key_rows.all_keys()
        moves: list[Moved] = []
        for algorithm in self._algorithms:
            step = forced_step(algorithm, records)
            if step is None or now_ms < ripe_at_ms(step.key, self.policy):
                raise NotRipe(algorithm, ripe_at_ms(step.key, self.policy) if step else None)
            moves += yield from _perform(step, None, now_ms)
        return moves

    def _compromise_now(self, kid: str) -> Work[Sequence[Moved]]:
        now_ms = self._world.now_ms()
        yield from feed.append(feed.KEYS, kid, now_ms + _FEED_ENTRY_LIFE_MS, now_ms)
        records = yield from key_rows.all_keys()
        key = next((record for record in records if record.kid == kid), None)
        if key is None:
            raise KeyNotFound(kid)
        if key.state is KeyState.COMPROMISED:
            return ()
        moves = yield from _perform(Move(key, KeyState.COMPROMISED), None, now_ms)
        if key.state is KeyState.ACTIVE:
            rest = [record for record in records if record is not key]
            step = next_step(key.algorithm, rest, now_ms, self.policy, lost_active=True)
            if isinstance(step, Activate):
                moves = [*moves, *(yield from _perform(step, None, now_ms))]
        return moves

    def _tell(self, moves: Sequence[Moved]) -> None:
        for kid, to in moves:
            self._on_moved(kid, to)

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

    async def _spares(self, *, first_start: bool) -> dict[str, list[KeyRecord]]:
        """For each algorithm with a step due, as many new keys as the steps can need; made outside the lock."""
        now_ms = self._world.now_ms()
        records = await self._database.run(key_rows.all_keys())
        spares: dict[str, list[KeyRecord]] = {}
        for algorithm in self._algorithms:
            if next_step(algorithm, records, now_ms, self.policy, first_start=first_start) is not None:
                has_active = any(key.algorithm == algorithm and key.state is KeyState.ACTIVE for key in records)
                spares[algorithm] = [
                    await asyncio.to_thread(generate, algorithm, self._envelope, now_ms)
                    for _ in range(1 if has_active else 2)
                ]
        return spares

    def _take_steps(self, spares: Mapping[str, list[KeyRecord]], *, first_start: bool) -> Work[Sequence[Moved]]:
        """Under the lock, decide anew and take every step that is due; nothing where another process has."""
        now_ms = self._world.now_ms()
        yield from feed.append(feed.KEYS, "tick", now_ms + _FEED_ENTRY_LIFE_MS, now_ms)
        moves: list[Moved] = []
        for algorithm, made in spares.items():
            for _ in range(_STEPS_MAX):
                records = yield from key_rows.all_keys()
                step = next_step(algorithm, records, now_ms, self.policy, first_start=first_start)
                if step is None or (isinstance(step, Create) and not made):
                    break
                moves += yield from _perform(step, made.pop() if isinstance(step, Create) else None, now_ms)
        return moves

    async def _load_secrets(self) -> None:
        now_ms = self._world.now_ms()
        stored = await self._database.run(key_rows.all_secrets())
        for name in _SECRET_NAMES:
            if name not in stored:
                sealed = self._envelope.seal(self._world.random_bytes(KEY_BYTES), _secret_purpose(name))
                await self._database.run(key_rows.insert_secret(name, sealed, now_ms))
        for name, sealed in (await self._database.run(key_rows.all_secrets())).items():
            self._secrets[name] = self._envelope.open(sealed, _secret_purpose(name))


def _perform(step: Step | None, made: KeyRecord | None, now_ms: int) -> Work[Sequence[Moved]]:
    """Take a step; what it moved, which is nothing where a key is not as it was read."""
    match step:
        case None:
            return ()
        case Create():
            inserted = made is not None and (yield from key_rows.insert(made))
            return [(made.kid, KeyState.PENDING)] if made is not None and inserted else ()
        case Move(key, to):
            return [(key.kid, to)] if (yield from key_rows.move(key, to, now_ms)) else ()
        case Activate(key, previous):
            if previous is not None and not (yield from key_rows.move(previous, KeyState.RETIRING, now_ms)):
                return ()
            if not (yield from key_rows.move(key, KeyState.ACTIVE, now_ms)):
                raise StoreUnavailable("a key was moved while the lock on keys was held")
            return [*([(previous.kid, KeyState.RETIRING)] if previous else []), (key.kid, KeyState.ACTIVE)]


def _nobody_listens(kid: str, to: KeyState) -> None:
    """Nothing to do before anybody asked to be told."""
    del kid, to


def _secret_purpose(name: str) -> str:
    return f"shared secret {name}"
