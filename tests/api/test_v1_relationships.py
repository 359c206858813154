"""WriteRelationships, ReadRelationships and DeleteRelationships as a caller meets them."""

from typing import Any

import pytest

from pdp.relationships import Revision
from pdp.zookies import encode
from tests.api.wire import Wire, on_wire, updates

WRITE, READ, DELETE = "/v1/relationships/write", "/v1/relationships/read", "/v1/relationships/delete"
ANN, BOB, ENG = (
    "document:one#viewer@user:ann",
    "document:one#viewer@user:bob",
    "document:one#viewer@group:eng#member",
)
EVERYBODY, BANNED = "document:two#viewer@user:*", "document:only#banned@user:ann"


def touch(relationship: dict[str, Any]) -> dict[str, Any]:
    """A write of one relationship given member by member."""
    return {"updates": [{"operation": "OPERATION_TOUCH", "relationship": relationship}]}


def changed(text: str, **members: Any) -> dict[str, Any]:
    """A write of a relationship with some members replaced."""
    return touch({**on_wire(text), **members})


def filtered(**members: Any) -> dict[str, Any]:
    """A request with a relationship filter."""
    return {"relationshipFilter": members}


def shown(results: list[dict[str, Any]]) -> set[str]:
    """Results of a read in the field's notation."""
    return {_text(result["relationship"]) for result in results}


def _text(relationship: dict[str, Any]) -> str:
    resource, subject = relationship["resource"], relationship["subject"]
    who = f"{subject['object']['objectType']}:{subject['object']['objectId']}"
    relation = f"#{subject['optionalRelation']}" if subject["optionalRelation"] else ""
    return f"{resource['objectType']}:{resource['objectId']}#{relationship['relation']}@{who}{relation}"


async def read(wire: Wire, **members: Any) -> set[str]:
    """What matches a filter."""
    return shown(await wire.results(READ, filtered(**members)))


# --- Writes that are refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "told", "metadata"),
    [
        pytest.param(
            changed(ANN, resource={"objectType": "docment", "objectId": "one"}),
            (400, 9, "UNKNOWN_DEFINITION"),
            {"definition_name": "docment"},
            id="unknown resource type",
        ),
        pytest.param(
            changed(ANN, subject={"object": {"objectType": "usr", "objectId": "ann"}}),
            (400, 9, "UNKNOWN_DEFINITION"),
            {"definition_name": "usr"},
            id="unknown subject type",
        ),
        pytest.param(
            changed(ANN, relation="veiwer"),
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            {"definition_name": "document", "relation_or_permission_name": "veiwer"},
            id="unknown relation",
        ),
        pytest.param(
            changed(
                ANN, subject={"object": {"objectType": "group", "objectId": "eng"}, "optionalRelation": "membre"}
            ),
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            {"definition_name": "group", "relation_or_permission_name": "membre"},
            id="unknown subject relation",
        ),
        pytest.param(
            changed(ANN, relation="view"),
            (400, 3, "CANNOT_UPDATE_PERMISSION"),
            {"definition_name": "document", "permission_name": "view"},
            id="a permission",
        ),
        pytest.param(
            changed(ANN, subject={"object": {"objectType": "document", "objectId": "two"}}),
            (400, 3, "INVALID_SUBJECT_TYPE"),
            {"definition_name": "document", "relation_name": "viewer", "subject_type": "document"},
            id="a subject of a type not allowed",
        ),
        pytest.param(
            changed(ANN, subject={"object": {"objectType": "group", "objectId": "eng"}}),
            (400, 3, "INVALID_SUBJECT_TYPE"),
            {"definition_name": "document", "relation_name": "viewer", "subject_type": "group"},
            id="a userset's object itself",
        ),
        pytest.param(
            changed(
                ANN, subject={"object": {"objectType": "document", "objectId": "two"}, "optionalRelation": "viewer"}
            ),
            (400, 3, "INVALID_SUBJECT_TYPE"),
            {"definition_name": "document", "relation_name": "viewer", "subject_type": "document#viewer"},
            id="a userset not allowed",
        ),
        pytest.param(
            changed("document:one#banned@user:ann", subject={"object": {"objectType": "user", "objectId": "*"}}),
            (400, 3, "INVALID_SUBJECT_TYPE"),
            {"definition_name": "document", "relation_name": "banned", "subject_type": "user:*"},
            id="a wildcard not allowed",
        ),
        pytest.param(
            changed("document:one#banned@user:ann", optionalCaveat={"caveatName": "office_hours"}),
            (400, 3, "INVALID_SUBJECT_TYPE"),
            {"definition_name": "document", "relation_name": "banned", "subject_type": "user with office_hours"},
            id="a caveat not allowed",
        ),
        pytest.param(
            changed(ANN, optionalCaveat={"caveatName": "unheard_of"}),
            (400, 3, "INVALID_SUBJECT_TYPE"),
            {"definition_name": "document", "relation_name": "viewer", "subject_type": "user with unheard_of"},
            id="an unknown caveat",
        ),
        pytest.param(
            changed("document:one#banned@user:ann", optionalExpiresAt="2300-01-01T00:00:00Z"),
            (400, 3, "INVALID_SUBJECT_TYPE"),
            {"definition_name": "document", "relation_name": "banned", "subject_type": "user with expiration"},
            id="an expiration not allowed",
        ),
        pytest.param(
            changed(ANN, optionalCaveat={"caveatName": "office_hours", "context": {"hour": "noon"}}),
            (400, 3, "CAVEAT_PARAMETER_TYPE_ERROR"),
            {"caveat_name": "office_hours", "parameter_name": "hour"},
            id="a context of the wrong type",
        ),
        pytest.param(
            changed(ANN, optionalCaveat={"caveatName": "office_hours", "context": {"minute": 1}}),
            (400, 3, "CAVEAT_PARAMETER_TYPE_ERROR"),
            {"caveat_name": "office_hours", "parameter_name": "minute"},
            id="a context for no parameter",
        ),
        pytest.param(
            updates("TOUCH", ANN, BOB, ANN),
            (400, 3, "UPDATES_ON_SAME_RELATIONSHIP"),
            {"definition_name": "document", "relationship": ANN},
            id="the same relationship twice",
        ),
        pytest.param(
            {"updates": [*updates("TOUCH", ANN)["updates"], *updates("DELETE", ANN)["updates"]]},
            (400, 3, "UPDATES_ON_SAME_RELATIONSHIP"),
            {"definition_name": "document", "relationship": ANN},
            id="touched and deleted",
        ),
        pytest.param(
            {
                "updates": [
                    *updates("TOUCH", ANN)["updates"],
                    *changed(ANN, optionalCaveat={"caveatName": "office_hours"})["updates"],
                ]
            },
            (400, 3, "UPDATES_ON_SAME_RELATIONSHIP"),
            {"definition_name": "document", "relationship": ANN},
            id="twice, once with a caveat",
        ),
        pytest.param(
            changed(ANN, resource={"objectType": "document", "objectId": "*"}),
            (400, 3, ""),
            {},
            id="every document",
        ),
        pytest.param(
            {"updates": updates("TOUCH", ANN)["updates"] * 1_001},
            (400, 3, "TOO_MANY_UPDATES_IN_REQUEST"),
            {"update_count": "1001", "maximum_updates_allowed": "1000"},
            id="too many updates",
        ),
        pytest.param(
            {"optionalPreconditions": [{"operation": 1, "filter": {"resourceType": "document"}}] * 1_001},
            (400, 3, "TOO_MANY_PRECONDITIONS_IN_REQUEST"),
            {"precondition_count": "1001", "maximum_updates_allowed": "1000"},
            id="too many preconditions",
        ),
        pytest.param(
            {"optionalTransactionMetadata": {"a": "x" * 65_000}},
            (400, 3, "TRANSACTION_METADATA_TOO_LARGE"),
            {"metadata_byte_size": "65015", "maximum_allowed_metadata_byte_size": "65000"},
            id="metadata too large",
        ),
        pytest.param(
            changed(ANN, optionalCaveat={"caveatName": "office_hours", "context": {"hour": "1" * 25_000}}),
            (400, 3, "MAX_RELATIONSHIP_CONTEXT_SIZE"),
            {"relationship": ANN, "max_allowed_size": "25000", "context_size": "25018"},
            id="context too large",
        ),
        pytest.param(
            {"optionalPreconditions": [{"operation": "OPERATION_MUST_MATCH", "filter": {}}]},
            (400, 3, "INVALID_FILTER"),
            {"filter": ""},
            id="precondition without a filter",
        ),
        pytest.param(
            {"optionalPreconditions": [{"operation": "OPERATION_MUST_NOT_MATCH", "filter": {"resourceType": "doc"}}]},
            (400, 9, "UNKNOWN_DEFINITION"),
            {"definition_name": "doc"},
            id="precondition on an unknown type",
        ),
    ],
)
async def test_writes_that_are_refused(
    wire: Wire, body: dict[str, Any], told: tuple[int, int, str], metadata: dict[str, str]
) -> None:
    """Code, reason and metadata of the wire's table; and nothing is written."""
    refused = await wire.refused(WRITE, body)
    assert refused.told == told
    assert refused.metadata == metadata


async def test_create_of_what_is_there(wire: Wire) -> None:
    """AlreadyExists for the whole request, the new relationship in it included."""
    await wire.touch(ANN)
    refused = await wire.refused(WRITE, updates("CREATE", BOB, ANN))
    assert refused.told == (409, 6, "ATTEMPT_TO_RECREATE_RELATIONSHIP")
    assert refused.metadata == {
        "relationship": ANN,
        "resource_type": "document",
        "resource_object_id": "one",
        "resource_relation": "viewer",
        "subject_type": "user",
        "subject_object_id": "ann",
        "subject_relation": "",
    }
    assert await read(wire, resourceType="document") == {ANN}


async def test_one_bad_update_spoils_the_request(wire: Wire) -> None:
    """All or nothing."""
    body = {"updates": [*updates("TOUCH", BOB)["updates"], *changed(ANN, relation="view")["updates"]]}
    assert (await wire.refused(WRITE, body)).reason == "CANNOT_UPDATE_PERMISSION"
    assert await read(wire, resourceType="document") == set()


@pytest.mark.parametrize("operation", ["CREATE", "TOUCH", "DELETE"])
async def test_before_there_is_a_schema(empty_wire: Wire, operation: str) -> None:
    """Without a schema every name is unknown."""
    refused = await empty_wire.refused(WRITE, updates(operation, ANN))
    assert refused.told == (400, 9, "UNKNOWN_DEFINITION")


async def test_delete_names_a_relation_and_a_subject_type(wire: Wire) -> None:
    """DELETE too is held against the schema, but for caveat and expiration."""
    for text, reason in [
        ("document:one#view@user:ann", "CANNOT_UPDATE_PERMISSION"),
        ("document:one#viewer@document:two", "INVALID_SUBJECT_TYPE"),
        ("document:one#nothing@user:ann", "UNKNOWN_RELATION_OR_PERMISSION"),
    ]:
        assert (await wire.refused(WRITE, updates("DELETE", text))).reason == reason


# --- Writes ------------------------------------------------------------------------------------------------------


async def test_every_kind_of_relationship_comes_back(wire: Wire) -> None:
    """What was written is read, caveat and expiration included."""
    caveated = on_wire("document:two#viewer@user:ann[office_hours]")
    caveated["optionalCaveat"]["context"] = {"hour": 10}
    expiring = {**on_wire("document:three#viewer@user:ann"), "optionalExpiresAt": "2300-01-01T00:00:00Z"}
    await wire.touch(ANN, ENG, "document:one#viewer@user:*")
    await wire.ok(WRITE, touch(caveated))
    await wire.ok(WRITE, touch(expiring))
    found = {
        _text(r["relationship"]): r["relationship"]
        for r in await wire.results(READ, filtered(resourceType="document"))
    }
    assert found.keys() == {
        ANN,
        ENG,
        "document:one#viewer@user:*",
        "document:two#viewer@user:ann",
        "document:three#viewer@user:ann",
    }
    assert found["document:two#viewer@user:ann"]["optionalCaveat"] == {
        "caveatName": "office_hours",
        "context": {"hour": 10},
    }
    assert found["document:three#viewer@user:ann"]["optionalExpiresAt"] == "2300-01-01T00:00:00Z"
    assert found[ANN]["optionalCaveat"] is None
    assert found[ANN]["optionalExpiresAt"] is None


async def test_an_empty_write_takes_a_revision(wire: Wire) -> None:
    """A write that changes nothing takes one too, and is answered with it."""
    before = await wire.service.store.head()
    await wire.ok(WRITE, {})
    assert await wire.service.store.head() == before + 1


async def test_touch_rewrites_caveat_and_expiration(wire: Wire) -> None:
    """semantics 14: one row per identity, never two."""
    await wire.touch(ANN)
    await wire.ok(WRITE, changed(ANN, optionalCaveat={"caveatName": "office_hours", "context": {"hour": 3}}))
    (result,) = await wire.results(READ, filtered(resourceType="document"))
    assert result["relationship"]["optionalCaveat"]["context"] == {"hour": 3}
    assert await wire.has("document:one#view@user:ann") == "NO"
    await wire.touch(ANN)
    assert await wire.has("document:one#view@user:ann") == "HAS"


async def test_delete_of_what_is_not_there(wire: Wire) -> None:
    """semantics 14: no error; caveat and expiration are neither needed nor looked at."""
    await wire.ok(WRITE, updates("DELETE", ANN))
    await wire.ok(WRITE, changed(ANN, optionalCaveat={"caveatName": "office_hours"}))
    await wire.ok(WRITE, updates("DELETE", ANN))
    assert await read(wire, resourceType="document") == set()


async def test_create_over_what_has_expired(wire: Wire) -> None:
    """semantics 14: an expired relationship is not there, collected or not."""
    await wire.ok(WRITE, changed(ANN, optionalExpiresAt="1970-01-01T00:00:01Z"))
    assert await read(wire, resourceType="document") == set()
    await wire.ok(WRITE, updates("CREATE", ANN))
    assert await read(wire, resourceType="document") == {ANN}


async def test_a_time_in_the_past_is_accepted(wire: Wire) -> None:
    """semantics 16: and the relationship is not there from the start."""
    await wire.ok(WRITE, changed(ANN, optionalExpiresAt="2001-01-01T00:00:00Z"))
    assert await wire.has("document:one#view@user:ann") == "NO"


@pytest.mark.parametrize(
    ("operation", "filter_", "holds"),
    [
        pytest.param("MUST_MATCH", {"resourceType": "document"}, True, id="type"),
        pytest.param("MUST_MATCH", {"optionalResourceId": "one"}, True, id="id alone"),
        pytest.param("MUST_MATCH", {"optionalResourceIdPrefix": "on"}, True, id="prefix alone"),
        pytest.param("MUST_MATCH", {"optionalRelation": "viewer"}, True, id="relation alone"),
        pytest.param("MUST_MATCH", {"optionalSubjectFilter": {"subjectType": "user"}}, True, id="subject alone"),
        pytest.param("MUST_MATCH", {"resourceType": "group"}, False, id="another type"),
        pytest.param("MUST_MATCH", {"optionalResourceId": "two"}, False, id="another id"),
        pytest.param("MUST_NOT_MATCH", {"optionalResourceId": "two"}, True, id="not another id"),
        pytest.param("MUST_NOT_MATCH", {"resourceType": "document"}, False, id="not the type"),
    ],
)
async def test_preconditions(wire: Wire, operation: str, filter_: dict[str, Any], holds: bool) -> None:
    """semantics 18: judged before the updates, in the same transaction; any one field is enough."""
    await wire.touch(ANN)
    body = {
        **updates("CREATE", BOB),
        "optionalPreconditions": [{"operation": f"OPERATION_{operation}", "filter": filter_}],
    }
    if holds:
        await wire.ok(WRITE, body)
    else:
        refused = await wire.refused(WRITE, body)
        assert refused.told == (400, 9, "WRITE_OR_DELETE_PRECONDITION_FAILURE")
        assert refused.metadata["precondition_operation"] == f"OPERATION_{operation}"
    assert await read(wire, resourceType="document") == ({ANN, BOB} if holds else {ANN})


async def test_a_failed_precondition_comes_before_already_exists(wire: Wire) -> None:
    """semantics 18."""
    await wire.touch(ANN)
    precondition = {"operation": "OPERATION_MUST_NOT_MATCH", "filter": {"resourceType": "document"}}
    refused = await wire.refused(WRITE, {**updates("CREATE", ANN), "optionalPreconditions": [precondition]})
    assert refused.reason == "WRITE_OR_DELETE_PRECONDITION_FAILURE"


async def test_preconditions_without_updates(wire: Wire) -> None:
    """semantics 18: allowed; and an expired relationship does not match."""
    precondition = {"operation": "OPERATION_MUST_MATCH", "filter": {"resourceType": "document"}}
    await wire.ok(WRITE, changed(ANN, optionalExpiresAt="1970-01-01T00:00:01Z"))
    assert (await wire.refused(WRITE, {"optionalPreconditions": [precondition]})).code == 9
    await wire.touch(BOB)
    await wire.ok(WRITE, {"optionalPreconditions": [precondition]})


async def test_the_largest_write(wire: Wire) -> None:
    """A thousand updates pass."""
    await wire.touch(*(f"document:d{number}#viewer@user:ann" for number in range(1_000)))
    assert len(await read(wire, resourceType="document")) == 1_000


# --- Reads -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def stored(wire: Wire) -> Wire:
    """A store with some relationships of different kinds."""
    await wire.touch(
        ANN, BOB, ENG, "document:two#viewer@user:*", "document:only#banned@user:ann", "group:eng#member@user:cy"
    )
    return wire


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        pytest.param({"resourceType": "group"}, {"group:eng#member@user:cy"}, id="type"),
        pytest.param({"resourceType": "document", "optionalResourceId": "one"}, {ANN, BOB, ENG}, id="id"),
        pytest.param({"optionalResourceId": "eng"}, {"group:eng#member@user:cy"}, id="id without a type"),
        pytest.param(
            {"optionalResourceIdPrefix": "on"}, {ANN, BOB, ENG, "document:only#banned@user:ann"}, id="id prefix"
        ),
        pytest.param({"optionalRelation": "banned"}, {"document:only#banned@user:ann"}, id="relation"),
        pytest.param(
            {"optionalSubjectFilter": {"subjectType": "user", "optionalSubjectId": "ann"}},
            {ANN, "document:only#banned@user:ann"},
            id="subject",
        ),
        pytest.param(
            {"optionalSubjectFilter": {"subjectType": "user", "optionalSubjectId": "*"}},
            {"document:two#viewer@user:*"},
            id="the wildcard itself",
        ),
        pytest.param(
            {"optionalSubjectFilter": {"subjectType": "group", "optionalRelation": {"relation": "member"}}},
            {ENG},
            id="userset",
        ),
        pytest.param(
            {"optionalSubjectFilter": {"subjectType": "group", "optionalRelation": {"relation": ""}}},
            set(),
            id="no subject relation",
        ),
        pytest.param({"optionalSubjectFilter": {"subjectType": "group"}}, {ENG}, id="any subject relation"),
        pytest.param({"resourceType": "document", "optionalResourceId": "nothing"}, set(), id="unknown id"),
    ],
)
async def test_filters(stored: Wire, filter_: dict[str, Any], found: set[str]) -> None:
    """Every field given must match; no resource type is needed."""
    assert await read(stored, **filter_) == found


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param({}, (400, 3, ""), id="no filter"),
        pytest.param(filtered(), (400, 3, "INVALID_FILTER"), id="empty filter"),
        pytest.param(
            filtered(optionalResourceId="one", optionalResourceIdPrefix="o"),
            (400, 3, "INVALID_FILTER"),
            id="id, prefix",
        ),
        pytest.param(filtered(resourceType="doc"), (400, 9, "UNKNOWN_DEFINITION"), id="unknown type"),
        pytest.param(
            filtered(resourceType="document", optionalRelation="veiwer"),
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            id="unknown relation",
        ),
        pytest.param(
            filtered(resourceType="document", optionalRelation="view"), (400, 9, "SCHEMA_TYPE_ERROR"), id="permission"
        ),
        pytest.param(
            filtered(optionalSubjectFilter={"subjectType": "usr"}), (400, 9, "UNKNOWN_DEFINITION"), id="subject type"
        ),
        pytest.param(
            filtered(optionalSubjectFilter={"subjectType": "group", "optionalRelation": {"relation": "nobody"}}),
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            id="subject relation",
        ),
        pytest.param(
            {**filtered(resourceType="document"), "optionalLimit": 1_001},
            (400, 3, "EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT"),
            id="limit",
        ),
        pytest.param(
            {**filtered(resourceType="document"), "optionalCursor": {"token": "!"}},
            (400, 3, "INVALID_CURSOR"),
            id="cursor",
        ),
        pytest.param(
            {**filtered(resourceType="document"), "consistency": {"atLeastAsFresh": {"token": "AAAA"}}},
            (400, 3, ""),
            id="zookie",
        ),
    ],
)
async def test_reads_that_are_refused(stored: Wire, body: dict[str, Any], told: tuple[int, int, str]) -> None:
    """Before the first result."""
    assert (await stored.refused_stream(READ, body)).told == told


@pytest.mark.parametrize("size", [1, 2, 3, 4])
async def test_pages(stored: Wire, size: int) -> None:
    """Page by page the same as at once, each relationship once."""
    body = {**filtered(resourceType="document"), "optionalLimit": size}
    found: list[dict[str, Any]] = []
    while True:
        page = await stored.results(READ, body)
        assert len(page) <= size
        found += page
        if len(page) < size:
            break
        body["optionalCursor"] = page[-1]["afterResultCursor"]
    assert len(found) == 5
    assert shown(found) == await read(stored, resourceType="document")


async def test_pages_are_of_one_snapshot(stored: Wire) -> None:
    """semantics 12: the second page is of the first one's revision, whatever was written and is asked for."""
    body: dict[str, Any] = {**filtered(resourceType="document"), "optionalLimit": 2}
    first = await stored.results(READ, body)
    await stored.touch("document:new#viewer@user:ann")
    await stored.ok(WRITE, updates("DELETE", ANN, BOB, ENG, "document:two#viewer@user:*"))
    body.update(optionalCursor=first[-1]["afterResultCursor"], consistency={"fullyConsistent": True})
    second = await stored.results(READ, body)
    body["optionalCursor"] = second[-1]["afterResultCursor"]
    third = await stored.results(READ, body)
    assert shown(first + second + third) == {
        ANN,
        BOB,
        ENG,
        "document:two#viewer@user:*",
        "document:only#banned@user:ann",
    }
    assert {result["readAt"]["token"] for result in first + second + third} == {first[0]["readAt"]["token"]}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"optionalLimit": 3}, id="limit"),
        pytest.param({"relationshipFilter": {"resourceType": "group"}}, id="filter"),
    ],
)
async def test_a_cursor_is_bound_to_its_question(stored: Wire, other: dict[str, Any]) -> None:
    """semantics 12: another filter or page size is an error."""
    body: dict[str, Any] = {**filtered(resourceType="document"), "optionalLimit": 2}
    first = await stored.results(READ, body)
    refused = await stored.refused_stream(READ, {**body, "optionalCursor": first[-1]["afterResultCursor"], **other})
    assert refused.told == (400, 3, "INVALID_CURSOR")


async def test_a_cursor_that_was_tampered_with(stored: Wire) -> None:
    """A cursor is authenticated."""
    body: dict[str, Any] = {**filtered(resourceType="document"), "optionalLimit": 2}
    token = (await stored.results(READ, body))[-1]["afterResultCursor"]["token"]
    for at in (0, len(token) // 2, len(token) - 1):
        bad = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        refused = await stored.refused_stream(READ, {**body, "optionalCursor": {"token": bad}})
        assert refused.told == (400, 3, "INVALID_CURSOR")


async def test_a_read_at_an_older_revision(stored: Wire) -> None:
    """semantics 13: what was deleted since is still read there."""
    before = (await stored.ok(WRITE, {}))["writtenAt"]
    await stored.ok(WRITE, updates("DELETE", ANN))
    body = {**filtered(optionalResourceId="one"), "consistency": {"atExactSnapshot": before}}
    assert shown(await stored.results(READ, body)) == {ANN, BOB, ENG}
    assert await read(stored, optionalResourceId="one") == {BOB, ENG}


async def test_a_read_of_the_future(stored: Wire) -> None:
    """A revision that was not reached is OutOfRange."""
    store = stored.service.store
    token = encode(store, Revision(await store.head() + 5))
    for mode in ("atExactSnapshot", "atLeastAsFresh"):
        body = {**filtered(resourceType="document"), "consistency": {mode: {"token": token}}}
        assert (await stored.refused_stream(READ, body)).told == (400, 11, "")


# --- Deletes by filter -------------------------------------------------------------------------------------------


async def test_delete_by_filter(stored: Wire) -> None:
    """All that match, in one revision, counted."""
    before = await stored.service.store.head()
    answer = await stored.ok(DELETE, filtered(resourceType="document", optionalRelation="viewer"))
    assert answer["deletionProgress"] == "DELETION_PROGRESS_COMPLETE"
    assert answer["relationshipsDeletedCount"] == "4"
    assert await stored.service.store.head() == before + 1
    assert await read(stored, resourceType="document") == {"document:only#banned@user:ann"}


@pytest.mark.parametrize(
    ("limit", "partial", "progress", "count", "left"),
    [
        pytest.param(0, False, "COMPLETE", "4", 0, id="no limit"),
        pytest.param(5, False, "COMPLETE", "4", 0, id="fewer than the limit"),
        pytest.param(5, True, "COMPLETE", "4", 0, id="fewer than the limit, partial"),
        pytest.param(4, False, "PARTIAL", "4", 0, id="exactly the limit"),
        pytest.param(4, True, "PARTIAL", "4", 0, id="exactly the limit, partial"),
        pytest.param(3, True, "PARTIAL", "3", 1, id="more than the limit, partial"),
    ],
)
async def test_delete_with_a_limit(
    stored: Wire, limit: int, partial: bool, progress: str, count: str, left: int
) -> None:
    """semantics 17: a limit that was reached says PARTIAL, even when nothing is left."""
    body = {**filtered(optionalRelation="viewer"), "optionalLimit": limit, "optionalAllowPartialDeletions": partial}
    answer = await stored.ok(DELETE, body)
    assert answer["deletionProgress"] == f"DELETION_PROGRESS_{progress}"
    assert answer["relationshipsDeletedCount"] == count
    assert len(await read(stored, optionalRelation="viewer")) == left


async def test_delete_of_more_than_the_limit(stored: Wire) -> None:
    """semantics 17: without the partial flag an error, and nothing is deleted."""
    body = {**filtered(resourceType="document", optionalRelation="viewer"), "optionalLimit": 3}
    refused = await stored.refused(DELETE, body)
    assert refused.told == (400, 3, "TOO_MANY_RELATIONSHIPS_FOR_TRANSACTIONAL_DELETE")
    assert refused.metadata == {"limit": "3", "filter_resource_type": "document", "filter_relation": "viewer"}


async def test_delete_counts_the_expired(wire: Wire) -> None:
    """semantics 16: what has expired is still there to be deleted."""
    await wire.ok(WRITE, changed(ANN, optionalExpiresAt="1970-01-01T00:00:01Z"))
    answer = await wire.ok(DELETE, filtered(resourceType="document"))
    assert answer["relationshipsDeletedCount"] == "1"


async def test_delete_by_a_permission(stored: Wire) -> None:
    """No relationships are stored under one: 0 are deleted."""
    answer = await stored.ok(DELETE, filtered(resourceType="document", optionalRelation="view"))
    assert answer["relationshipsDeletedCount"] == "0"
    assert answer["deletionProgress"] == "DELETION_PROGRESS_COMPLETE"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param({}, (400, 3, ""), id="no filter"),
        pytest.param(filtered(), (400, 3, "INVALID_FILTER"), id="empty filter"),
        pytest.param(filtered(resourceType="doc"), (400, 9, "UNKNOWN_DEFINITION"), id="unknown type"),
        pytest.param(
            filtered(resourceType="document", optionalRelation="nothing"),
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            id="unknown relation",
        ),
        pytest.param(
            {**filtered(resourceType="document"), "optionalLimit": 1_001},
            (400, 3, "EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT"),
            id="limit",
        ),
        pytest.param(
            {
                **filtered(resourceType="document"),
                "optionalPreconditions": [
                    {"operation": "OPERATION_MUST_MATCH", "filter": {"optionalResourceId": "nothing"}}
                ],
            },
            (400, 9, "WRITE_OR_DELETE_PRECONDITION_FAILURE"),
            id="precondition",
        ),
        pytest.param(
            {**filtered(resourceType="document"), "optionalTransactionMetadata": {"a": "x" * 65_000}},
            (400, 3, "TRANSACTION_METADATA_TOO_LARGE"),
            id="metadata",
        ),
    ],
)
async def test_deletes_that_are_refused(stored: Wire, body: dict[str, Any], told: tuple[int, int, str]) -> None:
    """And nothing is deleted."""
    assert (await stored.refused(DELETE, body)).told == told
