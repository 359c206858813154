"""Lookups of subjects tell of every subject what the oracle, and a check, tell of it."""

from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pdp.lookup_subjects import LookupSubjects
from pdp.program import SubjectType, compile_program
from pdp.relationships import Relationship
from tests import strategies
from tests.oracle import Oracle
from tests.pdp.lookups import read_subjects
from tests.pdp.test_differential_check import LOADED, LUCK, World, worlds
from tests.rationed import RationedGraph, drive, judge_by
from tests.strategies import IDS, NOW, examples, read_verdict


def compare(
    world: World,
    luck: Random,
    loaded: float,
    *,
    contextual: Sequence[Relationship] = (),
    truth: World | None = None,
    steps_max: int = 1_000_000,
) -> None:
    """Hold the list for every resource, permission and kind of subject against the oracle."""
    program = compile_program(world.schema)
    truth = truth or world
    oracle = Oracle(truth.schema, truth.stored, instant=NOW, valuation=read_verdict(truth.verdicts))
    graph = RationedGraph(world.stored, luck, loaded)
    kinds = [
        SubjectType(definition.name, relation)
        for definition in world.schema.definitions.values()
        for relation in ("", *definition.relations)
    ]
    for resource, permission in strategies.resources(world.schema):
        for kind in kinds:
            graph.forget()
            lookup = LookupSubjects(
                program,
                resource,
                permission,
                kind,
                instant=NOW,
                judge=judge_by(world.verdicts),
                goals_max=1000,
                reads_max=10_000,
            )
            drive(lookup, graph, contextual=contextual, steps_max=steps_max)
            right = oracle.lookup_subjects(resource, permission, *kind)
            listed = read_subjects(lookup.findings, IDS)
            wrong = [
                f"{resource}#{permission}@{kind.type}:{id_}#{kind.relation} is {verdict}, not {listed[id_]}"
                for id_, verdict in right.items()
                if listed[id_] != verdict
            ]
            assert not wrong


@examples(500)
@given(world=worlds(strategies.schemas()), luck=LUCK, loaded=LOADED)
def test_agrees_with_the_oracle(world: World, luck: Random, loaded: float) -> None:
    """Whoever is listed, and how, and who is not."""
    compare(world, luck, loaded)


@examples(200)
@given(world=worlds(strategies.schemas(types=("group",)), draws=16), luck=LUCK, loaded=LOADED)
def test_agrees_where_everything_is_nested_in_everything(world: World, luck: Random, loaded: float) -> None:
    """Cycles, through negations too, are the rule."""
    compare(world, luck, loaded)


@examples(200)
@given(world=worlds(strategies.schemas(imported=True)), luck=LUCK, loaded=LOADED, steps_max=st.integers(1, 30))
def test_agrees_on_imported_models_when_interrupted(
    world: World, luck: Random, loaded: float, steps_max: int
) -> None:
    """Models of another language, by a walk that pauses every few steps."""
    compare(world, luck, loaded, steps_max=steps_max)
