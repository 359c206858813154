"""The cases again, written to a store and asked of its service: on demand and from a replica."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from pdp import commands, queries
from pdp.bulk import BulkItem, Outcome
from pdp.consistency import FULLY_CONSISTENT
from pdp.errors import PdpError
from pdp.queries import Circumstances
from pdp.relationships import Operation, Relationship, Update
from pdp.replica.keeper import ReplicaSettings
from pdp.service import CheckRequest, CheckSettings, Pdp, StoreService
from pdp.stores.connect import connect
from pdp.stores.protocol import WriteRequest
from tests import cases
from tests.cases import Assertion, Case
from tests.oracle import Verdict
from tests.rationed import told

CASES = cases.load_all()
STORES_AT_ONCE = 24
each_kind = pytest.mark.parametrize(
    "replica", [ReplicaSettings(bytes_max=0), ReplicaSettings()], ids=["on demand", "replica"]
)


@asynccontextmanager
async def services(
    url: str, replica: ReplicaSettings, asked: Sequence[Case]
) -> AsyncIterator[list[tuple[Case, StoreService]]]:
    """Each case in a store of its own; half of its relationships were written one by one, half together."""
    datastore = await connect(url)
    await datastore.migrate()
    pdp = Pdp(datastore, CheckSettings(), replica)
    try:
        made = []
        for case in asked:
            await datastore.create(case.name)
            service = await pdp.store(case.name)
            await service.write_schema(case.schema_text)
            half = len(case.relationships) // 2
            for batch in (*([each] for each in case.relationships[:half]), case.relationships[half:]):
                updates = [Update(Operation.CREATE, each) for each in batch]
                await commands.write(service, WriteRequest(updates))
            made.append((case, service))
        for _, service in made if replica.bytes_max else ():
            await replicated(service)
        yield made
    finally:
        await pdp.close()


async def replicated(service: StoreService) -> None:
    """Wait for a store's replica."""
    for _ in range(3_000):
        if service.keeper.replica is not None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no replica was loaded")


def under(case: Case, context: cases.Context, contextual: Sequence[Relationship] = ()) -> Circumstances:
    """The case's instant, at the head."""
    return Circumstances(consistency=FULLY_CONSISTENT, instant=case.instant, context=context, contextual=contextual)


async def check(
    service: StoreService, case: Case, assertion: Assertion, contextual: Sequence[Relationship] = ()
) -> Verdict:
    """A plain check."""
    (resource, permission, subject), context, _ = assertion
    request = CheckRequest(resource, permission, subject, FULLY_CONSISTENT, context, contextual, case.instant)
    outcome: Outcome
    try:
        outcome = (await service.check(request)).answer
    except PdpError as error:
        outcome = error
    return told(outcome)[0]


def said(case: Case, assertion: Assertion, found: Verdict) -> str:
    """What went wrong."""
    goal, context, verdict = assertion
    return f"{case.name}: {goal.resource}#{goal.relation}@{goal.subject} with {context} is {verdict}, not {found}"


@each_kind
@pytest.mark.parametrize("part", range(0, len(CASES), STORES_AT_ONCE))
async def test_check_and_bulk(replica: ReplicaSettings, part: int, sqlite_url: str) -> None:
    """Each assertion on its own, and all of a case's in one bulk check, in their order."""
    wrong = []
    async with services(sqlite_url, replica, CASES[part : part + STORES_AT_ONCE]) as made:
        for case, service in made:
            items = [
                BulkItem(goal.resource, goal.relation, goal.subject, context) for goal, context, _ in case.assertions
            ]
            bulk = await queries.check_bulk(service, items, under(case, {}))
            for assertion, outcome in zip(case.assertions, bulk.outcomes, strict=True):
                answers = (await check(service, case, assertion), told(outcome)[0])
                wrong += [said(case, assertion, found) for found in answers if found != assertion.verdict]
    assert not wrong


@each_kind
async def test_contextual_relationships(replica: ReplicaSettings, sqlite_url: str) -> None:
    """A store that holds nothing answers as if it held what comes with the question."""
    wrong = []
    asked = CASES[::3]
    async with services(sqlite_url, replica, asked) as made:
        for case, service in made:
            for each in case.relationships[::2]:
                await commands.write(service, WriteRequest([Update(Operation.DELETE, each)]))
            for assertion in case.assertions:
                found = await check(service, case, assertion, case.relationships)
                if found != assertion.verdict:
                    wrong.append(said(case, assertion, found))
    assert not wrong
