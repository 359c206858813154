"""Warnings: what each is for, what it leaves alone, and how it is silenced."""

import pytest

from schema.compile import compile_text
from schema.lint import lint

PRELUDE = "definition user {}\ndefinition group { relation member: user; permission see = member; }\n"


def warnings(members: str) -> list[tuple[str, int]]:
    """Names and lines of the warnings on a definition ``doc`` with these members, its first line counted as 1."""
    compiled = compile_text(f"{PRELUDE}definition doc {{\n{members}\n}}")
    return [(one.name, one.position.line - 3) for one in lint(compiled)]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ("relation viewer_doc: user", [("relation-name-references-parent", 1)]),
        ("permission view_doc = nil", [("relation-name-references-parent", 1)]),
        ("relation doc_viewer: user", []),
        ("relation aaa: user\npermission ppp = aaa + ppp", [("permission-references-itself", 2)]),
        ("relation aaa: user\npermission ppp = aaa + qqq\npermission qqq = aaa + ppp", []),
        ("relation aaa: user\npermission ppp = aaa->nothing", [("arrow-references-unreachable-relation", 2)]),
        (
            "relation aaa: user | group\npermission ppp = aaa->see",
            [("arrow-target-missing-on-some-types", 2)],
        ),
        ("relation aaa: group#member\npermission ppp = aaa->see", [("arrow-walks-subject-relation", 2)]),
        ("relation aaa: group\npermission ppp = aaa->member", [("arrow-references-relation", 2)]),
        ("relation aaa: group\npermission ppp = aaa.all(member)", [("arrow-references-relation", 2)]),
        ("relation aaa: group\npermission ppp = aaa->see", []),
        ("relation aaa: user\npermission ppp = aaa + aaa & aaa", [("mixed-operators", 2)]),
        ("relation aaa: user\npermission ppp = aaa & aaa - aaa", [("mixed-operators", 2)]),
        ("relation aaa: user\npermission ppp = (aaa + aaa) & aaa", []),
        ("relation aaa: user\npermission ppp = aaa & (aaa + aaa - aaa)", [("mixed-operators", 2)]),
        ("relation aaa: user\npermission ppp = (aaa + aaa) & (aaa - aaa)", []),
        ("relation aaa: user\npermission ppp = aaa + aaa + aaa - (aaa)", [("mixed-operators", 2)]),
        ("relation aaa: user\npermission ppp = aaa - aaa - aaa", []),
        (
            "relation aaa: user\npermission ppp = aaa->nothing + ppp - aaa",
            [
                ("arrow-references-unreachable-relation", 2),
                ("permission-references-itself", 2),
                ("mixed-operators", 2),
            ],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_warnings(members: str, expected: list[tuple[str, int]]) -> None:
    """Each where it stands, and nothing else."""
    assert warnings(members) == expected


@pytest.mark.parametrize(
    ("comment", "silenced"),
    [
        ("// tessera-ignore-warning: permission-references-itself", True),
        ("// spicedb-ignore-warning: permission-references-itself", True),
        ("// why\n// spicedb-ignore-warning: permission-references-itself\n/* so */", True),
        ("// spicedb-ignore-warning: mixed-operators", False),
        ("/* spicedb-ignore-warning: permission-references-itself */", False),
        ("// please: spicedb-ignore-warning: permission-references-itself", False),
        ("// spicedb-ignore-warning: permission-references-itself, really", False),
        ("// spicedb-ignore-warning:", False),
    ],
)
def test_silencing(comment: str, silenced: bool) -> None:
    """A line comment of its own, right above, that names the warning."""
    found = warnings(f"relation aaa: user\n{comment}\npermission ppp = aaa + ppp")
    assert (found == []) is silenced


def test_a_comment_silences_only_what_follows() -> None:
    """Not the next member too."""
    ignore = "// tessera-ignore-warning: relation-name-references-parent"
    assert warnings(f"{ignore}\nrelation one_doc: user\nrelation two_doc: user") == [
        ("relation-name-references-parent", 3)
    ]


def test_a_prefix_is_no_part_of_the_name() -> None:
    """The last segment is what the definition is called."""
    compiled = compile_text("definition tenant/doc { relation my_doc: tenant/doc; }")
    (warning,) = lint(compiled)
    assert warning.name == "relation-name-references-parent"
    assert (warning.definition, warning.relation) == ("tenant/doc", "my_doc")
    assert warning.source_line == "definition tenant/doc { relation my_doc: tenant/doc; }"
