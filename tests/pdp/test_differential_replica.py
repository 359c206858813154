"""Compiled checks over a replica answer as the oracle does, after every change and every folding of changes."""

from collections.abc import Sequence

from hypothesis import given, note
from hypothesis import strategies as st

from pdp.program import compile_program
from pdp.relationships import Instant, Operation, Relationship, Revision
from pdp.replica.compact import Compaction
from pdp.replica.compiled import CompiledChecks, Undecided
from pdp.replica.replica import Replica, ReplicaBuilder
from pdp.stores.protocol import Transaction
from schema.model import Schema
from tests import strategies
from tests.oracle import HAS, LACKS, PARADOX, Goal, Oracle
from tests.strategies import NOW, examples, read_verdict

PLAIN = strategies.schemas(caveats=False, expiration=False)
UNIONS = strategies.schemas(caveats=False, expiration=False, negation=False)
NESTED = strategies.schemas(types=("user", "group"), caveats=False, expiration=False)


def replica_of(stored: Sequence[Relationship]) -> Replica:
    """A replica loaded from rows."""
    builder = ReplicaBuilder(Revision(1))
    builder.add(stored)
    return builder.build()


def compare(schema: Schema, checks: CompiledChecks, stored: Sequence[Relationship]) -> None:
    """Every (resource, permission, subject), asked twice, since the first answer may be kept for the second."""
    for definition in schema.definitions.values():
        for name, member in definition.relations.items():
            note(f"{definition.name}#{name} = {member.rewrite} {member.allowed or ''}")
    note("\n".join(map(str, stored)))
    questions = strategies.resources(schema)
    oracle = Oracle(schema, stored, instant=NOW)
    for subject in strategies.subjects(schema):
        truth = oracle.check_all([Goal(resource, relation, subject) for resource, relation in questions])
        for (resource, relation), expected in [*zip(questions, truth, strict=True)] * 2:
            try:
                found = HAS if checks.check(*resource, relation, *subject) else LACKS
            except Undecided:
                continue
            assert expected is not PARADOX
            assert found == expected, f"{resource}#{relation}@{subject}"


@examples(250)
@given(data=st.data(), schema=st.one_of(PLAIN, NESTED, UNIONS))
def test_compiled_checks_agree_with_the_oracle(data: st.DataObject, schema: Schema) -> None:
    """On relationships without conditions and times."""
    stored = data.draw(strategies.relationships(schema))
    compare(schema, CompiledChecks(compile_program(schema), replica_of(stored)), stored)


@examples(100)
@given(data=st.data(), schema=st.one_of(NESTED, UNIONS))
def test_what_is_remembered_is_forgotten_when_it_changes(data: st.DataObject, schema: Schema) -> None:
    """Memberships learned before a change are not told after it, across a folding of changes either."""
    stored = {each.identity: each for each in data.draw(strategies.relationships(schema, draws=8))}
    program, replica = compile_program(schema), replica_of(list(stored.values()))
    checks = CompiledChecks(program, replica)
    compare(schema, checks, list(stored.values()))
    for number, updates in enumerate(data.draw(strategies.histories(schema, transactions_max=3)), start=2):
        removed = [stored.pop(u.relationship.identity) for u in updates if u.relationship.identity in stored]
        added = [u.relationship for u in updates if u.operation is not Operation.DELETE]
        stored |= {each.identity: each for each in added}
        transaction = Transaction(Revision(number), Instant(number), added, removed)
        replica.apply([transaction])
        checks.forget_changes([transaction])
        if data.draw(st.booleans(), label="fold"):
            compaction = Compaction(replica, Revision(number))
            compaction.begin()
            compaction.build()
            compaction.finish()
            checks = CompiledChecks(program, replica, checks)
        compare(schema, checks, list(stored.values()))


@examples(150)
@given(data=st.data(), schema=strategies.schemas())
def test_conditions_and_times_are_left_to_the_table(data: st.DataObject, schema: Schema) -> None:
    """Whatever caveats would say, a compiled answer is right: it rests on nothing conditional."""
    stored = data.draw(strategies.relationships(schema))
    verdicts = data.draw(strategies.caveat_verdicts())
    checks = CompiledChecks(compile_program(schema), replica_of(stored))
    oracle = Oracle(schema, stored, instant=NOW, valuation=read_verdict(verdicts))
    questions = strategies.resources(schema)
    for subject in strategies.subjects(schema):
        truth = oracle.check_all([Goal(resource, relation, subject) for resource, relation in questions])
        for (resource, relation), expected in zip(questions, truth, strict=True):
            try:
                has = checks.check(*resource, relation, *subject)
            except Undecided:
                continue
            assert expected == (HAS if has else LACKS), f"{resource}#{relation}@{subject}"
