"""The engine answers as the oracle does: any schema, relationships, verdicts of caveats and order of loading."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from hypothesis import given, note
from hypothesis import strategies as st

from pdp.program import compile_program
from pdp.relationships import Instant, ObjectRef, Relationship, SubjectRef
from schema.compile import compile_schema
from schema.model import Schema
from tests import strategies
from tests.oracle import Goal, Oracle, Verdict
from tests.rationed import RationedGraph, ask, judge_by
from tests.strategies import IDS, INSTANTS, NOW, Verdicts, examples, read_verdict

LUCK = st.integers(0, 9999).map(Random)
LOADED = st.sampled_from((0.0, 0.5, 1.0))
RING_IDS = ("one", "two", "three", "four")


@dataclass(frozen=True, slots=True)
class World:
    """All that an answer depends on, but the question and the instant."""

    schema: Schema
    stored: Sequence[Relationship]
    verdicts: Verdicts
    ids: Sequence[str] = IDS

    def __repr__(self) -> str:
        lines = [
            f"{definition.name}#{relation.name} = {relation.rewrite} {relation.allowed or ''}"
            for definition in self.schema.definitions.values()
            for relation in definition.relations.values()
        ]
        lines += [f"{relationship} {relationship[6:]}" for relationship in self.stored]
        return "\n".join(["", *lines, *(f"{leaf} is {verdict}" for leaf, verdict in self.verdicts.items())])

    def truth(self, subject: SubjectRef, *, at: Instant = NOW) -> list[Verdict]:
        """The oracle's verdicts on every relation and permission of every object."""
        oracle = Oracle(self.schema, self.stored, instant=at, valuation=read_verdict(self.verdicts))
        return oracle.check_all([Goal(resource, relation, subject) for resource, relation in self.questions()])

    def questions(self) -> list[tuple[ObjectRef, str]]:
        """Every relation and permission of every object."""
        return strategies.resources(self.schema, ids=self.ids)


@st.composite
def worlds(
    draw: st.DrawFn, schemas: st.SearchStrategy[Schema], *, ids: Sequence[str] = IDS, draws: int = 12
) -> World:
    """A schema with relationships and caveats' verdicts."""
    schema = draw(schemas)
    stored = draw(strategies.relationships(schema, ids=ids, draws=draws))
    return World(schema, stored, draw(strategies.caveat_verdicts()), ids)


def compare(
    world: World,
    luck: Random,
    loaded: float,
    *,
    contextual: Sequence[Relationship] = (),
    truth: World | None = None,
    subjects: Sequence[SubjectRef] = (),
    steps_max: int = 1_000_000,
) -> None:
    """Hold every (resource, permission, subject) against the oracle, a subject's questions together or one by one."""
    program = compile_program(world.schema)
    judge = judge_by(world.verdicts)
    questions = world.questions()
    batches = [questions] if luck.random() < 0.5 else [[question] for question in questions]
    graph = RationedGraph(world.stored, luck, loaded)
    for subject in subjects or strategies.subjects(world.schema, ids=world.ids):
        found = []
        for batch in batches:
            graph.forget()
            answers = ask(
                program,
                graph,
                subject,
                batch,
                instant=NOW,
                judge=judge,
                contextual=contextual,
                steps_max=steps_max,
            )
            found += [verdict for verdict, _ in answers]
        wrong = [
            f"{resource}#{relation}@{subject} is {right}, not {verdict}"
            for (resource, relation), verdict, right in zip(
                questions, found, (truth or world).truth(subject), strict=True
            )
            if verdict != right
        ]
        assert not wrong


@examples(2000)
@given(world=worlds(strategies.schemas()), luck=LUCK, loaded=LOADED)
def test_check_agrees_with_the_oracle(world: World, luck: Random, loaded: float) -> None:
    """Every subject on every relation and permission of every object, in all five values."""
    compare(world, luck, loaded)


@examples(250)
@given(world=worlds(strategies.schemas(types=("group",)), draws=16), luck=LUCK, loaded=LOADED)
def test_check_agrees_where_everything_is_nested_in_everything(world: World, luck: Random, loaded: float) -> None:
    """One type whose relations and permissions hold each other: cycles, through negations too, are the rule."""
    compare(world, luck, loaded)


RINGS = compile_schema("""
    definition user {}
    definition group {
        relation member: user | group#member | group#allowed
        relation banned: user | group#banned | group#allowed
        relation parent: group
        permission allowed = member - banned
        permission strict = member - banned - parent->strict
        permission sound = allowed + parent.all(sound)
        permission odd = (member - banned) + (banned & parent->odd)
    }
""")


@examples(150)
@given(world=worlds(st.just(RINGS), ids=RING_IDS, draws=18), luck=LUCK, loaded=LOADED)
def test_check_agrees_where_groups_ban_each_other(world: World, luck: Random, loaded: float) -> None:
    """Negations stacked over rings, where one ring is decided only when the one below it is."""
    subjects = [SubjectRef("user", "one"), SubjectRef("user", "two"), SubjectRef("group", "one", "allowed")]
    compare(world, luck, loaded, subjects=subjects)


@examples(150)
@given(world=worlds(strategies.schemas(imported=True)), luck=LUCK, loaded=LOADED)
def test_check_agrees_on_relations_with_a_rewrite_of_their_own(world: World, luck: Random, loaded: float) -> None:
    """Models written in another language store subjects and compute them under one name."""
    compare(world, luck, loaded)


@examples(100)
@given(world=worlds(strategies.schemas()), luck=LUCK, loaded=LOADED, steps_max=st.integers(1, 3))
def test_check_agrees_when_it_is_interrupted(world: World, luck: Random, loaded: float, steps_max: int) -> None:
    """An evaluation that pauses every few steps comes to the same answers."""
    compare(world, luck, loaded, steps_max=steps_max)


@examples(150)
@given(data=st.data(), world=worlds(strategies.schemas(), draws=8), luck=LUCK, loaded=LOADED)
def test_contextual_relationships_count_as_if_written(
    data: st.DataObject, world: World, luck: Random, loaded: float
) -> None:
    """Given with the question, they replace what has their identity and join the rest."""
    contextual = data.draw(strategies.relationships(world.schema, draws=6))
    note(f"contextual: {[(str(each), each[6:]) for each in contextual]}")
    merged = {each.identity: each for each in (*world.stored, *contextual)}
    compare(world, luck, loaded, contextual=contextual, truth=replace(world, stored=list(merged.values())))


@examples(150)
@given(world=worlds(strategies.schemas()), luck=LUCK)
def test_an_answer_holds_until_it_says(world: World, luck: Random) -> None:
    """From now until before ``stable_until`` the oracle keeps to the answer; without it, for ever."""
    program = compile_program(world.schema)
    questions = world.questions()
    graph = RationedGraph(world.stored, luck)
    later = [moment for moment in INSTANTS if moment > NOW]
    for subject in strategies.subjects(world.schema, ids=world.ids):
        truths = {moment: world.truth(subject, at=moment) for moment in later}
        for position, question in enumerate(questions):
            graph.forget()
            ((verdict, answer),) = ask(
                program,
                graph,
                subject,
                [question],
                instant=NOW,
                judge=judge_by(world.verdicts),
            )
            if answer is None:
                continue
            for moment in later:
                if answer.stable_until is None or moment < answer.stable_until:
                    assert truths[moment][position] == verdict, (question, subject, moment)
