"""How long one evaluation of a caveat takes: ``python -m benchmarks.caveats``.

Workload: the caveats that schemas in the field have most (a flag, a limit, a time, an address, a membership, a map),
each with a relationship's context in canonical JSON and a request's already bound, as a check meets them; then
answers that want taking apart (a missing parameter, a failure), and the binding of a request. Nothing is random.
The figure is processor time, the best of fifty rounds of 1,000 evaluations in one thread, since the machine may be
shared; every answer is compared. Ends with 1 when an answer is wrong or an ordinary evaluation takes over 15 µs.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pdp.caveats import CompiledCaveat, Failed, Missing, Verdict
from schema.compile import compile_schema

ROUNDS, EVALUATIONS = 50, 1_000
BAR_US = 15.0


@dataclass(frozen=True, slots=True)
class Row:
    """One caveat with what it is given and what must come of it."""

    name: str
    parameters: str
    expression: str
    stored: Mapping[str, Any]
    request: Mapping[str, Any]
    expected: Verdict | type[Failed]


NETWORKS = [f"10.{number}.0.0/16" for number in range(8)]
ORDINARY = (
    Row("a flag", "on bool", "on", {}, {"on": True}, True),
    Row("a limit", "used int, limit int", "used < limit", {"limit": 10}, {"used": 3}, True),
    Row("a limit as text", "used int, limit int", "used < limit", {"limit": "10"}, {"used": "30"}, False),
    Row("two sides", "a bool, b int", "a && b > 1", {"a": True}, {"b": 2}, True),
    Row(
        "a time",
        "now timestamp, since timestamp, last duration",
        "now < since + last",
        {"since": "2026-01-01T00:00:00Z", "last": "24h"},
        {"now": "2026-01-01T10:00:00Z"},
        True,
    ),
    Row("an address", "ip ipaddress, net string", "ip.in_cidr(net)", {"net": "10.0.0.0/8"}, {"ip": "10.1.2.3"}, True),
    Row(
        "a membership",
        "day string, days list<string>",
        "day in days",
        {"days": ["mon", "tue"]},
        {"day": "sun"},
        False,
    ),
    Row("a field", "user map<any>", "user.level >= 3.0", {}, {"user": {"level": 4, "name": "ann"}}, True),
    Row("a pattern", "path string", "path.matches('^/docs/[a-z]+$')", {}, {"path": "/docs/readme"}, True),
)
TAKEN_APART = (
    Row("one of two is missing", "a bool, b int", "a && b > 1", {"a": True}, {}, Missing(("b",))),
    Row("both are missing", "a bool, b int", "a && b > 1", {}, {}, Missing(("a", "b"))),
    Row("a failure", "a int, b bool", "1 / a == 1 || b", {}, {"a": 0, "b": False}, Failed),
    Row(
        "eight networks",
        "ip ipaddress, nets list<string>",
        "nets.exists(n, ip.in_cidr(n))",
        {"nets": NETWORKS},
        {"ip": "10.7.0.1"},
        True,
    ),
)


def best_us(work: Callable[[], object]) -> float:
    """The best round's time for one call, in microseconds."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(EVALUATIONS):
            work()
        best = min(best, time.process_time() - started)
    return best / EVALUATIONS * 1e6


def measure(row: Row) -> tuple[float, float, bool]:
    """Microseconds for an evaluation and for binding the request; whether the answer is right."""
    caveat = CompiledCaveat(
        compile_schema(f"caveat measured({row.parameters}) {{ {row.expression} }}").caveats["measured"]
    )
    stored = json.dumps(row.stored, sort_keys=True, separators=(",", ":")) if row.stored else ""
    bound = caveat.bind_request(row.request)
    verdict = caveat.evaluate(stored, bound)
    right = isinstance(verdict, Failed) if row.expected is Failed else verdict == row.expected
    return best_us(lambda: caveat.evaluate(stored, bound)), best_us(lambda: caveat.bind_request(row.request)), right


def main() -> int:
    """Measure every row and print a table."""
    print(f"{'caveat':24}{'evaluation':>12}{'binding':>12}")
    status = 0
    for row in (*ORDINARY, *TAKEN_APART):
        evaluation, binding, right = measure(row)
        over = row in ORDINARY and evaluation > BAR_US
        note = "" if right else "  wrong answer"
        note += f"  over {BAR_US:.0f} µs" if over else ""
        status = status if right and not over else 1
        print(f"{row.name:24}{evaluation:>9.1f} µs{binding:>9.1f} µs{note}")
    return status


if __name__ == "__main__":
    sys.exit(main())
