"""Request members beyond the wire, over HTTP: what they do, and that a client of the wire alone meets none."""

import asyncio
from typing import Any

import pytest

from tests.api.wire import Wire, on_wire, question, subject, updates

WRITE, READ, DELETE = "/v1/relationships/write", "/v1/relationships/read", "/v1/relationships/delete"
CHECK, BULK = "/v1/permissions/check", "/v1/permissions/checkbulk"
ANN, BOB, CY = (f"document:one#viewer@user:{name}" for name in ("ann", "bob", "cy"))
ASKED = question("document:one#view@user:ann")


async def viewers(wire: Wire) -> list[str]:
    """Who is a viewer of document one."""
    results = await wire.results(
        READ, {"relationshipFilter": {"optionalResourceId": "one", "optionalRelation": "viewer"}}
    )
    return sorted(one["relationship"]["subject"]["object"]["objectId"] for one in results)


# --- Contextual relationships and evaluation time ----------------------------------------------------------------


async def test_contextual_relationships_are_not_written(wire: Wire) -> None:
    """They count in the question that brings them, and are gone."""
    before = await wire.stored()
    brought = [on_wire(ANN), on_wire("group:eng#member@user:bob"), on_wire("document:one#viewer@group:eng#member")]
    assert await wire.has("document:one#view@user:ann", contextualRelationships=brought) == "HAS"
    assert await wire.has("document:one#view@user:bob", contextualRelationships=brought) == "HAS"
    assert await wire.has("document:one#view@user:ann") == "NO"
    assert await wire.stored() == before


async def test_a_contextual_relationship_stands_in_a_stored_ones_place(wire: Wire) -> None:
    """As a TOUCH would."""
    await wire.touch("document:one#viewer@user:ann")
    caveated = {**on_wire(ANN), "optionalCaveat": {"caveatName": "office_hours", "context": {"hour": 3}}}
    assert await wire.has("document:one#view@user:ann", contextualRelationships=[caveated]) == "NO"
    assert await wire.has("document:one#view@user:ann") == "HAS"


async def test_contextual_relationships_and_consistency(wire: Wire) -> None:
    """They are laid over the snapshot that was asked for."""
    before = await wire.touch("group:eng#member@user:ann")
    await wire.ok(WRITE, updates("DELETE", "group:eng#member@user:ann"))
    members = {
        "consistency": {"atExactSnapshot": {"token": before}},
        "contextual_relationships": [on_wire("document:one#viewer@group:eng#member")],
    }
    assert await wire.has("document:one#view@user:ann", **members) == "HAS"
    del members["consistency"]
    assert await wire.has("document:one#view@user:ann", **members) == "NO"


@pytest.mark.parametrize(
    ("brought", "told", "why"),
    [
        pytest.param("x", (400, 3, ""), "`contextualRelationships`: a list was expected", id="text"),
        pytest.param({}, (400, 3, ""), "a list was expected", id="object"),
        pytest.param([1], (400, 3, ""), "`contextualRelationships[0]`", id="number"),
        pytest.param(
            [on_wire(ANN), {}], (400, 3, ""), "contextual_relationships[1].resource: value is required", id="empty"
        ),
        pytest.param(
            [{**on_wire(ANN), "relation": "ab"}], (400, 3, ""), "contextual_relationships[0].relation", id="name"
        ),
        pytest.param(
            [on_wire("document:one#view@user:ann")], (400, 3, "CANNOT_UPDATE_PERMISSION"), "", id="permission"
        ),
        pytest.param([on_wire("docment:one#view@user:ann")], (400, 9, "UNKNOWN_DEFINITION"), "", id="definition"),
        pytest.param(
            [on_wire("document:one#viewer@group:g")], (400, 3, "INVALID_SUBJECT_TYPE"), "", id="subject type"
        ),
        pytest.param([on_wire(ANN), on_wire(ANN)], (400, 3, "UPDATES_ON_SAME_RELATIONSHIP"), "", id="twice"),
        pytest.param([on_wire(ANN)] * 1_001, (400, 3, ""), "may have 1000", id="too many"),
        pytest.param(
            [{**on_wire(ANN), "validFrom": "tomorrow"}],
            (400, 3, ""),
            "contextualRelationships[0].validFrom",
            id="time",
        ),
        pytest.param(
            [{**on_wire(ANN), "optionalCaveat": {"caveatName": "office_hours", "context": {"hour": "x"}}}],
            (400, 3, "CAVEAT_PARAMETER_TYPE_ERROR"),
            "",
            id="context",
        ),
    ],
)
async def test_contextual_relationships_that_are_refused(
    wire: Wire, brought: Any, told: tuple[int, int, str], why: str
) -> None:
    """Held against the rules and the schema as if they were to be written, in every question."""
    bodies = [
        (CHECK, ASKED),
        (BULK, {"items": [ASKED]}),
        ("/v1/permissions/expand", {"resource": ASKED["resource"], "permission": "view"}),
    ]
    for path, body in bodies:
        refused = await wire.refused(path, {**body, "contextualRelationships": brought})
        assert refused.told == told
        assert why in refused.message
    lists = [
        (
            "/v1/permissions/resources",
            {"resourceObjectType": "document", "permission": "view", "subject": subject("user:ann")},
        ),
        (
            "/v1/permissions/subjects",
            {"resource": ASKED["resource"], "permission": "view", "subjectObjectType": "user"},
        ),
    ]
    for path, body in lists:
        refused = await wire.refused_stream(path, {**body, "contextualRelationships": brought})
        assert refused.told == told


async def test_both_spellings_are_one_too_many(wire: Wire) -> None:
    """As for members of the wire."""
    body = {**ASKED, "contextualRelationships": [], "contextual_relationships": []}
    assert "duplicate member" in (await wire.refused(CHECK, body)).message


async def test_evaluation_time(wire: Wire) -> None:
    """Expiry and validity are judged at the time given; the answer is marked."""
    bounded = {
        **on_wire(ANN),
        "validFrom": "2040-01-01T00:00:00Z",
        "optionalExpiresAt": "2050-01-01T00:00:00Z",
    }
    await wire.ok(WRITE, {"updates": [{"operation": 2, "relationship": bounded}]})
    for time, held, until in [
        ("2039-12-31T23:59:59Z", "NO", "2040-01-01T00:00:00Z"),
        ("2040-01-01T00:00:00Z", "HAS", "2050-01-01T00:00:00Z"),
        ("2049-12-31T23:59:59Z", "HAS", "2050-01-01T00:00:00Z"),
        ("2050-01-01T00:00:00Z", "NO", None),
    ]:
        answer = await wire.ok(CHECK, {**ASKED, "evaluationTime": time})
        assert answer["permissionship"] == f"PERMISSIONSHIP_{held}_PERMISSION"
        assert answer["evaluationTime"] == time
        assert answer["optionalExpiresAt"] == until
    assert "evaluationTime" not in await wire.ok(CHECK, ASKED)
    assert await wire.has("document:one#view@user:ann") == "NO"


@pytest.mark.parametrize("time", ["now", "", 5, "2030-01-01", [], True])
async def test_evaluation_times_that_are_refused(wire: Wire, time: Any) -> None:
    """No time of RFC 3339."""
    refused = await wire.refused(CHECK, {**ASKED, "evaluationTime": time})
    assert refused.told == (400, 3, "")
    assert "`evaluationTime`" in refused.message


async def test_every_answer_is_marked(wire: Wire) -> None:
    """Bulk, expansion and each row of a list too."""
    await wire.touch("document:one#viewer@user:ann")
    time = {"evaluationTime": "2030-01-01T00:00:00Z"}
    assert (await wire.ok(BULK, {"items": [ASKED], **time}))["evaluationTime"] == time["evaluationTime"]
    body = {"resource": ASKED["resource"], "permission": "view", **time}
    assert (await wire.ok("/v1/permissions/expand", body))["evaluationTime"] == time["evaluationTime"]
    body = {"resourceObjectType": "document", "permission": "view", "subject": subject("user:ann"), **time}
    (row,) = await wire.results("/v1/permissions/resources", body)
    assert row["evaluationTime"] == time["evaluationTime"]


# --- Valid from --------------------------------------------------------------------------------------------------


async def test_valid_from(wire: Wire) -> None:
    """A relationship that does not count yet is not read, and shown with its time once it does."""
    for text, time in [(ANN, "2001-01-01T00:00:00Z"), (BOB, "2300-01-01T00:00:00Z")]:
        relationship = {**on_wire(text), "validFrom": time}
        await wire.ok(WRITE, {"updates": [{"operation": 2, "relationship": relationship}]})
    await wire.touch("document:one#viewer@user:cy")
    results = await wire.results(READ, {"relationshipFilter": {"resourceType": "document"}})
    found = {one["relationship"]["subject"]["object"]["objectId"]: one["relationship"] for one in results}
    assert found.keys() == {"ann", "cy"}
    assert found["ann"]["validFrom"] == "2001-01-01T00:00:00Z"
    assert "validFrom" not in found["cy"]
    exported = await wire.results("/v1/relationships/exportbulk")
    times = [one.get("validFrom") for result in exported for one in result["relationships"]]
    assert sorted(times, key=str) == ["2001-01-01T00:00:00Z", "2300-01-01T00:00:00Z", None]


@pytest.mark.parametrize("time", ["soon", 1, {}])
async def test_a_valid_from_that_is_refused(wire: Wire, time: Any) -> None:
    """No time."""
    relationship = {**on_wire(ANN), "validFrom": time}
    refused = await wire.refused(WRITE, {"updates": [{"operation": 2, "relationship": relationship}]})
    assert refused.told == (400, 3, "")
    assert "`validFrom`" in refused.message


# --- Outcomes and sets -------------------------------------------------------------------------------------------


async def test_outcomes(wire: Wire) -> None:
    """What became of each update, in order, where it was asked for."""
    await wire.touch("document:one#viewer@user:ann", "document:one#viewer@user:bob")
    caveated = {**on_wire(BOB), "optionalCaveat": {"caveatName": "office_hours"}}
    body = {
        "updates": [
            *updates("TOUCH", ANN)["updates"],
            {"operation": 2, "relationship": caveated},
            *updates("CREATE", CY)["updates"],
            *updates("DELETE", "document:two#viewer@user:ann")["updates"],
        ],
        "withOutcomes": True,
    }
    answer = await wire.ok(WRITE, body)
    assert answer["outcomes"] == ["UNCHANGED", "CHANGED", "CREATED", "ABSENT"]
    assert answer["setOutcomes"] == []
    answer = await wire.ok(WRITE, {**updates("DELETE", CY), "withOutcomes": True})
    assert answer["outcomes"] == ["DELETED"]
    assert set(await wire.ok(WRITE, updates("DELETE", CY))) == {"writtenAt"}


def to_hold(*names: str, relation: str = "viewer") -> dict[str, Any]:
    """A set of document one."""
    subjects = [{"subject": subject(f"user:{name}")} for name in names]
    return {"resource": {"objectType": "document", "objectId": "one"}, "relation": relation, "subjects": subjects}


async def test_a_set(wire: Wire) -> None:
    """Exactly these subjects, in one revision: others go, missing ones come."""
    await wire.touch("document:one#viewer@user:ann", "document:one#viewer@user:bob", "document:one#banned@user:bob")
    before = await wire.service.store.head()
    answer = await wire.ok(WRITE, {"sets": [to_hold("bob", "cy")], "withOutcomes": True})
    assert await wire.service.store.head() == before + 1
    assert await viewers(wire) == ["bob", "cy"]
    outcomes = {
        one["relationship"]["subject"]["object"]["objectId"]: one["outcome"] for one in answer["setOutcomes"][0]
    }
    assert outcomes == {"ann": "DELETED", "bob": "UNCHANGED", "cy": "CREATED"}
    assert await wire.has("document:one#view@user:bob") == "NO", "the other relation was left alone"


async def test_a_set_with_caveats_and_times(wire: Wire) -> None:
    """Subjects carry what relationships carry."""
    one = to_hold("ann")
    one["subjects"][0].update(optionalCaveat={"caveatName": "office_hours", "context": {"hour": 3}})
    await wire.ok(WRITE, {"sets": [one]})
    assert await wire.has("document:one#view@user:ann") == "NO"
    one = to_hold("ann")
    one["subjects"][0].update(validFrom="2001-01-01T00:00:00Z")
    await wire.ok(WRITE, {"sets": [one]})
    assert await wire.has("document:one#view@user:ann") == "HAS"


async def test_a_set_of_nobody(wire: Wire) -> None:
    """Empties the relation."""
    await wire.touch("document:one#viewer@user:ann", "document:two#viewer@user:ann")
    await wire.ok(WRITE, {"sets": [to_hold()]})
    assert await viewers(wire) == []
    assert await wire.has("document:two#view@user:ann") == "HAS"


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        pytest.param({}, (400, 3, ""), id="no list"),
        pytest.param([[]], (400, 3, ""), id="no object"),
        pytest.param([{}], (400, 3, ""), id="empty"),
        pytest.param([{**to_hold(), "relation": "x"}], (400, 3, ""), id="malformed relation"),
        pytest.param([{**to_hold("ann"), "subjects": {}}], (400, 3, ""), id="subjects no list"),
        pytest.param([{**to_hold("ann"), "subjects": ["ann"]}], (400, 3, ""), id="subject no object"),
        pytest.param([to_hold("ann", relation="view")], (400, 3, "CANNOT_UPDATE_PERMISSION"), id="permission"),
        pytest.param([to_hold(relation="view")], (400, 3, "CANNOT_UPDATE_PERMISSION"), id="permission of nobody"),
        pytest.param([to_hold(relation="nothing")], (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"), id="relation"),
        pytest.param([to_hold("ann", "ann")], (400, 3, "UPDATES_ON_SAME_RELATIONSHIP"), id="twice"),
        pytest.param([to_hold("*", relation="banned")], (400, 3, "INVALID_SUBJECT_TYPE"), id="subject type"),
        pytest.param([to_hold("ann")] * 101, (400, 3, ""), id="too many sets"),
        pytest.param([to_hold(*(f"u{n}" for n in range(1_001)))], (400, 3, ""), id="too many subjects"),
    ],
)
async def test_sets_that_are_refused(wire: Wire, sets: Any, told: tuple[int, int, str]) -> None:
    """And nothing is written, the updates beside them included."""
    await wire.touch("document:one#viewer@user:bob")
    assert (await wire.refused(WRITE, {**updates("TOUCH", CY), "sets": sets})).told == told


# --- Permissions as preconditions --------------------------------------------------------------------------------


def must_have(text: str, **members: Any) -> dict[str, Any]:
    """A permission that the write depends on."""
    return {"permissionPreconditions": [{**question(text), **members}]}


async def test_a_permission_as_precondition(wire: Wire) -> None:
    """Held, the write is made; not held, nothing is."""
    await wire.touch("document:one#viewer@group:eng#member", "group:eng#member@user:ann")
    await wire.ok(WRITE, {**updates("TOUCH", BOB), **must_have("document:one#view@user:ann")})
    refused = await wire.refused(WRITE, {**updates("TOUCH", CY), **must_have("document:one#view@user:eve")})
    assert refused.told == (400, 9, "WRITE_OR_DELETE_PRECONDITION_FAILURE")
    assert refused.metadata == {
        "precondition_operation": "MUST_HAVE_PERMISSION",
        "precondition_resource_type": "document",
        "precondition_resource_id": "one",
        "precondition_permission": "view",
        "precondition_subject_type": "user",
        "precondition_subject_id": "eve",
    }
    body = {"relationshipFilter": {"resourceType": "document"}, **must_have("document:one#view@user:eve")}
    assert (await wire.refused(DELETE, body)).reason == "WRITE_OR_DELETE_PRECONDITION_FAILURE"
    await wire.ok(DELETE, {**body, **must_have("document:one#view@user:ann")})


async def test_a_condition_left_open_is_not_held(wire: Wire) -> None:
    """Only a plain yes lets the write through; its own context may decide."""
    await wire.touch("document:one#viewer@user:ann[office_hours]")
    needed = "document:one#view@user:ann"
    assert (await wire.refused(WRITE, {**updates("TOUCH", BOB), **must_have(needed)})).code == 9
    await wire.ok(WRITE, {**updates("TOUCH", BOB), **must_have(needed, context={"hour": 10})})
    refused = await wire.refused(WRITE, {**updates("TOUCH", BOB), **must_have(needed, context={"hour": 20})})
    assert refused.code == 9


async def test_a_permission_taken_away_in_the_same_write(wire: Wire) -> None:
    """What counts is what was before the write."""
    await wire.touch("document:one#viewer@user:ann")
    await wire.ok(WRITE, {**updates("DELETE", ANN), **must_have("document:one#view@user:ann")})
    assert (await wire.refused(WRITE, {**updates("TOUCH", ANN), **must_have("document:one#view@user:ann")})).code == 9


async def test_writers_that_race_for_a_permission(wire: Wire) -> None:
    """Each gives the permission away: only one of all can."""
    await wire.touch("document:one#viewer@user:ann")
    bodies = [
        {
            "updates": [
                *updates("DELETE", ANN)["updates"],
                *updates("TOUCH", f"document:d{n}#viewer@user:ann")["updates"],
            ],
            **must_have("document:one#view@user:ann"),
        }
        for n in range(20)
    ]
    answers = await asyncio.gather(*(wire.post(WRITE, body) for body in bodies))
    assert sorted(one.status_code for one in answers) == [200] + [400] * 19
    assert len(await wire.results(READ, {"relationshipFilter": {"resourceType": "document"}})) == 1


@pytest.mark.parametrize(
    ("needed", "told"),
    [
        pytest.param({}, (400, 3, ""), id="no list"),
        pytest.param([{}], (400, 3, ""), id="empty"),
        pytest.param([question("document:one#veiw@user:ann")], (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"), id="name"),
        pytest.param([question("document:one#view@user:*")], (400, 3, "WILDCARD_NOT_ALLOWED"), id="everybody"),
        pytest.param([question("document:*#view@user:ann")], (400, 3, ""), id="everything"),
        pytest.param([{**ASKED, "context": {"a": "x" * 5_000}}], (400, 3, ""), id="context"),
        pytest.param([ASKED] * 1_001, (400, 3, ""), id="too many"),
    ],
)
async def test_permissions_that_are_refused(wire: Wire, needed: Any, told: tuple[int, int, str]) -> None:
    """Held against rules and schema as questions are."""
    refused = await wire.refused(WRITE, {**updates("TOUCH", ANN), "permissionPreconditions": needed})
    assert refused.told == told


# --- Idempotency -------------------------------------------------------------------------------------------------


async def test_a_repeated_write(wire: Wire) -> None:
    """Done once; the first answer is given again, and says so."""
    body = {**updates("CREATE", ANN), "withOutcomes": True}
    first = await wire.post(WRITE, body, idempotency_key="one")
    second = await wire.post(WRITE, body, idempotency_key="one")
    assert first.json() == second.json()
    assert (first.headers["tessera-repeated"], second.headers["tessera-repeated"]) == ("false", "true")
    assert (await wire.refused(WRITE, body)).told == (409, 6, "ATTEMPT_TO_RECREATE_RELATIONSHIP")
    assert (await wire.refused(WRITE, body, idempotency_key="two")).told == (
        409,
        6,
        "ATTEMPT_TO_RECREATE_RELATIONSHIP",
    )


async def test_a_repeated_delete(wire: Wire) -> None:
    """What was written since stays."""
    await wire.touch("document:one#viewer@user:ann")
    body = {"relationshipFilter": {"resourceType": "document"}}
    first = await wire.ok(DELETE, body, idempotency_key="gone")
    await wire.touch("document:one#viewer@user:bob")
    assert await wire.ok(DELETE, body, idempotency_key="gone") == first
    assert await viewers(wire) == ["bob"]


async def test_a_key_used_for_another_request(wire: Wire) -> None:
    """Aborted, and nothing is written."""
    await wire.ok(WRITE, updates("TOUCH", ANN), idempotency_key="one")
    for body in (
        updates("TOUCH", BOB),
        updates("CREATE", ANN),
        {**updates("TOUCH", ANN), **must_have("document:one#view@user:ann")},
        {**updates("TOUCH", ANN), "sets": [to_hold()]},
    ):
        refused = await wire.refused(WRITE, body, idempotency_key="one")
        assert refused.told == (409, 10, "IDEMPOTENCY_KEY_REUSED")


async def test_one_key_at_once(wire: Wire) -> None:
    """Of many at once, one writes and all are answered alike."""
    before = await wire.service.store.head()
    answers = await asyncio.gather(
        *(wire.post(WRITE, updates("CREATE", ANN), idempotency_key="same") for _ in range(20))
    )
    assert {one.status_code for one in answers} == {200}
    assert len({one.text for one in answers}) == 1
    assert await wire.service.store.head() == before + 1


@pytest.mark.parametrize("key", ["x" * 256, "a\tb", "\x7f"])
async def test_keys_that_are_refused(wire: Wire, key: str) -> None:
    """1 to 255 printable characters."""
    refused = await wire.refused(WRITE, updates("TOUCH", ANN), idempotency_key=key)
    assert refused.told == (400, 3, "")
    assert "idempotency key" in refused.message


# --- Several ids in a filter -------------------------------------------------------------------------------------


async def test_several_ids(wire: Wire) -> None:
    """Read, deleted and exported by any of several ids."""
    await wire.touch(*(f"document:d{number}#viewer@user:ann" for number in range(5)))
    filter_ = {"resourceType": "document", "optionalResourceIds": ["d1", "d3", "nothing", "d3"]}

    async def read(**members: Any) -> list[str]:
        results = await wire.results(READ, {"relationshipFilter": filter_, **members})
        return [one["relationship"]["resource"]["objectId"] for one in results]

    assert sorted(await read()) == ["d1", "d3"]
    (first,) = await wire.results(READ, {"relationshipFilter": filter_, "optionalLimit": 1})
    rest = await read(optionalLimit=1, optionalCursor=first["afterResultCursor"])
    assert sorted([first["relationship"]["resource"]["objectId"], *rest]) == ["d1", "d3"]
    other = {**filter_, "optionalResourceIds": ["d0"]}
    body = {"relationshipFilter": other, "optionalLimit": 1, "optionalCursor": first["afterResultCursor"]}
    assert (await wire.refused_stream(READ, body)).reason == "INVALID_CURSOR"
    (exported,) = await wire.results("/v1/relationships/exportbulk", {"optionalRelationshipFilter": filter_})
    assert sorted(one["resource"]["objectId"] for one in exported["relationships"]) == ["d1", "d3"]
    answer = await wire.ok(DELETE, {"relationshipFilter": filter_})
    assert answer["relationshipsDeletedCount"] == "2"
    assert sorted(await read()) == []


@pytest.mark.parametrize(
    ("members", "told"),
    [
        pytest.param({"optionalResourceIds": "d1"}, (400, 3, ""), id="no list"),
        pytest.param({"optionalResourceIds": [1]}, (400, 3, ""), id="no text"),
        pytest.param({"optionalResourceIds": [""]}, (400, 3, ""), id="empty"),
        pytest.param({"optionalResourceIds": ["*"]}, (400, 3, ""), id="every"),
        pytest.param({"optionalResourceIds": ["a"] * 1_001}, (400, 3, ""), id="too many"),
        pytest.param(
            {"optionalResourceIds": ["a"], "optionalResourceId": "b"}, (400, 3, "INVALID_FILTER"), id="and an id"
        ),
        pytest.param(
            {"optionalResourceIds": ["a"], "optionalResourceIdPrefix": "b"}, (400, 3, "INVALID_FILTER"), id="prefix"
        ),
    ],
)
async def test_ids_that_are_refused(wire: Wire, members: dict[str, Any], told: tuple[int, int, str]) -> None:
    """In one way alone, each of its form."""
    body = {"relationshipFilter": {"resourceType": "document", **members}}
    assert (await wire.refused_stream(READ, body)).told == told
    assert (await wire.refused(DELETE, body)).told == told
