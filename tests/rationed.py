"""The engine, driven without a store: a graph that knows everything and tells nothing before it was fetched.

What is loaded at first, and how much of what is needed each round brings, is up to ``luck``. An evaluation must
come to the same answer by every such way, and may ask for nothing twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from pdp.bulk import Outcome, outcome
from pdp.errors import CaveatEvaluationFailed, NegationCycle
from pdp.evaluate import Answer, Evaluation, Judge, Permissionship, Unknown
from pdp.graph import Graph, WithContextual
from pdp.program import Program
from pdp.relationships import Instant, ObjectRef, Relationship, SubjectRef
from pdp.stores.protocol import Found, Read, SubjectsRead
from pdp.walk import Walk
from tests.oracle import FAILED, HAS, LACKS, PARADOX, Kind, Verdict

ROUNDS_MAX = 100_000


class RationedGraph:
    """Relationships by read; a read is loaded from the start with probability ``loaded``.

    A fetch brings each read that it is asked for with probability ``share``, where that is left to luck all or few.
    """

    def __init__(
        self,
        relationships: Iterable[Relationship],
        luck: Random | None = None,
        loaded: float = 0.0,
        share: float | None = None,
    ) -> None:
        self._subjects: dict[tuple[ObjectRef, str, str, str], list[Found]] = {}
        self._resources: dict[tuple[SubjectRef, str, str], list[Found]] = {}
        for each in relationships:
            traits = (each.caveat_name, each.caveat_context, each.expires_at, each.valid_from)
            forward = (each.resource, each.relation, each.subject_type, each.subject_relation)
            self._subjects.setdefault(forward, []).append(Found(each.subject_id, *traits))
            backward = (each.subject, each.resource_type, each.relation)
            self._resources.setdefault(backward, []).append(Found(each.resource_id, *traits))
        self._luck = luck or Random(0)
        self._loaded = loaded
        self._share = share
        self._known: dict[Read, bool] = {}
        self.fetches = 0

    def forget(self) -> None:
        """Unload everything."""
        self._known.clear()

    def get(self, read: Read) -> Sequence[Found] | None:
        """See `pdp.graph.Graph`."""
        if read not in self._known:
            self._known[read] = self._luck.random() < self._loaded
        return self._found(read) if self._known[read] else None

    def fetch(self, needs: Iterable[Read]) -> None:
        """Load at least one of the reads."""
        wanted = list(needs)
        assert wanted, "an evaluation that is not done and needs nothing would never end"
        assert not any(self._known.get(read) for read in wanted), "asked again for what is loaded"
        self.fetches += 1
        share = self._luck.choice((0.3, 1.0)) if self._share is None else self._share
        for read in wanted:
            self._known[read] = self._luck.random() < share
        self._known[self._luck.choice(wanted)] = True

    def _found(self, read: Read) -> Sequence[Found]:
        if not isinstance(read, SubjectsRead):
            return self._resources.get((read.subject, read.resource_type, read.relation), ())
        found = self._subjects.get((read.resource, read.relation, read.subject_type, read.subject_relation), [])
        return [each for each in found if each.id in read.subject_ids] if read.subject_ids else found


def ask(
    program: Program,
    graph: Graph,
    subject: SubjectRef,
    questions: Sequence[tuple[ObjectRef, str]],
    *,
    instant: Instant,
    judge: Judge,
    contextual: Sequence[Relationship] = (),
    steps_max: int = 1_000_000,
) -> list[tuple[Verdict, Answer | None]]:
    """The engine's verdicts on questions about one subject, with its answers where it has one."""
    evaluation = Evaluation(program, subject, instant=instant, judge=judge)
    nodes = [evaluation.ask(resource, relation) for resource, relation in questions]
    drive(evaluation, graph, contextual=contextual, steps_max=steps_max)
    return [told(outcome(evaluation, node)) for node in nodes]


def drive(walk: Walk, graph: Graph, *, contextual: Sequence[Relationship] = (), steps_max: int = 1_000_000) -> None:
    """Bring any walk to its end, fetching what it needs."""
    seen: Graph = WithContextual(graph, contextual) if contextual else graph
    for _ in range(ROUNDS_MAX):
        if walk.run(seen, steps_max):
            return
        if walk.needs:
            assert isinstance(graph, RationedGraph), "everything was loaded"
            graph.fetch(walk.needs)
    raise AssertionError("the walk does not end")


_VERDICTS = {Permissionship.HAS_PERMISSION: HAS, Permissionship.NO_PERMISSION: LACKS}


def told(outcome: Outcome) -> tuple[Verdict, Answer | None]:
    """What the engine came to, in the oracle's words; what is no answer about data is raised."""
    match outcome:
        case CaveatEvaluationFailed():
            return FAILED, None
        case NegationCycle():
            return PARADOX, None
        case Answer():
            return permissionship(outcome.permissionship, outcome.missing), outcome
        case _:
            raise outcome


def permissionship(value: Permissionship, missing: Sequence[str]) -> Verdict:
    """The three values that come with names."""
    if value is not Permissionship.CONDITIONAL_PERMISSION:
        assert not missing, "names are for conditional answers"
        return _VERDICTS[value]
    assert len(set(missing)) == len(missing) > 0, "each parameter is named, once"
    return Verdict(Kind.CONDITIONAL, frozenset(missing))


def judge_by(valuation: Mapping[tuple[str, str], Verdict]) -> Judge:
    """Verdicts on caveats, in the engine's words."""

    def judge(name: str, context: str) -> bool | Unknown:
        verdict = valuation[name, context]
        match verdict.kind:
            case Kind.HAS:
                return True
            case Kind.LACKS:
                return False
            case Kind.CONDITIONAL:
                return Unknown(missing=tuple(sorted(verdict.missing)))
            case _:
                return Unknown(failure=CaveatEvaluationFailed(name, "no reason"))

    return judge
