"""The decision point of one installation: stores by name, each with what it takes to answer and to write."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from pdp.consistency import (
    MINIMIZE_LATENCY,
    AtExactSnapshot,
    AtLeastAsFresh,
    Consistency,
    FullyConsistent,
    MinimizeLatency,
)
from pdp.drive import Driver, driver
from pdp.errors import (
    PdpError,
    RevisionInFuture,
    SchemaChangeRefused,
    SchemaInUse,
    SchemaMissing,
)
from pdp.evaluate import Answer, Evaluation, Permissionship
from pdp.follow import Follower, SchemaVersion
from pdp.judge import judge_with
from pdp.names import check_goal
from pdp.ondemand import Fetcher
from pdp.relationships import (
    WILDCARD,
    Instant,
    ObjectRef,
    Relationship,
    RelationshipFilter,
    Revision,
    SubjectRef,
)
from pdp.replica.compiled import Undecided
from pdp.replica.keeper import ReplicaKeeper, ReplicaSettings
from pdp.second_level import Question, Recording, SecondLevel
from pdp.stores.protocol import Datastore, Page, Store, StoredSchema, Usage
from pdp.table import Node
from pdp.validate import check_contextual, check_filter
from schema.compile import compile_schema
from schema.safety import check_change

_HAS = Answer(Permissionship.HAS_PERMISSION)
_LACKS = Answer(Permissionship.NO_PERMISSION)
_CLOCK_SECONDS = 30.0
_STORES_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """Bounds on one evaluation. Exceeding one is an error, never a denial."""

    goals_max: int = 1_000_000
    reads_max: int = 10_000_000
    """Relationships that a lookup may read."""
    deadline: timedelta = timedelta(seconds=30)
    steps_a_turn: int = 2_000
    """Goals and reads after which an evaluation lets others have the event loop (a few milliseconds)."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """A question: has ``subject`` the ``permission`` on ``resource``?

    ``instant`` ``None`` is now. ``contextual`` relationships count as if they had been written.
    """

    resource: ObjectRef
    permission: str
    subject: SubjectRef
    consistency: Consistency = MINIMIZE_LATENCY
    context: Mapping[str, Any] = field(default_factory=dict)
    contextual: Sequence[Relationship] = ()
    instant: Instant | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer and the revision and instant that it was given at."""

    answer: Answer
    revision: Revision
    instant: Instant


class StoreService:
    """One store, followed and answered from."""

    def __init__(
        self,
        store: Store,
        settings: CheckSettings,
        replica_settings: ReplicaSettings,
        second_level: SecondLevel | None = None,
    ) -> None:
        self.store = store
        self.follower = Follower(store)
        self.keeper = ReplicaKeeper(store, self.follower, replica_settings)
        self.fetcher = Fetcher(store, second_level)
        self.settings = settings
        self._clock_offset = 0
        self._clock: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Learn where the store and its clock stand."""
        await self._set_clock()
        await self.follower.start()
        await self.fetcher.start(self.follower)
        self.keeper.start()
        self._clock = asyncio.create_task(self._keep_clock(), name=f"clock {self.store.name}")

    async def stop(self) -> None:
        """Stop following."""
        if self._clock is not None:
            self._clock.cancel()
            with suppress(asyncio.CancelledError):
                await self._clock
        await self.keeper.stop()
        await self.follower.stop()

    async def _set_clock(self) -> None:
        before = time.time_ns()
        database = await self.store.now()
        self._clock_offset = database - (before + time.time_ns()) // 2_000

    async def _keep_clock(self) -> None:
        while True:
            await asyncio.sleep(_CLOCK_SECONDS)
            with suppress(PdpError):
                await self._set_clock()

    def now(self) -> Instant:
        """The database's clock, by its last measured offset."""
        return Instant(time.time_ns() // 1_000 + self._clock_offset)

    async def revision(self, consistency: Consistency) -> Revision:
        """The revision to answer at.

        Raises:
            RevisionInFuture: the revision asked for was not reached yet.
        """
        follower = self.follower
        match consistency:
            case MinimizeLatency():
                return follower.applied
            case FullyConsistent():
                await follower.catch_up(await follower.head())
                return follower.applied
            case AtLeastAsFresh(wanted):
                await self._reach(wanted)
                return follower.applied
            case AtExactSnapshot(wanted):
                await self._reach(wanted)
                return wanted

    async def _reach(self, revision: Revision) -> None:
        if revision > self.follower.applied:
            head = await self.follower.head()
            if revision > head:
                raise RevisionInFuture(f"revision {revision} was not reached yet")
            await self.follower.catch_up(revision)

    async def check(self, request: CheckRequest) -> Checked:
        """Answer a question.

        Raises:
            UnknownDefinition, UnknownRelation, WildcardNotAllowed: the question names what is not there.
            WorkExceeded: the answer took more than the settings allow.
        """
        revision = await self.revision(request.consistency)
        version = await self.follower.schema(revision)
        program = version.program
        check_goal(program.schema, request.resource.type, request.permission, request.subject)
        check_contextual(program.schema, request.contextual)
        instant = self.now() if request.instant is None else request.instant
        if not request.contextual:
            at_once = self.at_once(version, revision, request.resource, request.permission, request.subject)
            if at_once is not None:
                return Checked(at_once, revision, instant)
        evaluation = Evaluation(
            program,
            request.subject,
            instant=instant,
            judge=judge_with(program.schema, request.context),
            goals_max=self.settings.goals_max,
        )
        node = evaluation.ask(request.resource, request.permission)
        driver = self.driver(revision, request.contextual)
        finished = self.fetcher.finished
        if finished is None or driver.graph is not driver.loaded or request.instant is not None:
            await driver.finish(evaluation)
            return Checked(evaluation.answer(node), revision, instant)
        question = Question(version.written_at, request.resource, request.permission, request.subject)
        return Checked(await self._check_shared(question, evaluation, node, driver), revision, instant)

    async def _check_shared(self, question: Question, evaluation: Evaluation, node: Node, driver: Driver) -> Answer:
        """Answer on demand: from what is at hand, else from the second level, else from the database."""
        finished = self.fetcher.finished
        recording = Recording(driver.graph)
        driver = replace(driver, graph=recording)
        if not evaluation.run(recording, self.settings.steps_a_turn) and evaluation.needs and finished is not None:
            known = await finished.find(question, driver.revision)
            if known is not None:
                return _HAS if known else _LACKS
            await driver.finish(evaluation)
            answer = evaluation.answer(node)
            if not recording.bounded and answer.permissionship is not Permissionship.CONDITIONAL_PERMISSION:
                has = answer.permissionship is Permissionship.HAS_PERMISSION
                await finished.keep(question, driver.revision, has, recording.reads)
            return answer
        await driver.finish(evaluation)
        return evaluation.answer(node)

    def at_once(
        self, version: SchemaVersion, revision: Revision, resource: ObjectRef, permission: str, subject: SubjectRef
    ) -> Answer | None:
        """The answer of compiled checks, where there are any at the revision and they can tell."""
        checks = self.keeper.checks(version, revision)
        if checks is None or subject.id == WILDCARD:
            return None
        try:
            has = checks.check(*resource, permission, *subject)
        except (Undecided, PdpError):
            return None
        return _HAS if has else _LACKS

    def driver(self, revision: Revision, contextual: Sequence[Relationship]) -> Driver:
        """What brings a query's walks to their end; its time begins now."""
        return driver(
            self.fetcher,
            self.keeper,
            revision,
            contextual,
            deadline=self.settings.deadline,
            steps_a_turn=self.settings.steps_a_turn,
        )

    async def write_schema(self, text: str) -> Revision:
        """Replace the schema.

        Raises:
            SchemaError: the text is no valid schema.
            SchemaChanged: another schema was written meanwhile.
            SchemaInUse: the change would orphan a stored relationship.
            SchemaChangeRefused: it is never allowed.
        """
        schema = await asyncio.to_thread(compile_schema, text)
        await self.follower.catch_up(await self.follower.head())
        current = await self.follower.schema(self.follower.applied)
        needed = check_change(current.program.schema, schema)
        for problem in needed.refused:
            raise SchemaChangeRefused(problem.message, problem.names)
        usages = [Usage(*(getattr(one, name) for name in Usage._fields)) for one in needed.unused]
        try:
            revision = await self.store.write_schema(text, expected=current.written_at or None, must_be_unused=usages)
        except SchemaInUse as error:
            one = needed.unused[error.usage]
            names = {**one.names, "operation": one.operation}
            raise SchemaInUse(error.relationship, error.usage, one.message, names) from error
        await self.follower.catch_up(revision)
        return revision

    async def read_schema(self) -> tuple[StoredSchema, Revision]:
        """The newest schema's text and the revision at which it was read.

        Raises:
            SchemaMissing: none was written yet.
        """
        head = await self.follower.head()
        stored = await self.store.schema(head)
        if stored is None:
            raise SchemaMissing
        return stored, head

    async def read(
        self,
        revision: Revision,
        filter_: RelationshipFilter,
        *,
        instant: Instant,
        after: Relationship | None,
        limit: int,
    ) -> Page:
        """A page of relationships that count at the instant."""
        program = (await self.follower.schema(revision)).program
        check_filter(program.schema, filter_, stored=True)
        return await self.store.read(revision, filter_, instant=instant, after=after, limit=limit)


class Pdp:
    """All stores of a database, opened when first asked for."""

    def __init__(
        self,
        datastore: Datastore,
        settings: CheckSettings,
        replica_settings: ReplicaSettings,
        second_level: SecondLevel | None = None,
    ) -> None:
        self.datastore = datastore
        self._second_level = second_level
        self._settings = settings
        self._replica_settings = replica_settings
        self._opening: dict[str, asyncio.Task[StoreService]] = {}
        self.opened: dict[str, StoreService] = {}
        """The stores that are open, for who cannot wait."""
        self._watcher: asyncio.Task[None] | None = None

    async def store(self, name: str) -> StoreService:
        """The service of a store.

        Raises:
            StoreNotFound: there is no such store.
        """
        task = self._opening.get(name)
        if task is None:
            task = self._opening[name] = asyncio.create_task(self._open(name))
        try:
            return await asyncio.shield(task)
        except PdpError:
            self._opening.pop(name, None)
            raise

    async def _open(self, name: str) -> StoreService:
        store = await self.datastore.open(name)
        service = StoreService(store, self._settings, self._replica_settings, self._second_level)
        await service.start()
        self.opened[name] = service
        return service

    async def start(self) -> None:
        """Begin to notice what becomes of stores."""
        self._watcher = asyncio.create_task(self._watch(), name="stores")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_STORES_SECONDS)
            with suppress(PdpError):
                await self.forget_changed()

    async def forget_changed(self) -> None:
        """Let go of every opened store that was deleted, made anew or restored meanwhile, by whatever process."""
        if not self._opening:
            return
        timelines = {info.name: info.timeline async for info in self.datastore.infos()}
        for name, service in list(self.opened.items()):
            if timelines.get(name) != service.store.timeline:
                del self.opened[name], self._opening[name]
                await service.stop()

    async def close(self) -> None:
        """Stop following and let go of the database."""
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
        for task in self._opening.values():
            with suppress(asyncio.CancelledError, PdpError):
                await (await task).stop()
        await self.datastore.close()
