"""The life of a signing key: which step comes next, decided from what the database says and the time.

``pending`` is made but known to nobody; ``next`` is published and waits until every verifier's copy of our key set
has it; ``active`` signs; ``retiring`` only verifies, until the last token it signed has expired; ``retired`` is
published no more; ``destroyed`` has lost its private part; ``compromised`` is refused from the moment it is known.
One step at a time is taken, each in one transaction, so a process may die at any of them and the next one goes on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from authn.clock import SKEW_MS, Millis
from authn.envelope import Sealed

JWKS_MAX_AGE_S = 300
"""For how long a verifier may use its copy of our key set without asking again."""
_DAY_MS = 86_400_000


class KeyState(Enum):
    """Where a key is in its life."""

    PENDING = "pending"
    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    DESTROYED = "destroyed"
    COMPROMISED = "compromised"


PUBLISHED = frozenset({KeyState.NEXT, KeyState.ACTIVE, KeyState.RETIRING})
_WAITING = frozenset({KeyState.PENDING, KeyState.NEXT})


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A signing key as the database has it. ``sealed`` is gone once it is destroyed."""

    kid: str
    algorithm: str
    state: KeyState
    version: int
    created_at_ms: Millis
    state_since_ms: Millis
    published_at_ms: Millis | None
    public_jwk: Mapping[str, str]
    sealed: Sealed | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationPolicy:
    """How long a key stays in each state.

    Args:
        replica_lag_ms: how long until every process serves the key set that the database has.
        token_lifetime_max_ms: the longest that a token signed by a key may live.
    """

    active_for_ms: Millis = 30 * _DAY_MS
    replica_lag_ms: Millis = 5_000
    token_lifetime_max_ms: Millis = 24 * 3_600_000
    destroy_after_ms: Millis = _DAY_MS

    @property
    def publish_before_ms(self) -> Millis:
        """How long a key must have been published before it signs."""
        return 2 * max(JWKS_MAX_AGE_S * 1000, self.replica_lag_ms)

    @property
    def retire_after_ms(self) -> Millis:
        """How long a key that signs no more still verifies."""
        return self.token_lifetime_max_ms + self.replica_lag_ms + SKEW_MS


@dataclass(frozen=True, slots=True)
class Create:
    """Make a key, pending."""

    algorithm: str


@dataclass(frozen=True, slots=True)
class Move:
    """Take one key from its state to another."""

    key: KeyRecord
    to: KeyState


@dataclass(frozen=True, slots=True)
class Activate:
    """Let ``key`` sign from now on, in place of ``previous``."""

    key: KeyRecord
    previous: KeyRecord | None


Step: TypeAlias = Create | Move | Activate


def next_step(
    algorithm: str,
    keys: Sequence[KeyRecord],
    now_ms: Millis,
    policy: RotationPolicy,
    *,
    first_start: bool = False,
    lost_active: bool = False,
) -> Step | None:
    """What to do about the keys of one algorithm now; ``None`` when nothing is due.

    Args:
        first_start: nobody can have asked for our key set yet, so a key need not wait to be known.
        lost_active: the key that signed was just found compromised and is not among ``keys``.
    """
    mine = [key for key in keys if key.algorithm == algorithm]
    for key in mine:
        age_ms = now_ms - key.state_since_ms
        match key.state:
            case KeyState.PENDING:
                return Move(key, KeyState.NEXT)
            case KeyState.RETIRING if age_ms >= policy.retire_after_ms:
                return Move(key, KeyState.RETIRED)
            case KeyState.RETIRED if age_ms >= policy.destroy_after_ms:
                return Move(key, KeyState.DESTROYED)
            case _:
                pass
    active = _in_state(mine, KeyState.ACTIVE)
    waiting = _in_state(mine, KeyState.NEXT)
    if waiting is None:
        return Create(algorithm)
    if active is None:
        had_one = lost_active or any(key.state not in _WAITING for key in mine)
        known = now_ms >= ripe_at_ms(waiting, policy)
        return Activate(waiting, None) if first_start or had_one or known else None
    due = now_ms - active.state_since_ms >= policy.active_for_ms
    return Activate(waiting, active) if due and now_ms >= ripe_at_ms(waiting, policy) else None


def forced_step(algorithm: str, keys: Sequence[KeyRecord]) -> Activate | None:
    """The activation of an algorithm's waiting key, whether it is due or not; ``None`` where there is none."""
    mine = [key for key in keys if key.algorithm == algorithm]
    waiting = _in_state(mine, KeyState.NEXT)
    return None if waiting is None else Activate(waiting, _in_state(mine, KeyState.ACTIVE))


def ripe_at_ms(key: KeyRecord, policy: RotationPolicy) -> Millis:
    """When a published key will be known to every verifier."""
    published = key.published_at_ms if key.published_at_ms is not None else key.state_since_ms
    return published + policy.publish_before_ms


def _in_state(keys: Iterable[KeyRecord], state: KeyState) -> KeyRecord | None:
    return min((key for key in keys if key.state is state), key=lambda key: key.created_at_ms, default=None)
