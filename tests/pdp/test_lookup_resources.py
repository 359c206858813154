"""Lookups of resources find what the oracle, and a check, finds, however they come to decide it."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp import lookup_resources
from pdp.lookup_resources import LookupResources
from pdp.program import compile_program
from pdp.relationships import Relationship
from tests import strategies
from tests.oracle import Oracle
from tests.pdp.lookups import read_row
from tests.pdp.test_differential_check import LOADED, LUCK, World, worlds
from tests.rationed import RationedGraph, drive, judge_by
from tests.strategies import NOW, examples, read_verdict

each_way = pytest.mark.parametrize("few", [pytest.param(200, id="evaluated"), pytest.param(0, id="joined as sets")])


def compare(
    world: World,
    luck: Random,
    loaded: float,
    *,
    contextual: Sequence[Relationship] = (),
    truth: World | None = None,
    steps_max: int = 1_000_000,
) -> None:
    """Hold the list for every subject and permission of every type against the oracle."""
    program = compile_program(world.schema)
    truth = truth or world
    oracle = Oracle(truth.schema, truth.stored, instant=NOW, valuation=read_verdict(truth.verdicts))
    graph = RationedGraph(world.stored, luck, loaded)
    for subject in strategies.subjects(world.schema):
        for definition in world.schema.definitions.values():
            for permission in definition.relations:
                graph.forget()
                lookup = LookupResources(
                    program,
                    definition.name,
                    permission,
                    subject,
                    instant=NOW,
                    judge=judge_by(world.verdicts),
                    goals_max=1000,
                    reads_max=10_000,
                )
                drive(lookup, graph, contextual=contextual, steps_max=steps_max)
                rows = dict(lookup.findings.after(None))
                assert list(rows) == sorted(rows)
                found = {id_: read_row(row) for id_, row in rows.items()}
                assert found == oracle.lookup_resources(definition.name, permission, subject)


@each_way
@examples(300)
@given(world=worlds(strategies.schemas()), luck=LUCK, loaded=LOADED)
def test_agrees_with_the_oracle(few: int, world: World, luck: Random, loaded: float) -> None:
    """Whatever is found, and nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup_resources, "_FEW", few)
        compare(world, luck, loaded)


@each_way
@examples(150)
@given(world=worlds(strategies.schemas(types=("group",)), draws=16), luck=LUCK, loaded=LOADED)
def test_agrees_where_everything_is_nested_in_everything(few: int, world: World, luck: Random, loaded: float) -> None:
    """Cycles, through negations too, are the rule."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup_resources, "_FEW", few)
        compare(world, luck, loaded)


@each_way
@examples(150)
@given(world=worlds(strategies.schemas(imported=True)), luck=LUCK, loaded=LOADED, steps_max=st.integers(1, 30))
def test_agrees_on_imported_models_when_interrupted(
    few: int, world: World, luck: Random, loaded: float, steps_max: int
) -> None:
    """Models of another language, by a walk that pauses every few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup_resources, "_FEW", few)
        compare(world, luck, loaded, steps_max=steps_max)
