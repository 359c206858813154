"""The cases again, written to a store and asked of its service: on demand and from a replica."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import pytest

from pdp import commands, queries
from pdp.bulk import BulkItem, Outcome
from pdp.consistency import FULLY_CONSISTENT, AtExactSnapshot
from pdp.errors import PdpError
from pdp.lookup import Listing
from pdp.lookup_resources import FoundResource
from pdp.lookup_subjects import FoundSubject
from pdp.queries import Circumstances, ResourcesRequest, SubjectsRequest
from pdp.relationships import Operation, Relationship, Update
from pdp.replica.keeper import ReplicaSettings
from pdp.service import CheckRequest, CheckSettings, Pdp, StoreService
from pdp.stores.connect import connect
from pdp.stores.protocol import WriteRequest
from tests import cases
from tests.cases import Assertion, Case
from tests.oracle import Verdict
from tests.rationed import permissionship, told

Request: TypeAlias = ResourcesRequest | SubjectsRequest
Found: TypeAlias = Listing[FoundResource] | Listing[FoundSubject]

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


def requests(case: Case, limit: int | None) -> Iterator[tuple[Request, Mapping[str, Verdict]]]:
    """The case's lookups and what they must find."""
    for asked in case.resources:
        about = under(case, asked.context)
        yield ResourcesRequest(asked.type, asked.permission, asked.subject, about, limit=limit), asked.found
    for each in case.subjects:
        about = under(case, each.context)
        yield (
            SubjectsRequest(each.resource, each.permission, each.type, each.relation, about, limit=limit),
            each.found,
        )


async def lookup(service: StoreService, request: Request) -> Found:
    """One page."""
    if isinstance(request, ResourcesRequest):
        return await queries.lookup_resources(service, request)
    return await queries.lookup_subjects(service, request)


async def all_rows(service: StoreService, request: Request, page: Found) -> list[tuple[str, Verdict]]:
    """The rows of this page and all that follow, each page as large as it may be, all at one revision."""
    at = replace(request.under, consistency=AtExactSnapshot(page.revision), instant=page.instant)
    rows = list[FoundResource | FoundSubject](page.rows)
    while page.ending.more:
        assert len(page.rows) == request.limit
        following = await lookup(service, replace(request, under=at, after=page.rows[-1].id))
        assert (following.revision, following.instant) == (page.revision, page.instant)
        page = following
        rows += page.rows
    assert page.ending.complete
    assert request.limit is None or len(page.rows) <= request.limit
    return [(row.id, permissionship(row.permissionship, row.missing)) for row in rows]


@each_kind
@pytest.mark.parametrize("limit", [1, 2, 7, None])
async def test_lookups_in_pages(replica: ReplicaSettings, limit: int | None, sqlite_url: str) -> None:
    """Whole lists and pages of any size hold the same rows, each once, though all is deleted after the first page."""
    wrong = []
    async with services(sqlite_url, replica, CASES[::2] if limit == 2 else CASES[1::2]) as made:
        for case, service in made:
            begun = [(request, found, await lookup(service, request)) for request, found in requests(case, limit)]
            updates = [Update(Operation.DELETE, each) for each in case.relationships]
            await commands.write(service, WriteRequest(updates))
            for request, found, first in begun:
                rows = await all_rows(service, request, first)
                if rows != sorted(found.items()):
                    wrong.append((case.name, request, rows))
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
