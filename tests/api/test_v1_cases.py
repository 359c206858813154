"""Every case, asked over HTTP: check, bulk check, both lookups in pages, and with nothing written but all brought."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pdp.relationships import Instant, Relationship
from tests import cases
from tests.api.wire import Wire, serving
from tests.cases import Case, Context
from tests.oracle import FAILED, HAS, LACKS, PARADOX, Goal, Verdict, conditional

CASES = cases.load_all()
PAGES = (None, 1, 2, 7)
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def time(instant: Instant) -> str:
    """An instant in RFC 3339."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)
    return moment.isoformat().replace("+00:00", "Z")


def shown(one: Relationship) -> dict[str, Any]:
    """A relationship as the wire has it, times beyond the wire included."""
    members: dict[str, Any] = {
        "resource": {"objectType": one.resource_type, "objectId": one.resource_id},
        "relation": one.relation,
        "subject": {
            "object": {"objectType": one.subject_type, "objectId": one.subject_id},
            "optionalRelation": one.subject_relation,
        },
    }
    if one.caveat_name:
        context = json.loads(one.caveat_context) if one.caveat_context else {}
        members["optionalCaveat"] = {"caveatName": one.caveat_name, "context": context}
    if one.expires_at is not None:
        members["optionalExpiresAt"] = time(one.expires_at)
    if one.valid_from is not None:
        members["validFrom"] = time(one.valid_from)
    return members


async def written(wire: Wire, case: Case) -> None:
    """Write the case's schema and relationships."""
    await wire.schema(case.schema_text)
    touches = [{"operation": "OPERATION_TOUCH", "relationship": shown(one)} for one in case.relationships]
    await wire.ok("/v1/relationships/write", {"updates": touches})


@pytest.fixture
async def fresh() -> AsyncIterator[Wire]:
    """A store of the test's own."""
    async with serving() as wire:
        yield wire


def asked(goal: Goal, context: Context) -> dict[str, Any]:
    """A check's members."""
    return {
        "resource": {"objectType": goal.resource.type, "objectId": goal.resource.id},
        "permission": goal.relation,
        "subject": {
            "object": {"objectType": goal.subject.type, "objectId": goal.subject.id},
            "optionalRelation": goal.subject.relation,
        },
        "context": context,
    }


def verdict(answer: Mapping[str, Any]) -> Verdict:
    """What an answer's permissionship says, of a check or of a lookup's row."""
    said = answer["permissionship"].removeprefix("LOOKUP_").removeprefix("PERMISSIONSHIP_")
    if said == "CONDITIONAL_PERMISSION":
        return conditional(*answer["partialCaveatInfo"]["missingRequiredContext"])
    assert answer["partialCaveatInfo"] is None
    return HAS if said == "HAS_PERMISSION" else LACKS


def trouble(status: Mapping[str, Any]) -> Verdict:
    """What an error says."""
    reason = status["details"][0]["reason"].removeprefix("ERROR_REASON_")
    return {
        "CAVEAT_EVALUATION_ERROR": FAILED,
        "CAVEAT_PARAMETER_TYPE_ERROR": FAILED,
        "NEGATION_CYCLE": PARADOX,
    }[reason]


async def wrong_answers(wire: Wire, case: Case, extra: Mapping[str, Any]) -> Sequence[str]:
    """Checks, one by one and in bulk, that are not what the case says."""
    found = []
    for goal, context, expected in case.assertions:
        response = await wire.post("/v1/permissions/check", {**asked(goal, context), **extra})
        body = response.json()
        told = verdict(body) if response.status_code == 200 else trouble(body)
        found.append((f"check {goal} with {context}", told, expected))
    items = [asked(goal, context) for goal, context, _ in case.assertions]
    pairs = (await wire.ok("/v1/permissions/checkbulk", {"items": items, **extra}))["pairs"]
    for (goal, context, expected), pair in zip(case.assertions, pairs, strict=True):
        told = verdict(pair["item"]) if "item" in pair else trouble(pair["error"])
        found.append((f"bulk {goal} with {context}", told, expected))
    return [f"{what} is {told}, not {expected}" for what, told, expected in found if told != expected]


def listed(case: Case) -> Iterator[tuple[str, str, dict[str, Any], Mapping[str, Any]]]:
    """Lookups of a case: path, the row's id, members and what must be found, exclusions under ``*``."""
    for one in case.resources:
        members = {
            "resourceObjectType": one.type,
            "permission": one.permission,
            "subject": {
                "object": {"objectType": one.subject.type, "objectId": one.subject.id},
                "optionalRelation": one.subject.relation,
            },
            "context": one.context,
        }
        yield "/v1/permissions/resources", "optionalLimit", members, {id_: (v, {}) for id_, v in one.found.items()}
    for each in case.subjects:
        members = {
            "resource": {"objectType": each.resource.type, "objectId": each.resource.id},
            "permission": each.permission,
            "subjectObjectType": each.type,
            "optionalSubjectRelation": each.relation,
            "context": each.context,
        }
        expected = {id_: (v, each.excluded if id_ == "*" else {}) for id_, v in each.found.items()}
        yield "/v1/permissions/subjects", "optionalConcreteLimit", members, expected


async def pages(wire: Wire, path: str, members: dict[str, Any], limit: str, size: int | None) -> list[dict[str, Any]]:
    """All rows, page by page."""
    body = {**members, limit: size} if size else members
    rows: list[dict[str, Any]] = []
    while True:
        page = await wire.results(path, body)
        rows += page
        if size is None or len(page) < size:
            return rows
        assert len(page) == size
        body = {**body, "optionalCursor": page[-1]["afterResultCursor"]}


def row(result: Mapping[str, Any]) -> tuple[str, tuple[Verdict, dict[str, Verdict]]]:
    """A row's id, what it says of it, and whom it excludes."""
    if "resourceObjectId" in result:
        return result["resourceObjectId"], (verdict(result), {})
    found = result["subject"]
    assert result["subjectObjectId"] == found["subjectObjectId"]
    assert result["permissionship"] == found["permissionship"]
    assert result["excludedSubjectIds"] == [one["subjectObjectId"] for one in result["excludedSubjects"]]
    excluded = {one["subjectObjectId"]: verdict(one) for one in result["excludedSubjects"]}
    return found["subjectObjectId"], (verdict(found), excluded)


async def wrong_lists(wire: Wire, case: Case, extra: Mapping[str, Any], sizes: Sequence[int | None]) -> Sequence[str]:
    """Lookups, in pages of every size, that are not what the case says."""
    wrong = []
    for path, limit, members, expected in listed(case):
        for size in sizes:
            rows = [row(one) for one in await pages(wire, path, {**members, **extra}, limit, size)]
            if len(dict(rows)) != len(rows):
                wrong.append(f"{members} in pages of {size}: an id twice in {rows}")
            if dict(rows) != expected:
                wrong.append(f"{members} in pages of {size}: {dict(rows)}, not {expected}")
    return wrong


@each_case
async def test_written(fresh: Wire, case: Case) -> None:
    """Everything written, then asked at the case's instant."""
    await written(fresh, case)
    extra = {"evaluationTime": time(case.instant)}
    assert not await wrong_answers(fresh, case, extra)
    assert not await wrong_lists(fresh, case, extra, PAGES)


@each_case
async def test_brought_along(fresh: Wire, case: Case) -> None:
    """Contextual relationships count as if they had been written, in every question."""
    await fresh.schema(case.schema_text)
    extra = {
        "evaluationTime": time(case.instant),
        "contextualRelationships": [shown(one) for one in case.relationships],
    }
    assert not await wrong_answers(fresh, case, extra)
    assert not await wrong_lists(fresh, case, extra, [3])
