"""Methods that the wire does not have: permissions of a subject, counts, lists for several permissions, plans."""

from typing import Any

import pytest

from tests.api.wire import READ_ONLY_TOKEN, SCHEMA, Wire, on_wire, question, subject

LIST, PLAN = "/tessera/v1/permissions/list", "/tessera/v1/schema/plan"
COUNT_RESOURCES, COUNT_SUBJECTS = "/tessera/v1/resources/count", "/tessera/v1/subjects/count"
LOOKUP = "/tessera/v1/resources/lookup"
ASKED = {name: value for name, value in question("document:one#view@user:ann").items() if name != "permission"}
RESOURCES = {"resourceObjectType": "document", "permission": "view", "subject": subject("user:ann")}
SUBJECTS = {"resource": ASKED["resource"], "permission": "view", "subjectObjectType": "user"}


@pytest.fixture
async def stored(wire: Wire) -> Wire:
    """Some documents and people."""
    await wire.touch(
        "document:one#viewer@user:ann",
        "document:two#viewer@user:ann",
        "document:late#viewer@user:ann[office_hours]",
        "document:one#viewer@user:bob[office_hours]",
        "document:one#viewer@user:*",
        "document:one#banned@user:eve",
    )
    return wire


# --- Permissions of a subject ------------------------------------------------------------------------------------


def held(answer: dict[str, Any]) -> dict[str, str]:
    """Permissionships by name."""
    return {
        one["permission"]: one["permissionship"].removeprefix("PERMISSIONSHIP_").removesuffix("_PERMISSION")
        for one in answer["permissions"]
    }


async def test_all_permissions(stored: Wire) -> None:
    """Permissions in written order; relations where they are asked for."""
    assert held(await stored.ok(LIST, ASKED)) == {"view": "HAS"}
    answer = await stored.ok(LIST, {**ASKED, "withRelations": True})
    assert held(answer) == {"viewer": "HAS", "banned": "NO", "view": "HAS"}
    assert answer["checkedAt"]["token"]
    assert "evaluationTime" not in answer


async def test_named_permissions(stored: Wire) -> None:
    """The wire's member and the list beside it are both asked."""
    answer = await stored.ok(LIST, {**ASKED, "permissions": ["viewer", "view"]})
    assert list(held(answer)) == ["viewer", "view"]
    answer = await stored.ok(LIST, {**ASKED, "permission": "banned", "permissions": ["view"]})
    assert list(held(answer)) == ["banned", "view"]


async def test_conditional_permissions(stored: Wire) -> None:
    """With what is missing, and under a context."""
    late = {**ASKED, "resource": {"objectType": "document", "objectId": "late"}}
    (one,) = (await stored.ok(LIST, late))["permissions"]
    assert one["partialCaveatInfo"] == {"missingRequiredContext": ["hour"]}
    assert held(await stored.ok(LIST, {**late, "context": {"hour": 20}})) == {"view": "NO"}


async def test_permissions_under_circumstances(stored: Wire) -> None:
    """Contextual relationships, a time and a snapshot count here too."""
    eve = {**ASKED, "subject": subject("user:eve")}
    before = await stored.touch("document:one#banned@user:zoe")
    assert held(await stored.ok(LIST, eve)) == {"view": "NO"}
    zoe = {**ASKED, "subject": subject("user:zoe")}
    assert held(await stored.ok(LIST, {**zoe, "consistency": {"atExactSnapshot": {"token": before}}})) == {
        "view": "NO"
    }
    brought = [on_wire("document:one#banned@user:ann")]
    assert held(await stored.ok(LIST, {**ASKED, "contextualRelationships": brought})) == {"view": "NO"}
    answer = await stored.ok(LIST, {**ASKED, "evaluationTime": "2030-01-01T00:00:00Z"})
    assert answer["evaluationTime"] == "2030-01-01T00:00:00Z"


async def test_a_permission_that_fails_fails_alone(empty_wire: Wire) -> None:
    """Its error stands in its place."""
    await empty_wire.schema(
        "caveat share(n int) { 10 / n > 1 }\ndefinition user {}\n"
        "definition document {\n relation aaa: user with share\n relation bbb: user\n"
        " permission one = aaa\n permission two = bbb\n}"
    )
    await empty_wire.touch("document:one#aaa@user:ann[share]", "document:one#bbb@user:ann")
    one, two = (await empty_wire.ok(LIST, {**ASKED, "context": {"n": 0}}))["permissions"]
    assert one["error"]["details"][0]["reason"] == "ERROR_REASON_CAVEAT_EVALUATION_ERROR"
    assert two["permissionship"] == "PERMISSIONSHIP_HAS_PERMISSION"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param({}, (400, 3, ""), id="nothing"),
        pytest.param({**ASKED, "permissions": "view"}, (400, 3, ""), id="no list"),
        pytest.param({**ASKED, "permissions": [1]}, (400, 3, ""), id="no name"),
        pytest.param({**ASKED, "permissions": [""]}, (400, 3, ""), id="empty name"),
        pytest.param({**ASKED, "permissions": ["view"] * 101}, (400, 3, ""), id="too many"),
        pytest.param({**ASKED, "permissions": ["veiw"]}, (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"), id="unknown"),
        pytest.param({**ASKED, "subject": subject("user:*")}, (400, 3, "WILDCARD_NOT_ALLOWED"), id="everybody"),
        pytest.param({**ASKED, "subject": subject("usr:ann")}, (400, 9, "UNKNOWN_DEFINITION"), id="subject type"),
        pytest.param({**ASKED, "withRelations": 1}, (400, 3, ""), id="flag"),
        pytest.param({**ASKED, "context": {"a": "x" * 5_000}}, (400, 3, ""), id="context"),
    ],
)
async def test_lists_of_permissions_that_are_refused(
    stored: Wire, body: dict[str, Any], told: tuple[int, int, str]
) -> None:
    """As a check is."""
    assert (await stored.refused(LIST, body)).told == told


# --- Counts ------------------------------------------------------------------------------------------------------


async def test_counts(stored: Wire) -> None:
    """What lookups would list, counted; everybody is told apart."""
    answer = await stored.ok(COUNT_RESOURCES, RESOURCES)
    assert (answer["count"], answer["conditionalCount"], answer["complete"]) == ("2", "1", True)
    answer = await stored.ok(COUNT_RESOURCES, {**RESOURCES, "context": {"hour": 10}})
    assert (answer["count"], answer["conditionalCount"]) == ("3", "0")
    answer = await stored.ok(COUNT_SUBJECTS, SUBJECTS)
    assert (answer["count"], answer["conditionalCount"], answer["wildcard"]) == ("2", "0", True), "`*` covers bob"
    answer = await stored.ok(COUNT_SUBJECTS, {**SUBJECTS, "resource": {"objectType": "document", "objectId": "two"}})
    assert (answer["count"], answer["conditionalCount"], answer["wildcard"]) == ("1", "0", False)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        pytest.param(COUNT_RESOURCES, {**RESOURCES, "optionalLimit": 5}, (400, 3, ""), id="resources: limit"),
        pytest.param(COUNT_RESOURCES, {**RESOURCES, "optionalCursor": {"token": "x"}}, (400, 3, ""), id="cursor"),
        pytest.param(COUNT_SUBJECTS, {**SUBJECTS, "optionalConcreteLimit": 5}, (400, 3, ""), id="subjects: limit"),
        pytest.param(COUNT_RESOURCES, {**RESOURCES, "permission": "x"}, (400, 3, ""), id="malformed"),
        pytest.param(
            COUNT_RESOURCES,
            {**RESOURCES, "permission": "veiw"},
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            id="name",
        ),
        pytest.param(
            COUNT_SUBJECTS, {**SUBJECTS, "subjectObjectType": "usr"}, (400, 9, "UNKNOWN_DEFINITION"), id="type"
        ),
    ],
)
async def test_counts_that_are_refused(
    stored: Wire, path: str, body: dict[str, Any], told: tuple[int, int, str]
) -> None:
    """As lookups are; and a count is of the whole list."""
    assert (await stored.refused(path, body)).told == told


# --- Several permissions -----------------------------------------------------------------------------------------


async def test_several_permissions(stored: Wire) -> None:
    """A list each, all at one revision."""
    answer = await stored.ok(LOOKUP, {**RESOURCES, "permissions": ["viewer", "banned", "view"]})
    found = {one["permission"]: [each["resourceObjectId"] for each in one["resources"]] for one in answer["results"]}
    assert found == {"view": ["late", "one", "two"], "viewer": ["late", "one", "two"], "banned": []}
    assert all(one["complete"] for one in answer["results"])
    late = answer["results"][0]["resources"][0]
    assert late["permissionship"] == "LOOKUP_PERMISSIONSHIP_CONDITIONAL_PERMISSION"
    assert late["partialCaveatInfo"] == {"missingRequiredContext": ["hour"]}


@pytest.mark.parametrize(
    ("members", "told"),
    [
        pytest.param({"permissions": {}}, (400, 3, ""), id="no list"),
        pytest.param({"permissions": ["veiw"]}, (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"), id="unknown"),
        pytest.param({"optionalLimit": 1}, (400, 3, ""), id="limit"),
    ],
)
async def test_several_permissions_that_are_refused(
    stored: Wire, members: dict[str, Any], told: tuple[int, int, str]
) -> None:
    """All or none."""
    assert (await stored.refused(LOOKUP, {**RESOURCES, **members})).told == told


# --- Plans -------------------------------------------------------------------------------------------------------


async def test_a_plan(stored: Wire) -> None:
    """What would change, and that nothing stands in the way; nothing is written."""
    before = await stored.stored()
    answer = await stored.ok(PLAN, {"schema": SCHEMA.replace("= viewer - banned", "= viewer")})
    assert answer["wouldBeWritten"] is True
    assert answer["obstacles"] == []
    assert [kind for diff in answer["diffs"] for kind in diff] == ["permissionExprChanged"]
    assert answer["meaningChanges"] == [
        {
            "definitionName": "document",
            "name": "view",
            "isPermission": True,
            "effect": "CHANGED",
            "causes": ["document#view"],
        }
    ]
    assert await stored.stored() == before


async def test_a_plan_with_obstacles(stored: Wire) -> None:
    """Each with how many relationships stand in the way, and what is never allowed."""
    other = SCHEMA.replace("relation banned: user\n", "").replace("viewer - banned", "viewer")
    other = other.replace("hour int", "hour uint").replace(" | user with office_hours", "")
    answer = await stored.ok(PLAN, {"schema": other.replace("user with expiration", "user with office_hours")})
    assert answer["wouldBeWritten"] is False
    obstacles = {one["operation"]: one["relationshipCount"] for one in answer["obstacles"]}
    assert obstacles == {"change_parameter_type": "0", "delete_relation": "1"}
    assert (await stored.refused("/v1/schema/write", {"schema": other})).reason == "SCHEMA_TYPE_ERROR"


async def test_a_plan_with_warnings(stored: Wire) -> None:
    """What a valid schema may not mean."""
    answer = await stored.ok(
        PLAN, {"schema": SCHEMA.replace("relation viewer", "relation document").replace("= viewer", "= document")}
    )
    (warning,) = answer["warnings"]
    assert warning["name"] == "relation-name-references-parent"
    assert (warning["definitionName"], warning["relationName"]) == ("document", "document")
    assert warning["line"] == 14


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        pytest.param("definition {", (400, 3, "SCHEMA_PARSE_ERROR"), id="no schema"),
        pytest.param(
            "definition document { permission view = veiwer\n}", (400, 9, "SCHEMA_TYPE_ERROR"), id="meaning"
        ),
    ],
)
async def test_plans_that_are_refused(stored: Wire, schema: str, told: tuple[int, int, str]) -> None:
    """A text that could not be written at all."""
    assert (await stored.refused(PLAN, {"schema": schema})).told == told


# --- As on every path --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [LIST, PLAN, COUNT_RESOURCES, COUNT_SUBJECTS, LOOKUP])
async def test_who_may_not(stored: Wire, path: str) -> None:
    """Credentials, scopes and stores as on the wire's own paths."""
    body = {LIST: ASKED, PLAN: {}, COUNT_SUBJECTS: SUBJECTS}.get(path, RESOURCES)
    assert (await stored.refused(path, body, authorization="")).told == (401, 16, "")
    reader = f"Bearer {READ_ONLY_TOKEN}"
    assert (await stored.refused(path, body, authorization=reader)).told == (403, 7, "")
    assert (await stored.refused(path, body, tessera_store="nowhere")).told == (404, 5, "")
    assert (await stored.refused(path, b"[")).told == (400, 3, "")
    assert (await stored.client.get(path)).status_code == 501
