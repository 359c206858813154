"""The engine answers every case: over a graph that is loaded piece by piece, over a replica, and compiled."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TypeAlias

import pytest

from pdp.judge import judge_with
from pdp.program import compile_program
from pdp.relationships import Revision
from pdp.replica.compiled import CompiledChecks, Undecided
from pdp.replica.replica import Replica, ReplicaBuilder
from tests import cases
from tests.cases import Assertion, Case
from tests.oracle import HAS, LACKS, Verdict
from tests.rationed import RationedGraph, ask

Answers: TypeAlias = Callable[[Case], Iterator[tuple[Assertion, Verdict]]]

CASES = cases.load_all()
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def replica_of(case: Case) -> Replica:
    """A replica of the case's relationships."""
    builder = ReplicaBuilder(Revision(1))
    builder.add(case.relationships)
    return builder.build()


def wrong(pairs: Iterator[tuple[Assertion, Verdict]]) -> Sequence[str]:
    """Answers that are not what the case says."""
    return [
        f"{goal.resource}#{goal.relation}@{goal.subject} with {context} is {verdict}, not {found}"
        for (goal, context, verdict), found in pairs
        if found != verdict
    ]


@each_case
@pytest.mark.parametrize("loaded", [0.0, 0.5, 1.0], ids=["cold", "half", "loaded"])
def test_fetched_in_rounds(case: Case, loaded: float) -> None:
    """Whatever is loaded when, and each question on its own."""
    program = compile_program(case.schema)
    luck = Random(len(case.relationships))
    graph = RationedGraph(case.relationships, luck, loaded)

    def answers() -> Iterator[tuple[Assertion, Verdict]]:
        for assertion in case.assertions:
            graph.forget()
            goal, judge = assertion.goal, judge_with(case.schema, assertion.context)
            question = [(goal.resource, goal.relation)]
            yield assertion, ask(program, graph, goal.subject, question, instant=case.instant, judge=judge)[0][0]

    assert not wrong(answers())


@each_case
def test_over_a_replica(case: Case) -> None:
    """Everything is loaded; the table answers."""
    program = compile_program(case.schema)
    graph = replica_of(case).at(Revision(1))

    def answers() -> Iterator[tuple[Assertion, Verdict]]:
        for assertion in case.assertions:
            goal, judge = assertion.goal, judge_with(case.schema, assertion.context)
            question = [(goal.resource, goal.relation)]
            yield assertion, ask(program, graph, goal.subject, question, instant=case.instant, judge=judge)[0][0]

    assert not wrong(answers())


def compiled_answers(case: Case) -> Iterator[tuple[Assertion, Verdict]]:
    """The assertions that the compiled checks can tell something of."""
    checks = CompiledChecks(compile_program(case.schema), replica_of(case))
    for assertion in case.assertions:
        resource, relation, subject = assertion.goal
        try:
            has = checks.check(*resource, relation, *subject)
        except Undecided:
            continue
        yield assertion, HAS if has else LACKS


@each_case
def test_compiled(case: Case) -> None:
    """What the compiled checks can tell, they tell right."""
    assert not wrong(compiled_answers(case))


def test_compiled_checks_tell_most_of_what_is_plain() -> None:
    """Without conditions and times only recursion through an intersection or an exclusion is left to the table."""
    plain = [
        case
        for case in CASES
        if not any(each.caveat_name or each.expires_at or each.valid_from for each in case.relationships)
    ]
    told = sum(1 for case in plain for _ in compiled_answers(case))
    assert told >= 0.85 * sum(len(case.assertions) for case in plain)
