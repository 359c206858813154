"""LookupResources and LookupSubjects as a caller meets them; what they find is the cases' matter."""

import json
from typing import Any

import pytest

from tests.api.wire import Wire, subject, updates

RESOURCES, SUBJECTS = "/v1/permissions/resources", "/v1/permissions/subjects"


def resources(who: str = "user:ann", **members: Any) -> dict[str, Any]:
    """Which documents may somebody view?"""
    return {"resourceObjectType": "document", "permission": "view", "subject": subject(who), **members}


def subjects(what: str = "one", **members: Any) -> dict[str, Any]:
    """Who may view a document?"""
    resource = {"objectType": "document", "objectId": what}
    return {"resource": resource, "permission": "view", "subjectObjectType": "user", **members}


def ids(results: list[dict[str, Any]]) -> list[str]:
    """Ids of the rows, in order."""
    return [one["resourceObjectId"] if "resourceObjectId" in one else one["subjectObjectId"] for one in results]


@pytest.fixture
async def stored(wire: Wire) -> Wire:
    """Some documents and people."""
    await wire.touch(
        *(f"document:d{number}#viewer@user:ann" for number in range(5)),
        "document:d3#banned@user:ann",
        "document:late#viewer@user:ann[office_hours]",
        "document:open#viewer@user:*",
        "document:open#banned@user:bob",
        "document:open#viewer@user:cy",
        "document:team#viewer@group:eng#member",
        "group:eng#member@user:ann",
        "group:eng#member@user:bob",
        "group:eng#member@user:cy",
    )
    return wire


async def test_resources(stored: Wire) -> None:
    """Every id once, in order; conditional ones with what is missing; a cursor behind each."""
    results = await stored.results(RESOURCES, resources())
    assert ids(results) == ["d0", "d1", "d2", "d4", "late", "open", "team"]
    (late,) = [one for one in results if one["resourceObjectId"] == "late"]
    assert late["permissionship"] == "LOOKUP_PERMISSIONSHIP_CONDITIONAL_PERMISSION"
    assert late["partialCaveatInfo"] == {"missingRequiredContext": ["hour"]}
    assert set(late) == {
        "lookedUpAt",
        "resourceObjectId",
        "permissionship",
        "partialCaveatInfo",
        "afterResultCursor",
    }
    first = results[0]
    assert first["permissionship"] == "LOOKUP_PERMISSIONSHIP_HAS_PERMISSION"
    assert first["partialCaveatInfo"] is None
    assert len({one["afterResultCursor"]["token"] for one in results}) == len(results)


async def test_subjects(stored: Wire) -> None:
    """`*` with whom it does not cover, and whoever is named beside it; the old members say the same."""
    results = await stored.results(SUBJECTS, subjects("open"))
    assert ids(results) == ["*", "cy"]
    everybody = results[0]
    excluded = {
        "subjectObjectId": "bob",
        "permissionship": "LOOKUP_PERMISSIONSHIP_HAS_PERMISSION",
        "partialCaveatInfo": None,
    }
    assert everybody["excludedSubjects"] == [excluded]
    assert everybody["excludedSubjectIds"] == ["bob"]
    assert everybody["subject"]["subjectObjectId"] == "*"
    assert everybody["permissionship"] == everybody["subject"]["permissionship"]


async def test_subjects_without_wildcards(stored: Wire) -> None:
    """The wildcard's row can be left out."""
    body = subjects("open", wildcardOption="WILDCARD_OPTION_EXCLUDE_WILDCARDS")
    assert ids(await stored.results(SUBJECTS, body)) == ["cy"]
    body = subjects("open", wildcardOption="WILDCARD_OPTION_INCLUDE_WILDCARDS")
    assert ids(await stored.results(SUBJECTS, body)) == ["*", "cy"]


async def test_usersets_as_subjects(stored: Wire) -> None:
    """semantics 8: usersets are asked for by their relation, themselves included."""
    body = {**subjects("team"), "subjectObjectType": "group", "optionalSubjectRelation": "member"}
    assert ids(await stored.results(SUBJECTS, body)) == ["eng"]
    body = {
        "resource": {"objectType": "group", "objectId": "eng"},
        "permission": "member",
        "subjectObjectType": "group",
        "optionalSubjectRelation": "member",
    }
    assert ids(await stored.results(SUBJECTS, body)) == ["eng"]


async def test_nothing_found(stored: Wire) -> None:
    """An empty list is an empty stream."""
    assert await stored.results(RESOURCES, resources("user:nobody", permission="banned")) == []
    assert await stored.results(SUBJECTS, subjects("nothing")) == []
    assert await stored.results(SUBJECTS, subjects("*")) == []


async def test_context(stored: Wire) -> None:
    """A context decides; its size is bounded for subjects, as for checks, and not for resources."""
    assert "late" in ids(await stored.results(RESOURCES, resources(context={"hour": 10})))
    assert "late" not in ids(await stored.results(RESOURCES, resources(context={"hour": 20})))
    large = {"hour": 10, "more": "x" * 5_000}
    assert "late" in ids(await stored.results(RESOURCES, resources(context=large)))
    assert (await stored.refused_stream(SUBJECTS, subjects("late", context=large))).told == (400, 3, "")


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        pytest.param(RESOURCES, {}, (400, 3, ""), id="resources: nothing"),
        pytest.param(RESOURCES, resources(permission=""), (400, 3, ""), id="resources: no permission"),
        pytest.param(
            RESOURCES, resources(resourceObjectType="docment"), (400, 9, "UNKNOWN_DEFINITION"), id="resources: type"
        ),
        pytest.param(
            RESOURCES, resources(permission="veiw"), (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"), id="resources: perm"
        ),
        pytest.param(RESOURCES, resources("usr:ann"), (400, 9, "UNKNOWN_DEFINITION"), id="resources: subject type"),
        pytest.param(
            RESOURCES,
            resources("group:eng#nothing"),
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            id="resources: subject relation",
        ),
        pytest.param(RESOURCES, resources("user:*"), (400, 3, "WILDCARD_NOT_ALLOWED"), id="resources: everybody"),
        pytest.param(
            RESOURCES,
            resources(optionalLimit=1_001),
            (400, 3, "EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT"),
            id="resources: limit",
        ),
        pytest.param(
            RESOURCES,
            resources(optionalCursor={"token": "nonsense"}),
            (400, 3, "INVALID_CURSOR"),
            id="resources: cursor",
        ),
        pytest.param(SUBJECTS, {}, (400, 3, ""), id="subjects: nothing"),
        pytest.param(
            SUBJECTS,
            subjects(permission=""),
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            id="subjects: no permission",
        ),
        pytest.param(
            SUBJECTS, subjects(subjectObjectType="usr"), (400, 9, "UNKNOWN_DEFINITION"), id="subjects: subject type"
        ),
        pytest.param(
            SUBJECTS,
            subjects(optionalSubjectRelation="nothing"),
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            id="subjects: subject relation",
        ),
        pytest.param(
            SUBJECTS,
            subjects(optionalConcreteLimit=1_001),
            (400, 3, "EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT"),
            id="subjects: limit",
        ),
        pytest.param(
            SUBJECTS,
            subjects(optionalCursor={"token": "nonsense"}),
            (400, 3, "INVALID_CURSOR"),
            id="subjects: cursor",
        ),
    ],
)
async def test_lookups_that_are_refused(
    stored: Wire, path: str, body: dict[str, Any], told: tuple[int, int, str]
) -> None:
    """Before the first row."""
    assert (await stored.refused_stream(path, body)).told == told


async def test_before_there_is_a_schema(empty_wire: Wire) -> None:
    """semantics 27."""
    assert (await empty_wire.refused_stream(RESOURCES, resources())).reason == "UNKNOWN_DEFINITION"
    assert (await empty_wire.refused_stream(SUBJECTS, subjects())).reason == "UNKNOWN_DEFINITION"


@pytest.mark.parametrize("path", [RESOURCES, SUBJECTS])
async def test_pages_are_of_one_snapshot(stored: Wire, path: str) -> None:
    """semantics 12: page two is of page one's revision, whatever is asked for and written meanwhile."""
    limit = "optionalLimit" if path == RESOURCES else "optionalConcreteLimit"
    body = {**(resources() if path == RESOURCES else subjects("team")), limit: 1}
    whole = ids(await stored.results(path, {**body, limit: 0}))
    (first,) = await stored.results(path, body)
    await stored.touch("document:aaa#viewer@user:ann", "document:zzz#viewer@user:ann", "group:eng#member@user:zoe")
    await stored.ok(
        "/v1/relationships/write", updates("DELETE", "document:d4#viewer@user:ann", "group:eng#member@user:cy")
    )
    found = [first]
    while len(found) < len(whole):
        following = {
            **body,
            "optionalCursor": found[-1]["afterResultCursor"],
            "consistency": {"fullyConsistent": True},
        }
        found += await stored.results(path, following)
    assert ids(found) == whole
    assert await stored.results(path, {**body, "optionalCursor": found[-1]["afterResultCursor"]}) == []
    assert len({one["lookedUpAt"]["token"] for one in found}) == 1


@pytest.mark.parametrize(
    ("path", "other"),
    [
        pytest.param(RESOURCES, {"optionalLimit": 2}, id="limit"),
        pytest.param(RESOURCES, {"permission": "viewer"}, id="permission"),
        pytest.param(RESOURCES, {"subject": subject("user:bob")}, id="subject"),
        pytest.param(RESOURCES, {"context": {"hour": 10}}, id="context"),
        pytest.param(RESOURCES, {"resourceObjectType": "group", "permission": "member"}, id="type"),
        pytest.param(RESOURCES, {"evaluationTime": "2030-01-01T00:00:00Z"}, id="evaluation time"),
        pytest.param(SUBJECTS, {"optionalConcreteLimit": 2}, id="subjects: limit"),
        pytest.param(SUBJECTS, {"permission": "viewer"}, id="subjects: permission"),
        pytest.param(SUBJECTS, {"wildcardOption": 2}, id="subjects: wildcards"),
    ],
)
async def test_a_cursor_is_bound_to_its_question(stored: Wire, path: str, other: dict[str, Any]) -> None:
    """semantics 12: another question or page size is an error."""
    body = resources(optionalLimit=1) if path == RESOURCES else subjects("team", optionalConcreteLimit=1)
    (first,) = await stored.results(path, body)
    changed = {**body, "optionalCursor": first["afterResultCursor"], **other}
    assert (await stored.refused_stream(path, changed)).told == (400, 3, "INVALID_CURSOR")


async def test_a_cursor_is_of_its_method(stored: Wire) -> None:
    """A cursor of one method is none of another's."""
    (first,) = await stored.results(RESOURCES, resources(optionalLimit=1))
    body = subjects("team", optionalConcreteLimit=1, optionalCursor=first["afterResultCursor"])
    assert (await stored.refused_stream(SUBJECTS, body)).told == (400, 3, "INVALID_CURSOR")
    body = {"relationshipFilter": {"resourceType": "document"}, "optionalCursor": first["afterResultCursor"]}
    assert (await stored.refused_stream("/v1/relationships/read", body)).told == (400, 3, "INVALID_CURSOR")


# --- How a list ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "ending"),
    [
        pytest.param(0, {"complete": True, "reason": ""}, id="whole"),
        pytest.param(7, {"complete": True, "reason": ""}, id="exactly as many"),
        pytest.param(8, {"complete": True, "reason": ""}, id="fewer"),
        pytest.param(6, {"complete": False, "reason": "LIMIT_REACHED"}, id="more follow"),
    ],
)
async def test_a_list_says_how_it_ends(stored: Wire, limit: int, ending: dict[str, Any]) -> None:
    """Asked for, a last result tells whether the list is whole; unasked, no client meets it."""
    results = await stored.results(RESOURCES, resources(optionalLimit=limit, withEnding=True))
    assert results[-1]["ending"] == ending
    assert all("ending" not in one for one in results[:-1])
    assert len(results) - 1 == min(limit or 7, 7)
    unasked = await stored.results(RESOURCES, resources(optionalLimit=limit))
    assert [one["resourceObjectId"] for one in unasked] == ids(results[:-1])


async def test_an_empty_list_says_so_too(stored: Wire) -> None:
    """A list of nothing is whole."""
    (ending,) = await stored.results(SUBJECTS, subjects("nothing", withEnding=True))
    assert ending["ending"] == {"complete": True, "reason": ""}


FAILING = """
caveat share(part int) { 10 / part > 1 }
definition user {}
definition document {
	relation viewer: user | user with share
	permission view = viewer
}
"""


@pytest.mark.parametrize("path", [RESOURCES, SUBJECTS])
async def test_a_list_that_is_not_whole(empty_wire: Wire, path: str) -> None:
    """What could not be decided ends the list with its error, behind all that could."""
    await empty_wire.schema(FAILING)
    await empty_wire.touch(
        "document:one#viewer@user:ann",
        "document:two#viewer@user:ann[share]",
        "document:one#viewer@user:bob[share]",
        "document:zzz#viewer@user:ann",
    )
    body = resources() if path == RESOURCES else subjects("one")
    response = await empty_wire.post(path, {**body, "context": {"part": 0}, "withEnding": True})
    assert response.status_code == 200
    *rows, ending, error = [json.loads(line) for line in response.text.splitlines()]
    assert ids([one["result"] for one in rows]) == (["one", "zzz"] if path == RESOURCES else ["ann"])
    undecided = "two" if path == RESOURCES else "bob"
    assert ending["result"]["ending"] == {"complete": False, "reason": "UNDECIDED", "undecidedIds": [undecided]}
    assert error["error"]["code"] == 3
    assert error["error"]["details"][0]["reason"] == "ERROR_REASON_CAVEAT_EVALUATION_ERROR"
    assert f"`{undecided}`" in error["error"]["message"]


async def test_nothing_decided(empty_wire: Wire) -> None:
    """Where there is no row before it, the error has its own status."""
    await empty_wire.schema(FAILING)
    await empty_wire.touch("document:two#viewer@user:ann[share]")
    refused = await empty_wire.refused_stream(RESOURCES, resources(context={"part": 0}))
    assert refused.told == (400, 3, "CAVEAT_EVALUATION_ERROR")
