"""Whatever is written and whenever it is asked, every way to answer gives the oracle's answer for that revision.

Three processes share a database: two answer on demand and share a second level that may lie, one answers from a
replica that folds its changes in at every turn. Any of them writes, relationships and schemas; all are asked, about
now and about revisions before, by checks, bulk checks and both lookups, with contextual relationships and without.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from pdp import commands, queries
from pdp.bulk import BulkItem, Outcome
from pdp.consistency import FULLY_CONSISTENT, AtExactSnapshot, AtLeastAsFresh, Consistency
from pdp.errors import PdpError
from pdp.lookup import Findings
from pdp.queries import Circumstances, ResourcesRequest, SubjectsRequest
from pdp.relationships import Instant, ObjectRef, Operation, Relationship, Revision, SubjectRef, Update
from pdp.replica.keeper import ReplicaSettings
from pdp.service import CheckRequest, CheckSettings, Pdp, StoreService
from pdp.stores.connect import connect
from pdp.stores.protocol import WriteRequest
from schema.compile import compile_schema
from schema.model import ComputedUserset, Definition, Exclusion, Intersection, Relation, Schema, Union
from schema.printing import print_schema
from tests import kleene, strategies
from tests.oracle import Oracle, Verdict
from tests.pdp.lookups import read_subjects
from tests.rationed import permissionship, told
from tests.strategies import IDS, INSTANTS, examples

CONTEXTS: Sequence[Mapping[str, Any]] = ({}, {"inside": True}, {"used": 2, "inside": False})
TODAY = Instant(1_700_000_000_000_000)
"""Any time since; all that ever expires in a generated relationship has expired by then."""

NAMES = count()
DEEP = compile_schema("""
    definition user {}
    definition group {
        relation member: user | group#member
        relation banned: user | group#member
        relation parent: group
        permission allowed = member - banned
        permission view = allowed + parent->view
    }
""")
"""Here a check rests on enough reads to be worth sharing."""


class Shelf:
    """A second level in memory; when it lies it gives back something else than it was given."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.lies = False

    async def get(self, key: bytes) -> bytes | None:
        """See `pdp.second_level.SecondLevel`."""
        value = self.kept.get(key)
        if value is None or not self.lies:
            return value
        return bytes([*value[:-1], value[-1] ^ 1])

    async def put(self, key: bytes, value: bytes) -> None:
        """See `pdp.second_level.SecondLevel`."""
        self.kept[key] = value


@dataclass
class Past:
    """What was stored, and under which schema, at each revision."""

    schemas: dict[Revision, Schema] = field(default_factory=dict)
    stored: dict[Revision, Sequence[Relationship]] = field(default_factory=dict)
    now: dict[tuple[str, ...], Relationship] = field(default_factory=dict)

    def apply(self, revision: Revision, updates: Iterable[Update]) -> None:
        """Note a write."""
        for update in updates:
            self.now.pop(update.relationship.identity, None)
            if update.operation is not Operation.DELETE:
                self.now[update.relationship.identity] = update.relationship
        self.stored[revision] = list(self.now.values())
        self.schemas[revision] = self.schemas[Revision(revision - 1)]

    def rewrite(self, revision: Revision, schema: Schema) -> None:
        """Note a change of schema."""
        self.schemas[revision] = schema
        self.stored[revision] = list(self.now.values())


def variants(schema: Schema) -> list[Schema]:
    """The schema, and the same with one more permission on every definition; one may always become the other."""
    made = [schema]
    for join in (Union, Intersection):
        definitions = {}
        for definition in schema.definitions.values():
            relations = dict(definition.relations)
            stored = [ComputedUserset(name) for name, relation in relations.items() if relation.allowed]
            if stored:
                joined = join((stored[0], stored[-1]))
                relations["extra"] = Relation("extra", Exclusion(joined, stored[len(stored) // 2]))
            definitions[definition.name] = Definition(definition.name, relations)
        made.append(Schema(definitions, schema.caveats))
    return made


@asynccontextmanager
async def processes(url: str, name: str, shelf: Shelf) -> AsyncIterator[list[StoreService]]:
    """Three processes that answer for one store, each in its way."""
    async with AsyncExitStack() as stack:
        services = []
        for replica_bytes_max in (0, 0, 1 << 20):
            datastore = await connect(url)
            await datastore.migrate()
            await datastore.create(name)
            settings = ReplicaSettings(bytes_max=replica_bytes_max, changes_max=2)
            pdp = Pdp(datastore, CheckSettings(), settings, shelf)
            stack.push_async_callback(pdp.close)
            services.append(await pdp.store(name))
        yield services


async def replicated(service: StoreService) -> None:
    """Wait for the replica to be loaded."""
    for _ in range(3_000):
        if service.keeper.replica is not None:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("no replica was loaded")


class Story:
    """One history as it is told to the processes, with the oracle beside them."""

    def __init__(self, data: st.DataObject, services: Sequence[StoreService], shelf: Shelf) -> None:
        self._data = data
        self._services = services
        self._shelf = shelf
        self._past = Past()
        schemas = st.one_of(st.just(DEEP), strategies.schemas(types=("user", "group")))
        self._variants = variants(data.draw(schemas))

    async def tell(self) -> None:
        """Write, ask, and write again."""
        await self._change_schema(self._variants[0])
        await replicated(self._services[-1])
        for _ in range(self._data.draw(st.integers(1, 5), label="turns")):
            if self._data.draw(st.integers(0, 3), label="turn"):
                await self._write()
            else:
                await self._change_schema(self._data.draw(st.sampled_from(self._variants)))
            self._shelf.lies = self._data.draw(st.sampled_from((False, False, True)), label="lies")
            for service in self._services:
                if service.keeper.replica is not None and self._data.draw(st.booleans(), label="fold"):
                    await service.keeper._compact_when_due()
            await self._ask()

    def _any_service(self) -> StoreService:
        return self._services[self._data.draw(st.integers(0, len(self._services) - 1), label="process")]

    async def _change_schema(self, schema: Schema) -> None:
        text = print_schema(schema)
        revision = await self._any_service().write_schema(text)
        note(f"{revision}: {text}")
        self._past.rewrite(revision, compile_schema(text))

    async def _write(self) -> None:
        updates = [
            Update(self._data.draw(st.sampled_from((Operation.TOUCH, Operation.TOUCH, Operation.DELETE))), each)
            for each in self._data.draw(strategies.relationships(self._variants[0], draws=5))
        ]
        done = await commands.write(self._any_service(), WriteRequest(updates))
        note(f"{done.revision}: {[(update.operation.name, str(update.relationship)) for update in updates]}")
        self._past.apply(done.revision, updates)

    async def _ask(self) -> None:
        revisions = sorted(self._past.stored)
        revision = self._data.draw(st.sampled_from((*revisions[::-1], revisions[-1])), label="revision")
        newest = revision == revisions[-1]
        consistency: Consistency = AtExactSnapshot(revision)
        if newest:
            consistency = self._data.draw(st.sampled_from((FULLY_CONSISTENT, AtLeastAsFresh(revision), consistency)))
        schema = self._past.schemas[revision]
        contextual = self._data.draw(st.one_of(st.just([]), strategies.relationships(self._variants[0], draws=2)))
        merged = {each.identity: each for each in (*self._past.stored[revision], *contextual)}
        context = self._data.draw(st.sampled_from(CONTEXTS))
        instant = self._data.draw(st.sampled_from((None, None, *INSTANTS)))
        valuation = kleene.judge_by_hand(schema, context)
        oracle = Oracle(schema, merged.values(), instant=instant or TODAY, valuation=valuation)
        under = Circumstances(consistency=consistency, instant=instant, context=context, contextual=contextual)
        note(f"ask at {revision} by {consistency}, {instant}, {context}, {list(map(str, contextual))}")
        subject = self._data.draw(st.sampled_from(strategies.subjects(schema)))
        questions = strategies.resources(schema)
        question = self._data.draw(st.sampled_from(questions))
        for service in self._data.draw(st.permutations(self._services)):
            await self._check(service, oracle, under, subject, questions)
            await self._list(service, oracle, under, subject, question)

    async def _check(
        self,
        service: StoreService,
        oracle: Oracle,
        under: Circumstances,
        subject: SubjectRef,
        questions: Sequence[tuple[ObjectRef, str]],
    ) -> None:
        expected = [oracle.check(resource, relation, subject) for resource, relation in questions]
        found: list[Verdict] = []
        for resource, relation in questions:
            request = CheckRequest(
                resource, relation, subject, under.consistency, under.context, under.contextual, under.instant
            )
            outcome: Outcome
            try:
                outcome = (await service.check(request)).answer
            except PdpError as error:
                outcome = error
            found.append(told(outcome)[0])
        assert found == expected, (subject, questions)
        items = [BulkItem(resource, relation, subject, under.context) for resource, relation in questions]
        bulk = await queries.check_bulk(service, items, under)
        assert [told(outcome)[0] for outcome in bulk.outcomes] == expected, (subject, questions)

    async def _list(
        self,
        service: StoreService,
        oracle: Oracle,
        under: Circumstances,
        subject: SubjectRef,
        question: tuple[ObjectRef, str],
    ) -> None:
        resource, relation = question
        found = await queries.lookup_resources(service, ResourcesRequest(resource.type, relation, subject, under))
        rows = {row.id: permissionship(row.permissionship, row.missing) for row in found.rows}
        expected = oracle.lookup_resources(resource.type, relation, subject)
        undecided = set(found.ending.undecided)
        assert rows == {id_: verdict for id_, verdict in expected.items() if id_ not in undecided}
        assert all(expected[id_].kind.value in {"failed", "paradox"} for id_ in undecided)

        request = SubjectsRequest(resource, relation, subject.type, subject.relation, under)
        listing = await queries.lookup_subjects(service, request)
        if listing.ending.complete:
            members = {row.id: row for row in listing.rows}
            said = read_subjects(Findings(list(members), members.__getitem__), IDS)
            for id_, verdict in oracle.lookup_subjects(resource, relation, subject.type, subject.relation).items():
                assert said[id_] == verdict, (question, id_)


@examples(60)
@given(data=st.data())
def test_every_way_to_answer_is_right_at_every_revision(data: st.DataObject, database: str) -> None:
    """See the module."""

    async def run() -> None:
        shelf = Shelf()
        async with processes(database, f"story{next(NAMES)}", shelf) as services:
            await Story(data, services, shelf).tell()

    asyncio.run(run())


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database for all stories; each has a store of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('stories') / 'stories.db'}"
