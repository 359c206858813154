"""What a schema tells about itself: its parts by filter, what depends on what, and what is deprecated."""

import pytest

from schema.compile import compile_schema
from schema.dependencies import computable_permissions, dependent_relations
from schema.deprecation import deprecated_caveats, deprecated_definitions, deprecated_relations, deprecation
from schema.reflect import InvalidFilter, Reflection, ReflectionFilter, reflect

TEXT = """
/** who */
definition user {}
definition group { relation member: user | group#member; }
definition folder { relation viewer: user | group#member; permission view = viewer; }
definition doc {
	relation viewer: user
	// where
	relation parent: folder
	relation banned: user:*
	permission view = (viewer + parent->view) - banned
	permission edit = nil
	permission see = view
}
caveat later(b int, a int) { a == b }
caveat at_work(d string) { d == '' }
"""
SCHEMA = compile_schema(TEXT)


def shown(reflection: Reflection) -> dict[str, list[str]]:
    """Names, caveats marked with parentheses."""
    found = {
        one.definition.name: [member.name for member in (*one.relations, *one.permissions)]
        for one in reflection.definitions
    }
    return {**found, **{f"{caveat.name}()": list(caveat.parameters) for caveat in reflection.caveats}}


def test_everything() -> None:
    """By name; members in written order, relations before permissions."""
    assert shown(reflect(SCHEMA)) == {
        "doc": ["viewer", "parent", "banned", "view", "edit", "see"],
        "folder": ["viewer", "view"],
        "group": ["member"],
        "user": [],
        "at_work()": ["d"],
        "later()": ["b", "a"],
    }
    assert reflect(SCHEMA).definitions[3].definition.comment == "/** who */"
    assert reflect(SCHEMA).definitions[0].relations[1].comment == "// where"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([ReflectionFilter(definition="do")], {"doc": ["viewer", "parent", "banned", "view", "edit", "see"]}),
        ([ReflectionFilter(caveat="la")], {"later()": ["b", "a"]}),
        (
            [ReflectionFilter(definition="f"), ReflectionFilter(caveat="a")],
            {"folder": ["viewer", "view"], "at_work()": ["d"]},
        ),
        ([ReflectionFilter(definition="doc", relation="v")], {"doc": ["viewer", "view", "edit", "see"]}),
        ([ReflectionFilter(definition="doc", permission="v")], {"doc": ["viewer", "parent", "banned", "view"]}),
        (
            [ReflectionFilter(definition="doc", relation="v"), ReflectionFilter(definition="doc", permission="e")],
            {"doc": ["viewer", "parent", "banned", "view", "edit", "see"]},
        ),
        ([ReflectionFilter(definition="nothing")], {}),
        ([ReflectionFilter()], {}),
        ([ReflectionFilter(), ReflectionFilter(definition="user")], {"user": []}),
    ],
)
def test_filters(filters: list[ReflectionFilter], expected: dict[str, list[str]]) -> None:
    """Prefixes, any of which will do; one of relations leaves permissions whole, and the reverse."""
    assert shown(reflect(SCHEMA, filters)) == expected


@pytest.mark.parametrize(
    "one",
    [
        ReflectionFilter(definition="doc", caveat="at_work"),
        ReflectionFilter(definition="doc", relation="viewer", permission="view"),
        ReflectionFilter(relation="viewer"),
        ReflectionFilter(permission="view"),
        ReflectionFilter(caveat="at_work", relation="viewer"),
    ],
    ids=str,
)
def test_filters_that_contradict_themselves(one: ReflectionFilter) -> None:
    """Refused, also beside good ones."""
    with pytest.raises(InvalidFilter):
        reflect(SCHEMA, [ReflectionFilter(definition="doc"), one])


def test_an_empty_schema() -> None:
    """Has no parts."""
    assert shown(reflect(compile_schema(""))) == {}


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        (
            "doc#view",
            ["doc#banned", "doc#parent", "doc#viewer", "folder#view", "folder#viewer", "group#member"],
        ),
        (
            "doc#see",
            ["doc#banned", "doc#parent", "doc#view", "doc#viewer", "folder#view", "folder#viewer", "group#member"],
        ),
        ("doc#edit", []),
        ("folder#view", ["folder#viewer", "group#member"]),
        ("group#member", []),
    ],
)
def test_dependent_relations(permission: str, expected: list[str]) -> None:
    """All that it is computed from, through arrows, usersets and permissions, but not itself."""
    assert [str(name) for name in dependent_relations(SCHEMA, *permission.split("#"))] == expected


@pytest.mark.parametrize(
    ("relation", "prefix", "expected"),
    [
        ("doc#viewer", "", ["doc#see", "doc#view"]),
        ("doc#banned", "", ["doc#see", "doc#view"]),
        ("folder#viewer", "", ["doc#see", "doc#view", "folder#view"]),
        ("group#member", "", ["doc#see", "doc#view", "folder#view", "folder#viewer"]),
        ("group#member", "fol", ["folder#view", "folder#viewer"]),
        ("doc#edit", "", []),
        ("folder#", "", ["doc#parent", "doc#see", "doc#view"]),
        ("doc#", "", []),
        (
            "user#",
            "d",
            ["doc#banned", "doc#see", "doc#view", "doc#viewer"],
        ),
    ],
)
def test_computable_permissions(relation: str, prefix: str, expected: list[str]) -> None:
    """All that may be computed from it; a type's wildcards count as the type."""
    definition, _, name = relation.partition("#")
    found = computable_permissions(SCHEMA, definition, name, definition_prefix=prefix)
    assert [str(one) for one in found] == expected


def test_the_two_are_each_others_reverse() -> None:
    """Whatever depends on a relation is computable from it."""
    names = [(d.name, r) for d in SCHEMA.definitions.values() for r in d.relations]
    for definition, relation in names:
        for other in dependent_relations(SCHEMA, definition, relation):
            assert (definition, relation) in computable_permissions(SCHEMA, *other)


def test_dependencies_in_a_circle() -> None:
    """They end, and leave the one asked about out."""
    schema = compile_schema("definition doc { relation aaa: doc#aaa; permission ppp = aaa + ppp + aaa->ppp; }")
    assert [str(name) for name in dependent_relations(schema, "doc", "ppp")] == ["doc#aaa"]
    assert [str(name) for name in computable_permissions(schema, "doc", "ppp")] == []


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        ('/** @deprecated("use view") */', "use view"),
        ("// @deprecated('use view')", "use view"),
        ('/**\n * Who may see.\n * @deprecated( "use view" )\n */', "use view"),
        ("// @deprecated", ""),
        ("// @deprecated()", ""),
        ("// @deprecated, use view", ""),
        ("// deprecated", None),
        ("// @deprecatedly", None),
        ("// @deprecated(use view)", None),
        ('// @deprecated("use view)', None),
        ("", None),
    ],
)
def test_deprecation(comment: str, reason: str | None) -> None:
    """The mark, with or without a reason."""
    assert deprecation(comment) == reason


def test_what_is_deprecated() -> None:
    """A definition's deprecation is its members', unless they give reasons of their own."""
    schema = compile_schema(
        '// @deprecated("old")\ndefinition doc {\n\trelation aaa: doc\n'
        '\t// @deprecated("too")\n\trelation bbb: doc\n}\n'
        "definition new { relation aaa: doc; /* @deprecated */ permission ppp = aaa; }\n"
        "// @deprecated('never')\ncaveat ccc(x int) { x == 1 }"
    )
    assert deprecated_definitions(schema) == {"doc": "old"}
    assert {str(name): reason for name, reason in deprecated_relations(schema).items()} == {
        "doc#aaa": "old",
        "doc#bbb": "too",
        "new#ppp": "",
    }
    assert deprecated_caveats(schema) == {"ccc": "never"}
