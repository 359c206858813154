"""Rotation under a simulated clock: no verifier ever meets a key it cannot know, whatever lags and whoever dies.

The model around the rules: processes that see the database's keys late, verifiers that keep a copy of the key set for
as long as they may and ask a process that may itself be late, tokens that live to their end. Killing a process is
taking one step and no more, which every step of the machine here is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from authn.keys.states import (
    JWKS_MAX_AGE_S,
    PUBLISHED,
    Activate,
    Create,
    KeyRecord,
    KeyState,
    Move,
    RotationPolicy,
    forced_step,
    next_step,
    ripe_at_ms,
)

ALG = "ES256"
HOUR_MS = 3_600_000
POLICY = RotationPolicy(active_for_ms=24 * HOUR_MS, token_lifetime_max_ms=HOUR_MS, destroy_after_ms=6 * HOUR_MS)
MAX_AGE_MS = JWKS_MAX_AGE_S * 1000


def key(kid: str, state: KeyState, since_ms: int = 0, published_at_ms: int | None = 0) -> KeyRecord:
    return KeyRecord(kid, ALG, state, 1, since_ms, since_ms, published_at_ms, {}, None)


def applied(keys: Sequence[KeyRecord], step: object, now_ms: int, new_kid: str) -> list[KeyRecord]:
    """The keys after a step, as the database would have them."""

    def moved(record: KeyRecord, to: KeyState) -> KeyRecord:
        published = now_ms if to is KeyState.NEXT else record.published_at_ms
        return replace(record, state=to, version=record.version + 1, state_since_ms=now_ms, published_at_ms=published)

    match step:
        case Create():
            return [*keys, key(new_kid, KeyState.PENDING, now_ms, None)]
        case Move(which, to):
            return [moved(each, to) if each.kid == which.kid else each for each in keys]
        case Activate(which, previous):
            changes = {which.kid: KeyState.ACTIVE, **({previous.kid: KeyState.RETIRING} if previous else {})}
            return [moved(each, changes[each.kid]) if each.kid in changes else each for each in keys]
        case _:
            return list(keys)


@dataclass
class Process:
    """One of our processes: the keys as it last read them."""

    keys: list[KeyRecord]
    read_at_ms: int

    def key_set(self) -> frozenset[str]:
        return frozenset(each.kid for each in self.keys if each.state in PUBLISHED)

    def signs_with(self) -> str | None:
        return next((each.kid for each in self.keys if each.state is KeyState.ACTIVE), None)


@dataclass
class Verifier:
    """Somebody else's service, with its copy of our key set."""

    copy: frozenset[str] = frozenset()
    fetched_at_ms: int = -(10**15)


@dataclass
class Token:
    kid: str
    expires_at_ms: int


@dataclass
class World:
    now_ms: int = 1_000_000_000
    keys: list[KeyRecord] = field(default_factory=list)
    made: int = 0


class Rotation(RuleBasedStateMachine):
    """Three processes, three verifiers, one database."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        while (step := next_step(ALG, self.world.keys, self.world.now_ms, POLICY, first_start=True)) is not None:
            self._take(step)
        self.processes = [Process(list(self.world.keys), self.world.now_ms) for _ in range(3)]
        self.verifiers = [Verifier() for _ in range(3)]
        self.tokens: list[Token] = []
        self.compromised: set[str] = set()
        self.emergency_at_ms = -(10**15)

    def _take(self, step: object) -> None:
        self.world.made += 1
        self.world.keys = applied(self.world.keys, step, self.world.now_ms, f"k{self.world.made}")

    @rule(ms=st.integers(1, 6 * HOUR_MS))
    def time_passes(self, ms: int) -> None:
        """In small steps, so that processes keep up within their lag."""
        while ms > 0:
            step_ms = min(ms, POLICY.replica_lag_ms)
            self.world.now_ms += step_ms
            ms -= step_ms
            for process in self.processes:
                if self.world.now_ms - process.read_at_ms >= POLICY.replica_lag_ms:
                    process.keys, process.read_at_ms = list(self.world.keys), self.world.now_ms
            if ms > HOUR_MS:
                self.tick(0)

    @rule(process=st.integers(0, 2))
    def reads(self, process: int) -> None:
        """A process reads the keys."""
        self.processes[process] = Process(list(self.world.keys), self.world.now_ms)

    @rule(process=st.integers(0, 2))
    def tick(self, process: int) -> None:
        """A process takes one step, decided on the database under its lock; then it may be killed."""
        del process
        step = next_step(ALG, self.world.keys, self.world.now_ms, POLICY)
        if step is not None:
            self._take(step)

    @rule(process=st.integers(0, 2))
    def signs(self, process: int) -> None:
        """A token for as long as one may live, from a process that may be late."""
        kid = self.processes[process].signs_with()
        assert kid is not None, "no key to sign with"
        if kid not in self.compromised:
            self.tokens.append(Token(kid, self.world.now_ms + POLICY.token_lifetime_max_ms))

    @rule(verifier=st.integers(0, 2), process=st.integers(0, 2), token=st.integers(0, 1_000))
    def verifies(self, verifier: int, process: int, token: int) -> None:
        """A verifier gets a token, with its copy of the key set if that is not too old, else with a new one."""
        self.tokens = [each for each in self.tokens if each.expires_at_ms > self.world.now_ms]
        if not self.tokens:
            return
        presented = self.tokens[token % len(self.tokens)]
        holder = self.verifiers[verifier]
        if self.world.now_ms - holder.fetched_at_ms >= MAX_AGE_MS:
            holder.copy, holder.fetched_at_ms = self.processes[process].key_set(), self.world.now_ms
        if presented.kid in self.compromised:
            return
        if self.world.now_ms - self.emergency_at_ms < MAX_AGE_MS + POLICY.replica_lag_ms:
            return  # after an emergency without a ripe standby a copy may be behind until it ages
        assert presented.kid in holder.copy, "a verifier met a key that it could not know"

    @rule()
    def is_stolen(self) -> None:
        """The active key is found compromised: what waits signs at once."""
        active = next((each for each in self.world.keys if each.state is KeyState.ACTIVE), None)
        if active is None:
            return
        self.compromised.add(active.kid)
        self.world.keys = applied(self.world.keys, Move(active, KeyState.COMPROMISED), self.world.now_ms, "")
        rest = [each for each in self.world.keys if each.kid != active.kid]
        step = next_step(ALG, rest, self.world.now_ms, POLICY, lost_active=True)
        for _ in range(4):
            if step is None or self._has_active():
                break
            ripe = isinstance(step, Activate) and self.world.now_ms >= ripe_at_ms(step.key, POLICY)
            self.emergency_at_ms = self.emergency_at_ms if ripe else self.world.now_ms
            self._take(step)
            step = next_step(ALG, self.world.keys, self.world.now_ms, POLICY)
        for process in self.processes:
            process.keys, process.read_at_ms = list(self.world.keys), self.world.now_ms

    def _has_active(self) -> bool:
        return any(each.state is KeyState.ACTIVE for each in self.world.keys)

    @precondition(lambda self: self._has_active())
    @rule()
    def is_rotated_by_hand(self) -> None:
        """An operator rotates; what is not ripe is refused."""
        step = forced_step(ALG, self.world.keys)
        if step is not None and self.world.now_ms >= ripe_at_ms(step.key, POLICY):
            self._take(step)

    @invariant()
    def one_signs(self) -> None:
        """Exactly one key is active."""
        assert sum(each.state is KeyState.ACTIVE for each in self.world.keys) == 1

    @invariant()
    def few_wait(self) -> None:
        """At most one key waits to become active."""
        waiting = [each for each in self.world.keys if each.state in {KeyState.PENDING, KeyState.NEXT}]
        assert len(waiting) <= 1

    @invariant()
    def good_tokens_have_published_keys(self) -> None:
        """A key whose token still lives is in the key set."""
        published = {each.kid for each in self.world.keys if each.state in PUBLISHED}
        for token in self.tokens:
            if token.expires_at_ms > self.world.now_ms and token.kid not in self.compromised:
                assert token.kid in published


TestRotation = Rotation.TestCase
TestRotation.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(
    ("keys", "now_ms", "expected"),
    [
        pytest.param([], 0, "create", id="nothing there"),
        pytest.param([key("a", KeyState.PENDING)], 0, "a→next", id="publish"),
        pytest.param([key("a", KeyState.NEXT)], 0, None, id="a new algorithm waits to be known"),
        pytest.param([key("a", KeyState.NEXT)], 599_999, None, id="a moment too early"),
        pytest.param([key("a", KeyState.NEXT)], 600_000, "a active", id="and then signs"),
        pytest.param([key("a", KeyState.ACTIVE)], 0, "create", id="a standby"),
        pytest.param([key("a", KeyState.ACTIVE), key("b", KeyState.NEXT)], 10 * HOUR_MS, None, id="not due"),
        pytest.param(
            [key("a", KeyState.ACTIVE), key("b", KeyState.NEXT)], 24 * HOUR_MS, "b active, a retires", id="due"
        ),
        pytest.param(
            [key("a", KeyState.ACTIVE), key("b", KeyState.NEXT, 0, 24 * HOUR_MS)],
            24 * HOUR_MS,
            None,
            id="due but not known yet",
        ),
        pytest.param(
            [key("a", KeyState.RETIRING), key("b", KeyState.NEXT)], 0, "b active", id="an active key is missing"
        ),
        pytest.param(
            [key("a", KeyState.COMPROMISED), key("b", KeyState.NEXT)], 0, "b active", id="emergency: at once"
        ),
        pytest.param([key("a", KeyState.COMPROMISED)], 0, "create", id="emergency without a standby"),
        pytest.param(
            [key("a", KeyState.RETIRING), key("b", KeyState.ACTIVE), key("c", KeyState.NEXT)],
            HOUR_MS + 14_999,
            None,
            id="its last token still lives",
        ),
        pytest.param(
            [key("a", KeyState.RETIRING), key("b", KeyState.ACTIVE), key("c", KeyState.NEXT)],
            HOUR_MS + 15_000,
            "a→retired",
            id="retired",
        ),
        pytest.param(
            [key("a", KeyState.RETIRED), key("b", KeyState.ACTIVE), key("c", KeyState.NEXT)],
            6 * HOUR_MS,
            "a→destroyed",
            id="destroyed",
        ),
        pytest.param(
            [key("a", KeyState.DESTROYED), key("b", KeyState.ACTIVE), key("c", KeyState.NEXT)],
            20 * HOUR_MS,
            None,
            id="and that is all",
        ),
        pytest.param([replace(key("a", KeyState.ACTIVE), algorithm="RS256")], 0, "create", id="another algorithm's"),
    ],
)
def test_steps(keys: list[KeyRecord], now_ms: int, expected: str | None) -> None:
    """One step at a time."""

    def told(step: object) -> str | None:
        match step:
            case Create():
                return "create"
            case Move(which, to):
                return f"{which.kid}→{to.value}"
            case Activate(which, previous):
                return f"{which.kid} active" + (f", {previous.kid} retires" if previous else "")
            case _:
                return None

    assert told(next_step(ALG, keys, now_ms, POLICY)) == expected


@given(st.lists(st.sampled_from(list(KeyState)), max_size=6), st.integers(0, 100 * HOUR_MS))
@settings(max_examples=200, deadline=None)
def test_from_any_state_a_key_comes_to_sign(states: list[KeyState], now_ms: int) -> None:
    """Whatever a killed process left, and more than it can have left, an active key is there in the end."""
    keys = [key(f"k{number}", state) for number, state in enumerate(states) if state is not KeyState.ACTIVE]
    for number in range(40):
        step = next_step(ALG, keys, now_ms, POLICY)
        if step is None:
            now_ms += HOUR_MS
        keys = applied(keys, step, now_ms, f"n{number}")
    assert sum(each.state is KeyState.ACTIVE for each in keys) == 1
