"""SchemaService: writing, reading, reflecting and comparing a schema as a caller meets them."""

from typing import Any

import pytest

from tests.api.wire import SCHEMA, Wire, updates

WRITE, READ = "/v1/schema/write", "/v1/schema/read"
REFLECT, DIFF = "/v1/schema/reflectschema", "/v1/schema/diffschema"
COMPUTABLE, DEPENDENT = "/v1/schema/permissions/computable", "/v1/schema/permissions/dependent"

DOCUMENT = SCHEMA[SCHEMA.index("definition document") :]


# --- Writing and reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "why"),
    [
        pytest.param("definition", 1, 11, "", id="cut short"),
        pytest.param("definition user {", 1, 18, "", id="open brace"),
        pytest.param("definition user {}\ndefinition doc {\n relation x\n}", 3, 12, "", id="relation without a type"),
        pytest.param("definition user {}\ndéfinition doc {}", 2, 1, "", id="no keyword"),
        pytest.param("definition user { relation aaa: user }", 1, 38, "", id="member not ended"),
        pytest.param("use nonsense", 1, 5, "`nonsense`", id="unknown flag"),
        pytest.param("definition user {} @", 1, 20, "", id="unknown character"),
    ],
)
async def test_texts_that_cannot_be_read(wire: Wire, text: str, line: int, column: int, why: str) -> None:
    """SCHEMA_PARSE_ERROR with the place: in the message from 1, in the metadata from 0."""
    refused = await wire.refused(WRITE, {"schema": text})
    assert refused.told == (400, 3, "SCHEMA_PARSE_ERROR")
    assert refused.message.startswith(f"parse error in `schema`, line {line}, column {column}: ")
    assert why in refused.message
    assert refused.metadata["start_line_number"] == str(line - 1)
    assert refused.metadata["start_column_position"] == str(column - 1)
    assert set(refused.metadata) == {
        "start_line_number",
        "start_column_position",
        "end_line_number",
        "end_column_position",
        "source_code",
    }


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        pytest.param(
            "definition document { relation viewer: usr\n}",
            {"definition_name": "usr", "relation_name": "viewer"},
            id="unknown type",
        ),
        pytest.param(
            "definition user {}\ndefinition document { relation viewer: user#friend\n}",
            {"definition_name": "user", "relation_or_permission_name": "friend"},
            id="unknown subject relation",
        ),
        pytest.param(
            "definition user {}\ndefinition document { permission view = veiwer\n}",
            {"definition_name": "document", "relation_or_permission_name": "veiwer"},
            id="unknown name in an expression",
        ),
        pytest.param(
            "definition user {}\ndefinition document { permission view = view\n}",
            {"definition_name": "document", "permission_name": "view"},
            id="a permission of itself",
        ),
        pytest.param(
            "definition user {}\ndefinition document {\nrelation viewer: user with nothing\n}",
            {"definition_name": "document", "relation_name": "viewer"},
            id="unknown caveat",
        ),
        pytest.param(
            "definition document {\nrelation parent: document\npermission aaa = parent\npermission bbb = aaa->bbb\n}",
            {"definition_name": "document", "permission_name": "bbb"},
            id="a permission on the left of an arrow",
        ),
    ],
)
async def test_texts_that_mean_nothing(wire: Wire, text: str, metadata: dict[str, str]) -> None:
    """SCHEMA_TYPE_ERROR with the names concerned."""
    refused = await wire.refused(WRITE, {"schema": text})
    assert refused.told == (400, 9, "SCHEMA_TYPE_ERROR")
    assert metadata.items() <= refused.metadata.items()


async def test_a_near_name_is_told(wire: Wire) -> None:
    """An unknown name comes with the one that was perhaps meant."""
    mistaken = SCHEMA.replace("permission view = viewer", "permission view = veiwer")
    refused = await wire.refused(WRITE, {"schema": mistaken})
    assert "did you mean `viewer`?" in refused.message


async def test_an_oversized_schema(wire: Wire) -> None:
    """A body above the limit, which the text alone reaches: 413."""
    refused = await wire.refused(WRITE, {"schema": " " * (4 * 1024 * 1024)})
    assert refused.told == (413, 8, "")


async def test_no_schema_to_read(empty_wire: Wire) -> None:
    """NotFound, before the first one and after it was cleared."""
    assert (await empty_wire.refused(READ)).told == (404, 5, "")
    await empty_wire.schema()
    await empty_wire.ok(READ)
    await empty_wire.schema("// nothing\n")
    assert (await empty_wire.refused(READ)).told == (404, 5, "")


async def test_read_is_canonical(wire: Wire) -> None:
    """Caveats first, definitions by name, tabs; `use` lines that are needed."""
    await wire.schema(
        "use self\nuse expiration\ndefinition zzz {} /** a */ definition aaa { relation rrr: zzz with ccc; }\n"
        "caveat ccc(b int, a int) { a == b }"
    )
    assert (await wire.ok(READ))["schemaText"] == (
        "caveat ccc(a int, b int) {\n\ta == b\n}\n\n"
        "/** a */\ndefinition aaa {\n\trelation rrr: zzz with ccc\n}\n\ndefinition zzz {}\n"
    )


async def test_what_was_read_can_be_written(wire: Wire) -> None:
    """The canonical text is a schema, and its own canonical text."""
    text = (await wire.ok(READ))["schemaText"]
    await wire.schema(text)
    assert (await wire.ok(READ))["schemaText"] == text


async def test_a_write_is_seen_at_once(wire: Wire) -> None:
    """semantics 13: our own process answers by the schema that it acknowledged."""
    await wire.schema(SCHEMA + "definition folder { relation viewer: user\n}")
    await wire.touch("folder:one#viewer@user:ann")
    assert await wire.has("folder:one#viewer@user:ann") == "HAS"


@pytest.mark.parametrize(
    ("stored", "change", "operation", "metadata"),
    [
        pytest.param(
            "document:one#viewer@user:ann",
            (DOCUMENT, ""),
            "delete_object_definition",
            {"resource_type": "document", "relationship": "document:one#viewer@user:ann"},
            id="definition",
        ),
        pytest.param(
            "document:one#banned@user:ann",
            ("\trelation banned: user\n\tpermission view = viewer - banned\n", "\tpermission view = viewer\n"),
            "delete_relation",
            {"resource_type": "document", "relation": "banned"},
            id="relation",
        ),
        pytest.param(
            "document:one#banned@user:ann",
            ("relation banned: user", "permission banned = nil"),
            "delete_relation",
            {"resource_type": "document", "relation": "banned"},
            id="relation turned into a permission",
        ),
        pytest.param(
            "document:one#viewer@group:eng#member",
            ("| group#member | user with office_hours", "| user with office_hours"),
            "remove_allowed_type",
            {"resource_type": "document", "relation": "viewer", "allowed_type": "group#member"},
            id="subject type",
        ),
        pytest.param(
            "document:one#viewer@user:ann[office_hours]",
            (" | user with office_hours", ""),
            "remove_allowed_type",
            {"relation": "viewer", "allowed_type": "user with office_hours"},
            id="subject type with a caveat",
        ),
        pytest.param(
            "document:one#viewer@user:*",
            ("viewer: user | user:*", "viewer: user"),
            "remove_allowed_type",
            {"allowed_type": "user:*"},
            id="wildcard",
        ),
        pytest.param(
            "document:one#viewer@user:*",
            ("viewer: user | user:*", "viewer: user:*"),
            "remove_allowed_type",
            {"allowed_type": "user"},
            id="plain type while its wildcard is stored",
        ),
    ],
)
async def test_changes_that_would_orphan(
    wire: Wire, stored: str, change: tuple[str, str], operation: str, metadata: dict[str, str]
) -> None:
    """Refused while a relationship needs it, naming one; allowed once it is gone."""
    await wire.touch(stored)
    assert change[0] in SCHEMA
    text = SCHEMA.replace(*change)
    refused = await wire.refused(WRITE, {"schema": text})
    assert refused.told == (400, 3, "SCHEMA_TYPE_ERROR")
    assert refused.metadata["operation"] == operation
    assert metadata.items() <= refused.metadata.items()
    await wire.ok("/v1/relationships/write", updates("DELETE", stored))
    await wire.schema(text)


@pytest.mark.parametrize(
    ("change", "operation"),
    [
        pytest.param(("(hour int)", "(hour string)"), "change_parameter_type", id="retyped"),
        pytest.param(("(hour int) {\n\thour", "(other int) {\n\tother"), "remove_parameter", id="renamed"),
    ],
)
async def test_a_caveats_parameters_stay(wire: Wire, change: tuple[str, str], operation: str) -> None:
    """semantics 22: neither removed nor retyped, whether or not a relationship uses the caveat."""
    text = SCHEMA.replace(*change).replace("&& hour < 17", "").replace("hour >= 9", "hour == hour")
    text = text.replace("other >= 9", "other == other")
    refused = await wire.refused(WRITE, {"schema": text})
    assert refused.told == (400, 3, "SCHEMA_TYPE_ERROR")
    assert refused.metadata == {"operation": operation, "caveat_name": "office_hours", "parameter_name": "hour"}


async def test_a_parameter_may_be_added(wire: Wire) -> None:
    """semantics 22."""
    await wire.schema(SCHEMA.replace("(hour int) {\n\thour", "(hour int, day int) {\n\tday > 0 && hour"))


async def test_clearing_while_relationships_exist(wire: Wire) -> None:
    """The empty schema orphans everything."""
    await wire.touch("document:one#viewer@user:ann")
    assert (await wire.refused(WRITE, {})).told == (400, 3, "SCHEMA_TYPE_ERROR")


# --- Reflecting --------------------------------------------------------------------------------------------------

REFLECTED = """use expiration

// how late it is
caveat office_hours(hour int, day string) {
	hour < 17 && day != "sunday"
}

/** a person */
definition user {}

definition group {
	relation member: user
}

/** something written */
definition document {
	/** may read */
	relation viewer: user | user:* with office_hours | group#member | user with expiration
	relation parent: document
	// reading
	permission view = viewer + parent->view
	permission manage = nil
}
"""


@pytest.fixture
async def reflected(empty_wire: Wire) -> Wire:
    """A store with `REFLECTED`."""
    await empty_wire.schema(REFLECTED)
    return empty_wire


async def test_reflection(reflected: Wire) -> None:
    """Everything, definitions and parameters by name, members in written order, comments with their delimiters."""
    answer = await reflected.ok(REFLECT)
    assert [definition["name"] for definition in answer["definitions"]] == ["document", "group", "user"]
    document = answer["definitions"][0]
    assert document["comment"] == "/** something written */"
    assert [one["name"] for one in document["relations"]] == ["viewer", "parent"]
    assert [one["name"] for one in document["permissions"]] == ["view", "manage"]
    viewer = document["relations"][0]
    assert (viewer["comment"], viewer["parentDefinitionName"]) == ("/** may read */", "document")
    assert viewer["subjectTypes"] == [
        {"subjectDefinitionName": "user", "optionalCaveatName": "", "isTerminalSubject": True},
        {"subjectDefinitionName": "user", "optionalCaveatName": "office_hours", "isPublicWildcard": True},
        {"subjectDefinitionName": "group", "optionalCaveatName": "", "optionalRelationName": "member"},
        {"subjectDefinitionName": "user", "optionalCaveatName": "", "isTerminalSubject": True},
    ]
    assert document["permissions"][0] == {
        "name": "view",
        "comment": "// reading",
        "parentDefinitionName": "document",
    }
    (caveat,) = answer["caveats"]
    assert (caveat["name"], caveat["comment"]) == ("office_hours", "// how late it is")
    assert caveat["parameters"] == [
        {"name": "day", "type": "string", "parentCaveatName": "office_hours"},
        {"name": "hour", "type": "int", "parentCaveatName": "office_hours"},
    ]
    assert "hour < 17" in caveat["expression"]
    assert answer["readAt"]["token"]


@pytest.mark.parametrize(
    ("filters", "definitions", "caveats"),
    [
        pytest.param(
            [{"optionalDefinitionNameFilter": "doc"}], {"document": (2, 2)}, 0, id="definition hides caveats"
        ),
        pytest.param([{"optionalCaveatNameFilter": "off"}], {}, 1, id="caveat hides definitions"),
        pytest.param([{"optionalDefinitionNameFilter": "nothing"}], {}, 0, id="no match"),
        pytest.param(
            [{"optionalDefinitionNameFilter": "document", "optionalRelationNameFilter": "par"}],
            {"document": (1, 2)},
            0,
            id="a relation filter narrows relations only",
        ),
        pytest.param(
            [{"optionalDefinitionNameFilter": "document", "optionalPermissionNameFilter": "man"}],
            {"document": (2, 1)},
            0,
            id="a permission filter narrows permissions only",
        ),
        pytest.param(
            [{"optionalDefinitionNameFilter": "user"}, {"optionalCaveatNameFilter": "office"}],
            {"user": (0, 0)},
            1,
            id="filters are ORed",
        ),
        pytest.param([{}], {}, 0, id="an empty filter matches nothing"),
    ],
)
async def test_reflection_filters(
    reflected: Wire, filters: list[dict[str, str]], definitions: dict[str, tuple[int, int]], caveats: int
) -> None:
    """Prefixes."""
    answer = await reflected.ok(REFLECT, {"optionalFilters": filters})
    found = {one["name"]: (len(one["relations"]), len(one["permissions"])) for one in answer["definitions"]}
    assert (found, len(answer["caveats"])) == (definitions, caveats)


@pytest.mark.parametrize(
    "filter_",
    [
        pytest.param({"optionalRelationNameFilter": "viewer"}, id="relation alone"),
        pytest.param({"optionalPermissionNameFilter": "view"}, id="permission alone"),
        pytest.param(
            {"optionalDefinitionNameFilter": "d", "optionalCaveatNameFilter": "c"}, id="definition and caveat"
        ),
        pytest.param(
            {
                "optionalDefinitionNameFilter": "d",
                "optionalRelationNameFilter": "r",
                "optionalPermissionNameFilter": "p",
            },
            id="relation and permission",
        ),
    ],
)
async def test_reflection_filters_that_contradict(reflected: Wire, filter_: dict[str, str]) -> None:
    """INVALID_FILTER."""
    refused = await reflected.refused(REFLECT, {"optionalFilters": [filter_]})
    assert refused.told == (400, 3, "INVALID_FILTER")
    assert refused.metadata["filter"]


async def test_reflection_of_no_schema(empty_wire: Wire) -> None:
    """Empty lists."""
    answer = await empty_wire.ok(REFLECT)
    assert (answer["definitions"], answer["caveats"]) == ([], [])


async def test_reflection_at_a_revision(reflected: Wire) -> None:
    """semantics 22: the schema of the revision asked for."""
    before = await reflected.touch("document:one#viewer@user:ann")
    await reflected.schema(REFLECTED + "definition folder {}")
    at = {"consistency": {"atExactSnapshot": {"token": before}}}
    assert len((await reflected.ok(REFLECT, at))["definitions"]) == 3
    assert len((await reflected.ok(REFLECT))["definitions"]) == 4


# --- Comparing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        pytest.param(("", ""), [], id="nothing"),
        pytest.param(
            ("definition user {}", "definition user {}\ndefinition folder {}"), ["definitionAdded"], id="added"
        ),
        pytest.param(
            ("/** a person */", "/** somebody */"), ["definitionDocCommentChanged"], id="comment of a definition"
        ),
        pytest.param(
            ("relation member: user", "relation member: user\n relation x1x: user"), ["relationAdded"], id="r"
        ),
        pytest.param(("/** may read */", ""), ["relationDocCommentChanged"], id="comment of a relation"),
        pytest.param(
            ("relation member: user", "relation member: user | group#member"), ["relationSubjectTypeAdded"], id="type"
        ),
        pytest.param((" | group#member", ""), ["relationSubjectTypeRemoved"], id="type removed"),
        pytest.param(("permission manage = nil\n", ""), ["permissionRemoved"], id="permission removed"),
        pytest.param(
            ("permission manage = nil", "permission manage = nil\n permission more = nil"),
            ["permissionAdded"],
            id="p",
        ),
        pytest.param(("= nil", "= viewer"), ["permissionExprChanged"], id="expression"),
        pytest.param(("viewer + parent->view", "parent->view + viewer"), ["permissionExprChanged"], id="order"),
        pytest.param(("parent->view", "parent.any(view)"), ["permissionExprChanged"], id="spelling of an arrow"),
        pytest.param(("viewer + parent->view", "(viewer + parent->view)"), [], id="parentheses"),
        pytest.param(("// reading", "// looking"), ["permissionDocCommentChanged"], id="comment of a permission"),
        pytest.param(
            ("permission manage = nil", "relation manage: user"),
            ["permissionRemoved", "relationAdded"],
            id="permission turned relation",
        ),
        pytest.param(("// how late it is", "// when"), ["caveatDocCommentChanged"], id="comment of a caveat"),
        pytest.param(("hour < 17", "hour < 18"), ["caveatExprChanged"], id="caveat expression"),
        pytest.param(
            ('(hour int, day string) {\n\thour < 17 && day != "sunday"', "(hour int) {\n\thour < 17"),
            ["caveatExprChanged", "caveatParameterRemoved"],
            id="parameter removed",
        ),
        pytest.param(("(hour int, day", "(hour uint, day"), ["caveatParameterTypeChanged"], id="parameter retyped"),
        pytest.param(
            ("definition user {}", "definition user {}\ncaveat ccc(a int) { a > 0 }"),
            ["caveatAdded"],
            id="caveat added",
        ),
    ],
)
async def test_differences(reflected: Wire, change: tuple[str, str], kinds: list[str]) -> None:
    """Each kind by its name on the wire."""
    assert change[0] in REFLECTED
    answer = await reflected.ok(DIFF, {"comparisonSchema": REFLECTED.replace(*change, 1)})
    assert sorted(kind for diff in answer["diffs"] for kind in diff) == kinds
    assert all(len(diff) == 1 for diff in answer["diffs"])


async def test_what_a_difference_shows(reflected: Wire) -> None:
    """A removed part as it was, a changed one as it will be, a retyped parameter with both types."""
    other = REFLECTED.replace(" | group#member", "").replace("hour int", "hour uint")
    diffs = (await reflected.ok(DIFF, {"comparisonSchema": other}))["diffs"]
    found = {kind: shown for diff in diffs for kind, shown in diff.items()}
    assert found["relationSubjectTypeRemoved"]["relation"]["name"] == "viewer"
    assert found["relationSubjectTypeRemoved"]["changedSubjectType"] == {
        "subjectDefinitionName": "group",
        "optionalCaveatName": "",
        "optionalRelationName": "member",
    }
    assert found["caveatParameterTypeChanged"] == {
        "parameter": {"name": "hour", "type": "uint", "parentCaveatName": "office_hours"},
        "previousType": "int",
    }


async def test_difference_from_nothing(reflected: Wire) -> None:
    """The empty text is a schema."""
    diffs = (await reflected.ok(DIFF))["diffs"]
    assert sorted(kind for diff in diffs for kind in diff) == ["caveatRemoved", *["definitionRemoved"] * 3]


async def test_a_compared_schema_need_not_mean_anything(reflected: Wire) -> None:
    """It is not checked for types, but it must be readable."""
    await reflected.ok(DIFF, {"comparisonSchema": "definition document { relation viewer: nobody\n}"})
    refused = await reflected.refused(DIFF, {"comparisonSchema": "definition {"})
    assert refused.told == (400, 3, "SCHEMA_PARSE_ERROR")


# --- What depends on what ----------------------------------------------------------------------------------------


def names(found: list[dict[str, Any]]) -> list[str]:
    """References as ``type#name``, permissions with a ``!``."""
    return [f"{one['definitionName']}#{one['relationName']}{'!' if one['isPermission'] else ''}" for one in found]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        pytest.param({"definitionName": "document", "relationName": "viewer"}, ["document#view!"], id="relation"),
        pytest.param({"definitionName": "document", "relationName": "parent"}, ["document#view!"], id="tupleset"),
        pytest.param(
            {"definitionName": "group", "relationName": "member"}, ["document#view!", "document#viewer"], id="userset"
        ),
        pytest.param(
            {"definitionName": "user"}, ["document#view!", "document#viewer", "group#member"], id="a type's objects"
        ),
        pytest.param(
            {"definitionName": "user", "optionalDefinitionNameFilter": "gr"}, ["group#member"], id="with a filter"
        ),
        pytest.param({"definitionName": "document", "relationName": "manage"}, [], id="nothing"),
    ],
)
async def test_computable_permissions(reflected: Wire, body: dict[str, str], found: list[str]) -> None:
    """By name, itself left out."""
    assert names((await reflected.ok(COMPUTABLE, body))["permissions"]) == found


@pytest.mark.parametrize(
    ("permission", "found"),
    [
        pytest.param("view", ["document#parent", "document#viewer", "group#member"], id="everything below"),
        pytest.param("manage", [], id="nobody"),
    ],
)
async def test_dependent_relations(reflected: Wire, permission: str, found: list[str]) -> None:
    """All that a permission is computed from."""
    answer = await reflected.ok(DEPENDENT, {"definitionName": "document", "permissionName": permission})
    assert names(answer["relations"]) == found


@pytest.mark.parametrize(
    ("path", "body", "told", "metadata"),
    [
        pytest.param(
            COMPUTABLE,
            {"definitionName": "docment"},
            (400, 9, "SCHEMA_TYPE_ERROR"),
            {"definition_name": "docment"},
            id="computable: unknown definition",
        ),
        pytest.param(
            COMPUTABLE,
            {"definitionName": "document", "relationName": "veiwer"},
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            {"definition_name": "document", "relation_or_permission_name": "veiwer"},
            id="computable: unknown relation",
        ),
        pytest.param(
            COMPUTABLE, {}, (400, 9, "SCHEMA_TYPE_ERROR"), {"definition_name": ""}, id="computable: nothing"
        ),
        pytest.param(
            DEPENDENT,
            {"definitionName": "docment", "permissionName": "view"},
            (400, 9, "SCHEMA_TYPE_ERROR"),
            {"definition_name": "docment"},
            id="dependent: unknown definition",
        ),
        pytest.param(
            DEPENDENT,
            {"definitionName": "document", "permissionName": "veiw"},
            (400, 9, "UNKNOWN_RELATION_OR_PERMISSION"),
            {"definition_name": "document", "relation_or_permission_name": "veiw"},
            id="dependent: unknown permission",
        ),
        pytest.param(
            DEPENDENT,
            {"definitionName": "document", "permissionName": "viewer"},
            (400, 3, "UNKNOWN_RELATION_OR_PERMISSION"),
            {"definition_name": "document", "relationName": "viewer"},
            id="dependent: a relation",
        ),
    ],
)
async def test_questions_about_what_is_not_there(
    reflected: Wire, path: str, body: dict[str, str], told: tuple[int, int, str], metadata: dict[str, str]
) -> None:
    """An unknown definition is a type error here."""
    refused = await reflected.refused(path, body)
    assert refused.told == told
    assert refused.metadata == metadata
