"""OpenFGA's models in JSON and in modules."""

import json
from typing import Any

import pytest

from schema.errors import SchemaError
from schema.model import (
    AllowedSubject,
    CaveatType,
    ComputedUserset,
    Exclusion,
    Intersection,
    This,
    TupleToUserset,
    Union,
)
from schema.openfga.compile import compile_json, compile_modules

INVALID, VALIDATION = "invalid_authorization_model", "validation_error"

MODEL: dict[str, Any] = {
    "schema_version": "1.1",
    "type_definitions": [
        {"type": "user"},
        {
            "type": "doc",
            "relations": {
                "par": {"this": {}},
                "aa": {"union": {"child": [{"this": {}}, {"computedUserset": {"object": "", "relation": "bb"}}]}},
                "bb": {"this": {}},
                "cc": {
                    "difference": {
                        "base": {
                            "tupleToUserset": {"tupleset": {"relation": "par"}, "computedUserset": {"relation": "aa"}}
                        },
                        "subtract": {
                            "intersection": {
                                "child": [
                                    {"computedUserset": {"relation": "aa"}},
                                    {"computedUserset": {"relation": "bb"}},
                                ]
                            }
                        },
                    }
                },
            },
            "metadata": {
                "relations": {
                    "par": {"directly_related_user_types": [{"type": "doc"}]},
                    "aa": {
                        "directly_related_user_types": [
                            {"type": "user", "condition": "c1"},
                            {"type": "user", "wildcard": {}},
                        ]
                    },
                    "bb": {
                        "directly_related_user_types": [{"type": "doc", "relation": "aa"}],
                        "module": "",
                        "source_info": None,
                    },
                    "cc": {"directly_related_user_types": []},
                    "undefined": {"directly_related_user_types": []},
                },
                "module": "core",
            },
        },
    ],
    "conditions": {
        "c1": {
            "name": "c1",
            "expression": "l[0].x == 1",
            "parameters": {
                "l": {
                    "type_name": "TYPE_NAME_LIST",
                    "generic_types": [
                        {
                            "type_name": "TYPE_NAME_MAP",
                            "generic_types": [{"type_name": "TYPE_NAME_ANY", "generic_types": []}],
                        }
                    ],
                },
                "unused": {"type_name": "TYPE_NAME_UINT"},
            },
        }
    },
}


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """The model with one place in it changed; ``...`` takes it away."""
    model = json.loads(json.dumps(MODEL))
    at = model
    for step in path[:-1]:
        at = at[step]
    if to is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return model  # type: ignore[no-any-return]


RELATIONS = ("type_definitions", 1, "relations")
METADATA = ("type_definitions", 1, "metadata", "relations")


def test_json() -> None:
    """Everything that a model can say."""
    schema = compile_json(MODEL)
    doc = schema.definitions["doc"].relations
    assert doc["aa"].rewrite == Union((This(), ComputedUserset("bb")))
    assert doc["aa"].allowed == (AllowedSubject("user", caveat="c1"), AllowedSubject("user", wildcard=True))
    assert doc["bb"].allowed == (AllowedSubject("doc", "aa"),)
    assert doc["cc"].rewrite == Exclusion(
        TupleToUserset("par", "aa"), Intersection((ComputedUserset("aa"), ComputedUserset("bb")))
    )
    any_map = CaveatType("map", (CaveatType("any"),))
    assert schema.caveats["c1"].parameters == {"l": CaveatType("list", (any_map,)), "unused": CaveatType("uint")}


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(changed(*RELATIONS, "cc", to={"computed_userset": {"relation": "aa"}}), id="snake case"),
        pytest.param(
            changed(
                *RELATIONS,
                "cc",
                to={"tuple_to_userset": {"tupleset": {"relation": "par"}, "computed_userset": {"relation": "aa"}}},
            ),
            id="snake case within",
        ),
        pytest.param(
            changed(*METADATA, "par", "directly_related_user_types", to=[{"type": "doc"}, {"type": "doc"}]),
            id="a restriction twice",
        ),
        pytest.param(
            changed(*METADATA, "bb", "directly_related_user_types", to=[{"type": "user", "relation": ""}]),
            id="an empty relation",
        ),
        pytest.param(
            changed(*RELATIONS, "bb", to={"union": {"child": [{"this": {}}, {"this": {}}]}}), id="this twice"
        ),
        pytest.param(changed("conditions", "c1", "parameters", to={}) | {}, id="no parameters"),
        pytest.param({**MODEL, "ignored": 1, "schema_version": "1.2"}, id="what is not known is ignored"),
    ],
)
def test_json_that_is_accepted(model: dict[str, Any]) -> None:
    """What the API does not refuse."""
    if not model["conditions"]["c1"]["parameters"]:
        model["conditions"]["c1"]["expression"] = "true"
    compile_json(model)


JSON_REFUSED = [
    ([], VALIDATION, "no object"),
    ({}, VALIDATION, "an empty object"),
    (changed("schema_version", to="1.0"), INVALID, "the version before"),
    (changed("schema_version", to=1.1), VALIDATION, "a version that is a number"),
    (changed("type_definitions", to=[]), VALIDATION, "no types"),
    (changed("type_definitions", to={}), VALIDATION, "types that are no list"),
    (changed("type_definitions", 0, to={"type": "doc"}), INVALID, "a type twice"),
    (changed("type_definitions", 0, to={"type": "self"}), INVALID, "a type named self"),
    (changed("type_definitions", 0, to={"type": "a b"}), INVALID, "a type with a blank"),
    (changed("type_definitions", 0, to={}), VALIDATION, "a type without a name"),
    (changed("type_definitions", 0, to="user"), VALIDATION, "a type that is a string"),
    (changed(*RELATIONS, "aa", to={}), INVALID, "an empty rewrite"),
    (changed(*RELATIONS, "aa", to={"this": {}, "union": {}}), INVALID, "two rewrites in one"),
    (changed(*RELATIONS, "aa", to={"union": {"child": [{"this": {}}]}}), INVALID, "one child"),
    (changed(*RELATIONS, "aa", to={"difference": {"base": {"this": {}}}}), VALIDATION, "nothing to subtract"),
    (changed(*RELATIONS, "aa", to={"computedUserset": {}}), VALIDATION, "no relation"),
    (changed(*RELATIONS, "bb", to={"computedUserset": {"relation": "zz"}}), INVALID, "unknown"),
    (changed(*RELATIONS, "cc", to={"computedUserset": {"relation": "cc"}}), INVALID, "itself"),
    (changed(*RELATIONS, "cc", to={"this": {}}), INVALID, "assigned to no type"),
    (changed(*RELATIONS, "par", to={"computedUserset": {"relation": "bb"}}), INVALID, "not assigned"),
    (changed(*METADATA, "par", to=...), INVALID, "no restrictions at all"),
    (changed(*METADATA, "bb", "directly_related_user_types", 0, to={"type": "zz"}), INVALID, "no type"),
    (
        changed(*METADATA, "bb", "directly_related_user_types", 0, to={"type": "doc", "relation": "zz"}),
        INVALID,
        "no such relation",
    ),
    (
        changed(
            *METADATA, "bb", "directly_related_user_types", 0, to={"type": "doc", "relation": "aa", "wildcard": {}}
        ),
        VALIDATION,
        "both",
    ),
    (changed(*METADATA, "aa", "directly_related_user_types", 0, "condition", to="c2"), INVALID, "no such condition"),
    (
        changed(*METADATA, "par", "directly_related_user_types", 0, "wildcard", to={}),
        INVALID,
        "a tupleset with a wildcard",
    ),
    (changed(*METADATA, to=[]), VALIDATION, "metadata that is a list"),
    (changed("conditions", "c1", "name", to="c2"), INVALID, "a condition under another key"),
    (changed("conditions", "c1", "expression", to="1"), INVALID, "a condition that is a number"),
    (changed("conditions", "c1", "expression", to="'" + "x" * 511 + "' == ''"), VALIDATION, "a long condition"),
    (changed("conditions", "c1", "parameters", "l", "type_name", to="TYPE_NAME_X"), INVALID, "no type"),
    (changed("conditions", "c1", "parameters", "l", "generic_types", to=[]), INVALID, "a list of nothing"),
    (
        changed("conditions", "c1", "parameters", to={f"p{n}": {"type_name": "TYPE_NAME_INT"} for n in range(26)}),
        VALIDATION,
        "26 parameters",
    ),
    (changed("conditions", to={f"c{n}": {} for n in range(26)}), VALIDATION, "26 conditions"),
    (changed("type_definitions", to=[{"type": f"t{n}"} for n in range(101)]), "exceeded_entity_limit", "101 types"),
]


@pytest.mark.parametrize(("model", "code"), [pytest.param(*row[:2], id=row[2]) for row in JSON_REFUSED])
def test_json_that_is_refused(model: Any, code: str) -> None:
    """With the code that OpenFGA's API answers with."""
    with pytest.raises(SchemaError) as refused:
        compile_json(model)
    assert refused.value.errors[0].names.get("openfga_code", INVALID) == code


def test_json_that_nests_too_deeply() -> None:
    """No recursion error comes out."""
    deep: dict[str, Any] = {"this": {}}
    for _ in range(400):
        deep = {"union": {"child": [deep, {"this": {}}]}}
    with pytest.raises(SchemaError, match="nested more than 100 deep"):
        compile_json(changed(*RELATIONS, "bb", to=deep))


# Modules

MODULES = {
    "core.fga": "module core\ntype user\ntype organization\n  relations\n    define member: [user]\n",
    "wiki/wiki.fga": (
        "module wiki\nextend type organization\n  relations\n    define can_create_space: member\n"
        "type space\n  relations\n    define organization: [organization]\n"
        "    define can_read: member from organization and [user]\n".replace(" and [user]", "")
        + "condition c1(x: int) { x > 1 }\n"
    ),
    "issues.fga": (
        "module issues\nextend type organization\n  relations\n    define can_create_project: member\n"
        "type project\n  relations\n    define viewer: [user with c1]\n"
    ),
}
MANIFEST = "schema: '1.2'\ncontents:\n  - core.fga\n  - wiki/wiki.fga\n  - issues.fga\n"


def test_modules() -> None:
    """Types are extended from other files, in whatever order."""
    schema = compile_modules(MANIFEST, MODULES.__getitem__)
    assert list(schema.definitions) == ["user", "organization", "space", "project"]
    assert list(schema.definitions["organization"].relations) == ["member", "can_create_space", "can_create_project"]
    reordered = "schema: '1.2'\ncontents: [issues.fga, wiki/wiki.fga, core.fga]\n"
    assert compile_modules(reordered, MODULES.__getitem__) == schema


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ("", "has `schema` and `contents`"),
        ("schema: 1.2\ncontents: [core.fga]", "must be '1.2', in quotes"),
        ("schema: '1.1'\ncontents: [core.fga]", "must be '1.2'"),
        ("schema: '1.2'", "lists at least one"),
        ("schema: '1.2'\ncontents: []", "lists at least one"),
        ("schema: '1.2'\ncontents: [1]", "lists at least one"),
        ("schema: '1.2'\ncontents: [../core.fga]", "has no `..`"),
        ("schema: '1.2'\ncontents: [/core.fga]", "is relative"),
        ("schema: '1.2'\ncontents: [core.txt]", "ends in `.fga`"),
        ("schema: '1.2'\ncontents: [core.fga, core.fga]", "lists a file twice"),
        ("schema: '1.2'\ncontents: [nothing.fga]", "cannot read `nothing.fga`"),
        ("schema: [", "no YAML"),
        ("[" * 5_000, "no YAML"),
    ],
)
def test_manifests_that_are_refused(manifest: str, reason: str) -> None:
    """With the reason, in the manifest's name."""

    def read(path: str) -> str:
        if path not in MODULES:
            raise FileNotFoundError(2, "No such file or directory", path)
        return MODULES[path]

    with pytest.raises(SchemaError) as refused:
        compile_modules(manifest, read)
    assert reason in refused.value.errors[0].message
    assert refused.value.errors[0].file == "fga.mod"


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [
        ("core.fga", "model\n  schema 1.1\ntype user\n", "invalid-syntax"),
        ("core.fga", "module core\ntype user\n", "invalid-type"),
        ("core.fga", "type user\n", "schema-version-required"),
        ("issues.fga", "module issues\ntype user\n", "duplicated-error"),
        ("issues.fga", "module a\nmodule b\ntype x\n", "invalid-syntax"),
        (
            "issues.fga",
            "module issues\nextend type organization\n  relations\n    define member: [user]\n",
            "duplicated-error",
        ),
        (
            "issues.fga",
            "module issues" + 2 * "\nextend type user\n  relations\n    define aa: [user]" + "\n",
            "duplicated-error",
        ),
        ("issues.fga", "module issues\nextend type nothing\n  relations\n    define aa: [user]\n", "invalid-type"),
    ],
)
def test_modules_that_are_refused(file: str, text: str, code: str) -> None:
    """By the file they are in."""
    files = {**MODULES, file: text}
    with pytest.raises(SchemaError) as refused:
        compile_modules(MANIFEST, files.__getitem__)
    assert code in [one.code for one in refused.value.errors]


def test_problems_of_modules_are_told_by_file() -> None:
    """Lines count within each."""
    files = {
        **MODULES,
        "issues.fga": "module issues\n\ntype project\n  relations\n    define viewer: [usr with c1]\n",
    }
    with pytest.raises(SchemaError) as refused:
        compile_modules(MANIFEST, files.__getitem__)
    (problem,) = refused.value.errors
    assert (problem.file, problem.position.line, problem.code) == ("issues.fga", 5, "invalid-type")
