"""CheckPermission, CheckBulkPermissions and ExpandPermissionTree as a caller meets them."""

from typing import Any

import pytest

from tests.api.wire import Wire, on_wire, question, updates

CHECK, BULK, EXPAND = "/v1/permissions/check", "/v1/permissions/checkbulk", "/v1/permissions/expand"
ANN = "document:one#view@user:ann"
HOURS = "document:late#viewer@user:ann[office_hours]"
LATE = "document:late#view@user:ann"


# --- Check -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told", "metadata"),
    [
        pytest.param(
            "docment:one#view@user:ann", (400, 9, "UNKNOWN_DEFINITION"), {"definition_name": "docment"}, id="t"
        ),
        pytest.param(
            "document:one#veiw@user:ann",
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            {"definition_name": "document", "relation_or_permission_name": "veiw"},
            id="unknown permission",
        ),
        pytest.param(
            "document:one#@user:ann",
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            {"definition_name": "document", "relation_or_permission_name": ""},
            id="no permission",
        ),
        pytest.param(
            "document:one#view@usr:ann", (400, 9, "UNKNOWN_DEFINITION"), {"definition_name": "usr"}, id="subject type"
        ),
        pytest.param(
            "document:one#view@group:eng#membre",
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            {"definition_name": "group", "relation_or_permission_name": "membre"},
            id="subject relation",
        ),
        pytest.param(
            "document:one#view@user:*",
            (400, 3, "WILDCARD_NOT_ALLOWED"),
            {"field": "subject.object_id"},
            id="everybody as subject",
        ),
        pytest.param("document:*#view@user:ann", (400, 3, ""), {}, id="everything as resource"),
    ],
)
async def test_questions_that_are_refused(
    wire: Wire, asked: str, told: tuple[int, int, str], metadata: dict[str, str]
) -> None:
    """semantics 9 and 27: an unknown name is an error and never a no."""
    refused = await wire.refused(CHECK, question(asked))
    assert refused.told == told
    assert refused.metadata == metadata


async def test_before_there_is_a_schema(empty_wire: Wire) -> None:
    """semantics 27: also before any schema exists."""
    assert (await empty_wire.refused(CHECK, question(ANN))).reason == "UNKNOWN_DEFINITION"


async def test_unknown_ids_are_no_error(wire: Wire) -> None:
    """semantics 27: nobody has anything on what nobody wrote about."""
    assert await wire.has("document:nothing#view@user:nobody") == "NO"


async def test_the_answer(wire: Wire) -> None:
    """Every member, and none beyond the wire."""
    token = await wire.touch("document:one#viewer@user:ann")
    assert await wire.ok(CHECK, question(ANN)) == {
        "checkedAt": {"token": token},
        "permissionship": "PERMISSIONSHIP_HAS_PERMISSION",
        "partialCaveatInfo": None,
        "debugTrace": None,
        "optionalExpiresAt": None,
    }


async def test_missing_context(wire: Wire) -> None:
    """semantics 6: conditional, with the names that are missing."""
    await wire.touch(HOURS)
    answer = await wire.ok(CHECK, question(LATE))
    assert answer["permissionship"] == "PERMISSIONSHIP_CONDITIONAL_PERMISSION"
    assert answer["partialCaveatInfo"] == {"missingRequiredContext": ["hour"]}


@pytest.mark.parametrize(
    ("hour", "held"),
    [(10, "HAS"), ("10", "HAS"), (10.0, "HAS"), (20, "NO"), (-1, "NO")],
)
async def test_context(wire: Wire, hour: Any, held: str) -> None:
    """semantics 30: a number or a numeric string; an unknown name is not looked at."""
    await wire.touch(HOURS)
    assert await wire.has(LATE, context={"hour": hour, "unknown": []}) == held


@pytest.mark.parametrize("hour", [10.5, "noon", True, None, [], {}, "0x1"])
async def test_context_of_the_wrong_type(wire: Wire, hour: Any) -> None:
    """semantics 30: a type error names caveat and parameter; null is one too, not "missing"."""
    await wire.touch(HOURS)
    refused = await wire.refused(CHECK, {**question(LATE), "context": {"hour": hour}})
    assert refused.told == (400, 3, "CAVEAT_PARAMETER_TYPE_ERROR")
    assert refused.metadata == {"caveat_name": "office_hours", "parameter_name": "hour"}


async def test_a_stored_context_wins(wire: Wire) -> None:
    """semantics 5: a caller cannot forge what a relationship says."""
    relationship = on_wire(HOURS)
    relationship["optionalCaveat"]["context"] = {"hour": 3}
    await wire.ok("/v1/relationships/write", {"updates": [{"operation": 2, "relationship": relationship}]})
    assert await wire.has(LATE, context={"hour": 10}) == "NO"


async def test_an_oversized_context(wire: Wire) -> None:
    """4096 bytes as a serialized Struct."""
    refused = await wire.refused(CHECK, {**question(LATE), "context": {"a": "x" * 4_096}})
    assert refused.told == (400, 3, "")
    assert refused.message == "request caveat context should have less than 4096 bytes but had 4108"


async def test_a_caveat_that_fails(empty_wire: Wire) -> None:
    """A division by zero is an error that names the caveat, unless another branch grants."""
    await empty_wire.schema(
        "caveat share(n int) { 10 / n > 1 }\ndefinition user {}\n"
        "definition document {\n relation viewer: user with share | user\n relation other: user\n"
        " permission view = viewer + other\n}"
    )
    await empty_wire.touch("document:one#viewer@user:ann[share]")
    asked = {**question(ANN), "context": {"n": 0}}
    refused = await empty_wire.refused(CHECK, asked)
    assert refused.told == (400, 3, "CAVEAT_EVALUATION_ERROR")
    assert refused.metadata == {"caveat_name": "share"}
    await empty_wire.touch("document:one#other@user:ann")
    assert await empty_wire.has(ANN, context={"n": 0}) == "HAS"


async def test_expiry(wire: Wire) -> None:
    """semantics 16: the earliest time at which the answer may change is told."""
    relationship = {**on_wire("document:one#viewer@user:ann"), "optionalExpiresAt": "2300-01-01T00:00:00Z"}
    await wire.ok("/v1/relationships/write", {"updates": [{"operation": 2, "relationship": relationship}]})
    answer = await wire.ok(CHECK, question(ANN))
    assert answer["permissionship"] == "PERMISSIONSHIP_HAS_PERMISSION"
    assert answer["optionalExpiresAt"] == "2300-01-01T00:00:00Z"


async def test_a_cycle_of_groups(wire: Wire) -> None:
    """semantics 7: answered, both ways."""
    await wire.touch(
        "group:aaa#member@group:bbb#member",
        "group:bbb#member@group:aaa#member",
        "group:bbb#member@user:ann",
        "document:one#viewer@group:aaa#member",
        "group:xxx#member@group:xxx#member",
    )
    assert await wire.has(ANN) == "HAS"
    assert await wire.has("document:one#view@user:bob") == "NO"
    assert await wire.has("group:xxx#member@user:bob") == "NO"


async def test_a_userset_holds_itself(wire: Wire) -> None:
    """semantics 8: without any data."""
    assert await wire.has("group:eng#member@group:eng#member") == "HAS"
    assert await wire.has("document:one#view@document:one#view") == "HAS"
    assert await wire.has("document:one#view@document:two#view") == "NO"


async def test_a_userset_is_not_everybody_in_it(wire: Wire) -> None:
    """semantics 9: nor does the wildcard cover it."""
    await wire.touch("document:one#viewer@user:*", "group:eng#member@user:ann")
    assert await wire.has("document:one#view@group:eng#member") == "NO"
    await wire.touch("document:one#viewer@group:eng#member")
    assert await wire.has("document:one#view@group:eng#member") == "HAS"
    assert await wire.has("document:one#view@group:eng") == "NO"


async def test_an_answer_that_rests_on_its_own_negation(empty_wire: Wire) -> None:
    """No value: an error that names the circle, and only for whom it matters."""
    await empty_wire.schema(
        "definition user {}\ndefinition group {\n relation member: user | group#allowed\n"
        " relation banned: group#allowed\n permission allowed = member - banned\n}"
    )
    await empty_wire.touch("group:one#member@user:ann", "group:one#banned@group:one#allowed")
    refused = await empty_wire.refused(CHECK, question("group:one#allowed@user:ann"))
    assert refused.told == (400, 9, "NEGATION_CYCLE")
    assert "group:one#allowed" in refused.message
    assert await empty_wire.has("group:one#allowed@user:bob") == "NO"


# --- Freshness ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("consistency", [None, {"minimizeLatency": True}, {"fullyConsistent": True}])
async def test_reads_its_own_writes(wire: Wire, consistency: dict[str, Any] | None) -> None:
    """semantics 13: whatever was acknowledged here counts at once, by every mode."""
    for turn in range(20):
        await wire.touch(f"document:d{turn}#viewer@user:ann")
        assert await wire.has(f"document:d{turn}#view@user:ann", consistency=consistency) == "HAS"
        await wire.ok("/v1/relationships/write", updates("DELETE", f"document:d{turn}#viewer@user:ann"))
        assert await wire.has(f"document:d{turn}#view@user:ann", consistency=consistency) == "NO"


async def test_zookies(wire: Wire) -> None:
    """An exact snapshot is as it was; at least as fresh is no older."""
    before = await wire.touch("document:one#viewer@user:ann")
    after = (await wire.ok("/v1/relationships/write", updates("DELETE", "document:one#viewer@user:ann")))["writtenAt"]
    assert await wire.has(ANN, consistency={"atExactSnapshot": {"token": before}}) == "HAS"
    assert await wire.has(ANN, consistency={"atExactSnapshot": after}) == "NO"
    assert await wire.has(ANN, consistency={"atLeastAsFresh": {"token": before}}) == "NO"
    answer = await wire.ok(CHECK, {**question(ANN), "consistency": {"atExactSnapshot": {"token": before}}})
    assert answer["checkedAt"]["token"] == before


@pytest.mark.parametrize("mode", ["atLeastAsFresh", "atExactSnapshot"])
@pytest.mark.parametrize(
    "token",
    ["x", "AAAA", "!!!!", "é", "A" * 36, "GgUKAzYwMA==", "x" * 10_000],
    ids=["short", "bytes", "signs", "letters", "as long", "another system's", "long"],
)
async def test_zookies_of_no_kind(wire: Wire, mode: str, token: str) -> None:
    """InvalidArgument, without a reason."""
    refused = await wire.refused(CHECK, {**question(ANN), "consistency": {mode: {"token": token}}})
    assert refused.told == (400, 3, "")
    assert refused.message.startswith("invalid revision requested")


async def test_a_forged_zookie(wire: Wire) -> None:
    """Changing any character makes it another store's, another time's or nobody's."""
    token = await wire.touch("document:one#viewer@user:ann")
    for at in range(len(token)):
        forged = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        refused = await wire.refused(CHECK, {**question(ANN), "consistency": {"atExactSnapshot": {"token": forged}}})
        assert refused.told == (400, 3, "")


# --- Bulk --------------------------------------------------------------------------------------------------------


def items(*asked: str, **members: Any) -> dict[str, Any]:
    """A bulk check."""
    return {"items": [{**question(text), **members} for text in asked]}


async def test_bulk_keeps_the_order(wire: Wire) -> None:
    """semantics 24: the request of each pair, and its answer."""
    await wire.touch("document:one#viewer@user:ann", HOURS)
    asked = [ANN, "document:one#view@user:bob", LATE, ANN]
    answer = await wire.ok(BULK, items(*asked))
    found = []
    for pair, text in zip(answer["pairs"], asked, strict=True):
        assert pair["request"]["resource"] == question(text)["resource"]
        assert "error" not in pair
        found.append((pair["item"]["permissionship"], pair["item"]["partialCaveatInfo"]))
    assert found == [
        ("PERMISSIONSHIP_HAS_PERMISSION", None),
        ("PERMISSIONSHIP_NO_PERMISSION", None),
        ("PERMISSIONSHIP_CONDITIONAL_PERMISSION", {"missingRequiredContext": ["hour"]}),
        ("PERMISSIONSHIP_HAS_PERMISSION", None),
    ]
    assert answer["checkedAt"]["token"]


async def test_bulk_errors_are_each_items_own(wire: Wire) -> None:
    """semantics 24: items fail in their place; the others are answered."""
    await wire.touch("document:one#viewer@user:ann")
    asked = ["docment:one#view@user:ann", ANN, "document:one#veiw@user:ann", "document:one#view@user:*", ANN]
    pairs = (await wire.ok(BULK, items(*asked)))["pairs"]
    reasons = [pair["error"]["details"][0]["reason"] if "error" in pair else "" for pair in pairs]
    assert reasons == [
        "ERROR_REASON_UNKNOWN_DEFINITION",
        "",
        "ERROR_REASON_UNKNOWN_RELATION_OR_PERMISSION",
        "ERROR_REASON_WILDCARD_NOT_ALLOWED",
        "",
    ]
    assert pairs[0]["error"]["code"] == 9
    assert "item" not in pairs[0]


async def test_bulk_contexts_do_not_leak(wire: Wire) -> None:
    """semantics 24: the same question under different contexts has different answers."""
    await wire.touch(HOURS)
    contexts: list[dict[str, Any]] = [{"hour": 10}, {}, {"hour": 20}, {"hour": "10"}, {"hour": [1]}]
    body = {"items": [{**question(LATE), "context": context} for context in contexts]}
    pairs = (await wire.ok(BULK, body))["pairs"]
    found = [pair["item"]["permissionship"] if "item" in pair else pair["error"]["code"] for pair in pairs]
    assert found == [
        "PERMISSIONSHIP_HAS_PERMISSION",
        "PERMISSIONSHIP_CONDITIONAL_PERMISSION",
        "PERMISSIONSHIP_NO_PERMISSION",
        "PERMISSIONSHIP_HAS_PERMISSION",
        3,
    ]


async def test_bulk_of_nothing(wire: Wire) -> None:
    """An empty list of pairs."""
    assert (await wire.ok(BULK, {}))["pairs"] == []


async def test_bulk_on_every_resource(wire: Wire) -> None:
    """A resource `*` has nobody on it, and is no mistake here."""
    await wire.touch("document:one#viewer@user:ann")
    (pair,) = (await wire.ok(BULK, items("document:*#view@user:ann")))["pairs"]
    assert pair["item"]["permissionship"] == "PERMISSIONSHIP_NO_PERMISSION"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(items(ANN, "Document:one#view@user:ann"), (400, 3, ""), id="a malformed name in one item"),
        pytest.param({"items": [question(ANN), {}]}, (400, 3, ""), id="an item without anything"),
        pytest.param(items(ANN, context={"a": "x" * 4_096}), (400, 3, ""), id="an oversized context in one item"),
        pytest.param(items(*[ANN] * 10_001), (400, 3, "TOO_MANY_CHECKS_IN_REQUEST"), id="too many"),
        pytest.param(
            {**items(ANN), "consistency": {"atExactSnapshot": {"token": "x"}}}, (400, 3, ""), id="a zookie of no kind"
        ),
    ],
)
async def test_bulks_that_are_refused(wire: Wire, body: dict[str, Any], told: tuple[int, int, str]) -> None:
    """semantics 24: what is malformed fails the whole call."""
    refused = await wire.refused(BULK, body)
    assert refused.told == told
    if refused.reason:
        assert refused.metadata == {"check_count": "10001", "maximum_checks_allowed": "10000"}


async def test_the_largest_bulk(wire: Wire) -> None:
    """Ten thousand items, all at one revision."""
    await wire.touch(*(f"document:d{number}#viewer@user:ann" for number in range(0, 1_000, 2)))
    asked = [f"document:d{number % 1_000}#view@user:ann" for number in range(10_000)]
    pairs = (await wire.ok(BULK, items(*asked)))["pairs"]
    held = [pair["item"]["permissionship"] == "PERMISSIONSHIP_HAS_PERMISSION" for pair in pairs]
    assert held == [number % 2 == 0 for number in range(10_000)]


# --- Expand ------------------------------------------------------------------------------------------------------


def drawn(tree: dict[str, Any]) -> Any:
    """A tree in short: a leaf as its subjects, a branch as its operation and children."""
    if "leaf" in tree:
        return sorted(
            f"{one['object']['objectType']}:{one['object']['objectId']}"
            + (f"#{one['optionalRelation']}" if one["optionalRelation"] else "")
            for one in tree["leaf"]["subjects"]
        )
    branch = tree["intermediate"]
    return branch["operation"].removeprefix("OPERATION_"), [drawn(child) for child in branch["children"]]


async def test_expand_a_permission(wire: Wire) -> None:
    """semantics 11: an outer union always; usersets are shown, not followed; caveats are not shown."""
    await wire.touch(
        "document:one#viewer@user:ann[office_hours]",
        "document:one#viewer@group:eng#member",
        "document:one#viewer@user:*",
        "document:one#banned@user:bob",
        "group:eng#member@user:cy",
    )
    answer = await wire.ok(EXPAND, {"resource": question(ANN)["resource"], "permission": "view"})
    assert drawn(answer["treeRoot"]) == (
        "UNION",
        [("EXCLUSION", [["group:eng#member", "user:*", "user:ann"], ["user:bob"]])],
    )
    assert answer["treeRoot"]["expandedObject"] == {"objectType": "document", "objectId": "one"}
    assert answer["treeRoot"]["expandedRelation"] == "view"
    assert answer["expandedAt"]["token"]


async def test_expand_a_relation(wire: Wire) -> None:
    """semantics 11: a leaf, empty where nobody is."""
    asked = {"resource": question(ANN)["resource"], "permission": "viewer"}
    answer = await wire.ok(EXPAND, asked)
    assert answer["treeRoot"] == {
        "leaf": {"subjects": []},
        "expandedObject": {"objectType": "document", "objectId": "one"},
        "expandedRelation": "viewer",
    }
    await wire.touch("document:one#viewer@user:ann")
    assert drawn((await wire.ok(EXPAND, asked))["treeRoot"]) == ["user:ann"]


async def test_expand_a_cycle(wire: Wire) -> None:
    """semantics 7: one level of nested groups, so no error."""
    await wire.touch("group:one#member@group:one#member")
    answer = await wire.ok(EXPAND, {"resource": {"objectType": "group", "objectId": "one"}, "permission": "member"})
    assert drawn(answer["treeRoot"]) == ["group:one#member"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param({}, (400, 3, ""), id="no resource"),
        pytest.param(
            {"resource": {"objectType": "document", "objectId": "one"}},
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            id="no permission",
        ),
        pytest.param(
            {"resource": {"objectType": "docment", "objectId": "one"}, "permission": "view"},
            (400, 9, "UNKNOWN_DEFINITION"),
            id="unknown type",
        ),
        pytest.param(
            {"resource": {"objectType": "document", "objectId": "*"}, "permission": "view"},
            (400, 3, ""),
            id="every resource",
        ),
    ],
)
async def test_expansions_that_are_refused(wire: Wire, body: dict[str, Any], told: tuple[int, int, str]) -> None:
    """As for a check."""
    assert (await wire.refused(EXPAND, body)).told == told


async def test_a_tree_too_deep_for_the_wire(empty_wire: Wire) -> None:
    """A chain of folders that no message can hold is told as that, whatever its length."""
    await empty_wire.schema(
        "definition user {}\ndefinition folder {\n relation parent: folder\n relation viewer: user\n"
        " permission view = viewer + parent->view\n}"
    )
    await empty_wire.touch(*(f"folder:f{n}#parent@folder:f{n + 1}" for n in range(300)))
    asked = {"resource": {"objectType": "folder", "objectId": "f0"}, "permission": "view"}
    refused = await empty_wire.refused(EXPAND, asked)
    assert refused.told == (400, 9, "MAXIMUM_DEPTH_EXCEEDED")
    assert refused.metadata == {"maximum_depth_allowed": "45"}
    await empty_wire.ok(EXPAND, {**asked, "resource": {"objectType": "folder", "objectId": "f290"}})
