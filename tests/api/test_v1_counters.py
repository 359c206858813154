"""ExperimentalService as a caller meets it: counters, and the old names of methods that moved on."""

import json
from typing import Any

import pytest

from api.methods import METHODS
from tests.api.wire import Wire, on_wire, question

REGISTER = "/v1/experimental/registerrelationshipcounter"
COUNT = "/v1/experimental/countrelationships"
UNREGISTER = "/v1/experimental/unregisterrelationshipcounter"
VIEWERS = {"name": "viewers", "relationshipFilter": {"resourceType": "document", "optionalRelation": "viewer"}}


async def count(wire: Wire) -> str:
    """What the counter says."""
    answer = await wire.ok(COUNT, {"name": "viewers"})
    assert "counterStillCalculating" not in answer
    value: str = answer["readCounterValue"]["relationshipCount"]
    return value


async def test_a_counter(wire: Wire) -> None:
    """Counts what matches, at a revision."""
    assert await wire.ok(REGISTER, VIEWERS) == {}
    assert await count(wire) == "0"
    token = await wire.touch(
        "document:one#viewer@user:ann", "document:one#banned@user:ann", "document:two#viewer@user:*"
    )
    answer = await wire.ok(COUNT, {"name": "viewers"})
    assert answer["readCounterValue"] == {"relationshipCount": "2", "readAt": {"token": token}}


async def test_a_counter_is_forgotten(wire: Wire) -> None:
    """And may be registered anew, with another filter."""
    await wire.ok(REGISTER, VIEWERS)
    assert await wire.ok(UNREGISTER, {"name": "viewers"}) == {}
    assert (await wire.refused(COUNT, {"name": "viewers"})).reason == "COUNTER_NOT_REGISTERED"
    await wire.ok(REGISTER, {"name": "viewers", "relationshipFilter": {"resourceType": "group"}})
    await wire.touch("document:one#viewer@user:ann", "group:eng#member@user:ann")
    assert await count(wire) == "1"


async def test_a_counter_of_that_name_exists(wire: Wire) -> None:
    """FailedPrecondition, with the filter that was asked for."""
    await wire.ok(REGISTER, VIEWERS)
    refused = await wire.refused(REGISTER, VIEWERS)
    assert refused.told == (400, 9, "COUNTER_ALREADY_REGISTERED")
    assert refused.metadata == {
        "counter_name": "viewers",
        "new_filter_resource_type": "document",
        "new_filter_relation": "viewer",
    }


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        pytest.param(REGISTER, {"name": "viewers"}, (400, 3, ""), id="no filter"),
        pytest.param(REGISTER, {**VIEWERS, "name": "Viewers"}, (400, 3, ""), id="malformed name"),
        pytest.param(REGISTER, {**VIEWERS, "name": ""}, (400, 3, ""), id="no name"),
        pytest.param(REGISTER, {**VIEWERS, "relationshipFilter": {}}, (400, 3, "INVALID_FILTER"), id="empty filter"),
        pytest.param(
            REGISTER,
            {**VIEWERS, "relationshipFilter": {"resourceType": "docment"}},
            (400, 9, "UNKNOWN_DEFINITION"),
            id="unknown type",
        ),
        pytest.param(COUNT, {"name": "nothing"}, (400, 9, "COUNTER_NOT_REGISTERED"), id="count"),
        pytest.param(COUNT, {}, (400, 9, "COUNTER_NOT_REGISTERED"), id="count nothing"),
        pytest.param(UNREGISTER, {"name": "nothing"}, (400, 9, "COUNTER_NOT_REGISTERED"), id="unregister"),
    ],
)
async def test_counters_that_are_refused(
    wire: Wire, path: str, body: dict[str, Any], told: tuple[int, int, str]
) -> None:
    """And nothing is kept."""
    assert (await wire.refused(path, body)).told == told
    assert (await wire.refused(COUNT, {"name": "viewers"})).reason == "COUNTER_NOT_REGISTERED"


# --- Old names ---------------------------------------------------------------------------------------------------

ALIASES = {
    "/v1/experimental/relationships/bulkimport": "/v1/relationships/importbulk",
    "/v1/experimental/relationships/bulkexport": "/v1/relationships/exportbulk",
    "/v1/experimental/permissions/bulkcheckpermission": "/v1/permissions/checkbulk",
    "/v1/experimental/reflectschema": "/v1/schema/reflectschema",
    "/v1/experimental/permissions/computable": "/v1/schema/permissions/computable",
    "/v1/experimental/permissions/dependent": "/v1/schema/permissions/dependent",
    "/v1/experimental/diffschema": "/v1/schema/diffschema",
}
BODIES: dict[str, list[dict[str, Any]]] = {
    "/v1/relationships/importbulk": [
        {"relationships": [on_wire("document:one#view@user:ann")]},
        {},
        {"relationships": 1},
    ],
    "/v1/relationships/exportbulk": [
        {},
        {"optionalLimit": 1},
        {"optionalLimit": 20_000},
        {"optionalRelationshipFilter": {}},
    ],
    "/v1/permissions/checkbulk": [
        {"items": [question("document:one#view@user:ann"), question("docment:one#view@user:ann")]},
        {"items": [{}]},
        {"items": [question("document:one#view@user:bob")], "evaluationTime": "2030-01-01T00:00:00Z"},
    ],
    "/v1/schema/reflectschema": [
        {},
        {"optionalFilters": [{"optionalDefinitionNameFilter": "doc"}]},
        {"optionalFilters": [{"optionalRelationNameFilter": "doc"}]},
    ],
    "/v1/schema/permissions/computable": [
        {"definitionName": "user"},
        {"definitionName": "document", "relationName": "viewer"},
        {"definitionName": "nothing"},
    ],
    "/v1/schema/permissions/dependent": [
        {"definitionName": "document", "permissionName": "view"},
        {"definitionName": "document", "permissionName": "viewer"},
    ],
    "/v1/schema/diffschema": [{}, {"comparisonSchema": "definition user {}"}, {"comparisonSchema": "definition {"}],
}


def test_every_old_name_is_served() -> None:
    """All of ExperimentalService but the counters are old names."""
    paths = {method.path for method in METHODS if method.service.endswith("ExperimentalService")}
    assert paths == {*ALIASES, REGISTER, COUNT, UNREGISTER}
    assert set(BODIES) == set(ALIASES.values())


@pytest.mark.parametrize("old", ALIASES)
async def test_an_old_name_answers_as_the_new_one(wire: Wire, old: str) -> None:
    """The same requests, good and bad, get the same answers."""
    await wire.touch("document:one#viewer@user:ann", "group:eng#member@user:bob")
    for body in BODIES[ALIASES[old]]:
        answers = []
        for path in (old, ALIASES[old]):
            response = await wire.post(path, body)
            text = response.text.replace(',"debugTrace":null', "")
            answers.append((response.status_code, [_without_tokens(json.loads(line)) for line in text.splitlines()]))
        assert answers[0] == answers[1]


def _without_tokens(value: Any) -> Any:
    """Cursors are bound to their method."""
    if isinstance(value, dict):
        return {key: _without_tokens(inner) for key, inner in value.items() if key != "afterResultCursor"}
    return [_without_tokens(inner) for inner in value] if isinstance(value, list) else value


async def test_an_old_import_stores(wire: Wire) -> None:
    """And counts."""
    body = json.dumps({"relationships": [on_wire("document:one#viewer@user:ann")]}).encode()
    assert await wire.ok("/v1/experimental/relationships/bulkimport", body + body.replace(b"ann", b"bob")) == {
        "numLoaded": "2"
    }
    assert await wire.has("document:one#view@user:bob") == "HAS"
