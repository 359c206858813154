"""A schema's text compiles to the values it means, and prints back as them."""

import pytest

from schema.compile import compile_schema
from schema.errors import SchemaError
from schema.model import (
    AllowedSubject,
    ComputedUserset,
    Exclusion,
    Intersection,
    Nil,
    Relation,
    Rewrite,
    SelfSubject,
    TupleToUserset,
    Union,
)
from schema.printing import print_schema

A, B, C, D = (ComputedUserset(name) for name in ("aaa", "bbb", "ccc", "ddd"))


def permission(expression: str, *, prelude: str = "") -> Rewrite:
    """What an expression over relations ``aaa`` to ``ddd`` and the arrow's ``parent`` means."""
    relations = "\n".join(f"relation {name}: doc" for name in ("aaa", "bbb", "ccc", "ddd", "parent"))
    schema = compile_schema(f"{prelude}\ndefinition doc {{\n{relations}\npermission view = {expression}\n}}")
    return schema.definitions["doc"].relations["view"].rewrite


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        pytest.param("aaa", A, id="one relation"),
        pytest.param("(aaa)", A, id="parentheses mean nothing by themselves"),
        pytest.param("nil", Nil(), id="nobody"),
        pytest.param("aaa + bbb + ccc", Union((A, B, C)), id="a union is one node"),
        pytest.param("(aaa + bbb) + ccc", Union((A, B, C)), id="a union in a union is one node"),
        pytest.param("aaa + (bbb + ccc)", Union((A, B, C)), id="a union to the right is one node"),
        pytest.param("aaa & bbb & ccc", Intersection((A, B, C)), id="an intersection is one node"),
        pytest.param("aaa - bbb - ccc", Exclusion(Exclusion(A, B), C), id="exclusion associates to the left"),
        pytest.param("aaa - (bbb - ccc)", Exclusion(A, Exclusion(B, C)), id="exclusion is never flattened"),
        pytest.param("aaa + bbb & ccc", Intersection((Union((A, B)), C)), id="union binds tighter than intersection"),
        pytest.param("aaa & bbb + ccc", Intersection((A, Union((B, C)))), id="also to the right"),
        pytest.param("aaa - bbb + ccc", Exclusion(A, Union((B, C))), id="union binds tighter than exclusion"),
        pytest.param("aaa & bbb - ccc", Exclusion(Intersection((A, B)), C), id="intersection before exclusion"),
        pytest.param("aaa - bbb & ccc", Exclusion(A, Intersection((B, C))), id="intersection in what is excluded"),
        pytest.param("aaa + (bbb & ccc)", Union((A, Intersection((B, C)))), id="parentheses decide"),
        pytest.param("parent->view", TupleToUserset("parent", "view"), id="an arrow"),
        pytest.param(
            "parent.any(view)",
            TupleToUserset("parent", "view", "any", function_style=True),
            id="an arrow spelled out",
        ),
        pytest.param(
            "parent.all(view)", TupleToUserset("parent", "view", "all", function_style=True), id="an all arrow"
        ),
        pytest.param(
            "parent->view & aaa", Intersection((TupleToUserset("parent", "view"), A)), id="arrows bind first"
        ),
        pytest.param("aaa +\nbbb", Union((A, B)), id="a line may end in an operator"),
        pytest.param("(\naaa + bbb)", Union((A, B)), id="a line may end in a parenthesis"),
        pytest.param("aaa +  // why\n /* so */ bbb", Union((A, B)), id="comments are blanks"),
    ],
)
def test_an_expression_means(expression: str, expected: Rewrite) -> None:
    """Precedence, associativity and flattening."""
    assert permission(expression) == expected


def test_self_is_a_word_of_the_language_only_with_its_flag() -> None:
    """Without the flag ``self`` names a relation like any other word."""
    assert permission("self", prelude="use self") == SelfSubject()
    schema = compile_schema("definition doc {\nrelation self: doc\npermission view = self\n}")
    assert schema.definitions["doc"].relations["view"].rewrite == ComputedUserset("self")


def test_subject_types() -> None:
    """Each spelling of a subject type is its own entry, in written order."""
    schema = compile_schema(
        """use expiration
        caveat weekday(day string) { day != "sunday" }
        definition user {}
        definition team { relation member: user; }
        definition doc {
            relation viewer: user | user:* | team#member | team#... | user with weekday
                | user with expiration
        }""".replace("weekday\n                |", "weekday |")
    )
    assert schema.definitions["doc"].relations["viewer"].allowed == (
        AllowedSubject("user"),
        AllowedSubject("user", wildcard=True),
        AllowedSubject("team", "member"),
        AllowedSubject("team"),
        AllowedSubject("user", caveat="weekday"),
        AllowedSubject("user", expiration=True),
    )


def test_comments_go_to_what_they_stand_before() -> None:
    """One behind a statement is lost; one before a member or an item stays."""
    schema = compile_schema(
        "/** who */\ndefinition user {} // lost\n"
        "definition doc { // first\n\trelation viewer: user // lost too\n"
        "\t// a\n\t/* b */\n\tpermission view = viewer\n}"
    )
    doc = schema.definitions["doc"]
    assert schema.definitions["user"].comment == "/** who */"
    assert (doc.comment, doc.relations["viewer"].comment) == ("", "// first")
    assert doc.relations["view"].comment == "// a\n/* b */"


def test_canonical_text() -> None:
    """Sorted, tabbed, with the flags it needs and parentheses around every nested operator."""
    schema = compile_schema(
        "use self use expiration use partial definition user {}\n"
        "definition doc { relation reader: user | user with expiration;\n"
        "/** all */ permission view = reader + self - nil; }"
    )
    printed = print_schema(schema)
    assert printed == (
        "use self\nuse expiration\n\n"
        "definition doc {\n\trelation reader: user | user with expiration\n\n"
        "\t/** all */\n\tpermission view = (reader + self) - nil\n}\n\n"
        "definition user {}\n"
    )
    assert compile_schema(printed) == schema


def test_nothing_is_a_schema() -> None:
    """An empty text clears the schema."""
    assert compile_schema("") == compile_schema(" // nothing\n")
    assert print_schema(compile_schema("")) == ""


def test_several_errors_in_one_go() -> None:
    """One mistake does not hide the next ones."""
    text = (
        "definition doc {\n\trelaton viewer: user\n\tpermission view = +\n}\n"
        "caveat late() { true }\ndefinition user { @ }\n"
    )
    with pytest.raises(SchemaError) as refused:
        compile_schema(text)
    at = [(problem.position.line, problem.position.column) for problem in refused.value.errors]
    assert at == [(2, 2), (3, 20), (5, 13), (6, 19)]


def test_relation_is_not_a_permission() -> None:
    """What can be written to is told from what is computed."""
    schema = compile_schema("definition doc { relation aaa: doc; permission bbb = aaa; }")
    relations: dict[str, Relation] = dict(schema.definitions["doc"].relations)
    assert [relation.is_permission for relation in relations.values()] == [False, True]
