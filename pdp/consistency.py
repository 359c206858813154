"""How fresh an answer must be (Zanzibar, section 2.4.1), and which revision that means."""

from dataclasses import dataclass
from typing import TypeAlias

from pdp.relationships import Revision


@dataclass(frozen=True, slots=True)
class MinimizeLatency:
    """Whatever this process knows: at least all that it acknowledged itself."""


@dataclass(frozen=True, slots=True)
class AtLeastAsFresh:
    """Not older than a revision that the caller has seen."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class AtExactSnapshot:
    """Exactly that revision."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class FullyConsistent:
    """At least all that was committed anywhere when the request arrived."""


Consistency: TypeAlias = MinimizeLatency | AtLeastAsFresh | AtExactSnapshot | FullyConsistent
MINIMIZE_LATENCY = MinimizeLatency()
FULLY_CONSISTENT = FullyConsistent()
