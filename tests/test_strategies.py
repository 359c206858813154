"""What the strategies make is what they say: schemas that compile, relationships that are accepted, rich answers."""

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdp.relationships import Operation, Relationship, Update
from pdp.validate import check_updates
from schema.compile import compile_schema
from schema.model import Schema
from schema.printing import print_schema
from tests import strategies
from tests.oracle import Goal, Kind, Oracle
from tests.strategies import NOW, examples, read_verdict


@examples(300)
@given(strategies.schemas())
def test_schemas_are_those_of_the_language(schema: Schema) -> None:
    """Each can be printed, and the text means the same."""
    assert compile_schema(print_schema(schema)) == schema


@examples(200)
@given(st.data(), strategies.schemas())
def test_relationships_fit(data: st.DataObject, schema: Schema) -> None:
    """Each is accepted, alone and in a history."""
    stored = data.draw(strategies.relationships(schema))
    check_updates(schema, [Update(Operation.TOUCH, each) for each in stored])
    for transaction in data.draw(strategies.histories(schema)):
        check_updates(schema, transaction)


def test_what_a_history_leaves_is_its_last_word() -> None:
    """A later touch replaces, a delete removes, and what was deleted may come back."""
    first = Relationship("group", "one", "member", "user", "ann")
    second = first._replace(caveat_name="office")
    other = first._replace(subject_id="tom")
    touch = [Update(Operation.TOUCH, each) for each in (first, second, other)]
    delete = Update(Operation.DELETE, first)
    assert strategies.written([touch[:1], [touch[1], touch[2]]]) == [second, other]
    assert strategies.written([[touch[1], touch[2]], [delete]]) == [other]
    assert strategies.written([[touch[0]], [delete], [touch[1]]]) == [second]
    assert strategies.written([[delete]]) == []


def test_answers_are_of_every_kind() -> None:
    """A generator that made only denials would prove nothing."""
    kinds: Counter[Kind] = Counter()

    @settings(
        max_examples=150,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.nested_given],
    )
    @given(st.data(), strategies.schemas(), strategies.caveat_verdicts())
    def count(data: st.DataObject, schema: Schema, verdicts: strategies.Verdicts) -> None:
        stored = data.draw(strategies.relationships(schema))
        oracle = Oracle(schema, stored, instant=NOW, valuation=read_verdict(verdicts))
        for subject in strategies.subjects(schema):
            goals = [
                Goal(resource, relation, subject)
                for resource, relation in strategies.resources(schema)
                if subject != (*resource, relation)
            ]
            kinds.update(verdict.kind for verdict in oracle.check_all(goals))

    count()
    assert set(kinds) == set(Kind)
    assert kinds[Kind.HAS] > 0.03 * kinds.total()
