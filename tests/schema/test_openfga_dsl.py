"""OpenFGA's DSL: what it says, and every rule that refuses a model, under the names of its own validator."""

import pytest

from schema.errors import SchemaError, SchemaProblem
from schema.model import (
    AllowedSubject,
    ComputedUserset,
    Exclusion,
    Intersection,
    Rewrite,
    This,
    TupleToUserset,
    Union,
)
from schema.openfga.compile import compile_dsl
from tests.schema.openfga_models import DOC, HEAD, doc, with_condition


def rewrite(definition: str, *, more: str = "") -> tuple[Rewrite, tuple[AllowedSubject, ...]]:
    """What a definition of a relation ``zz`` means; ``aa``, ``bb``, ``cc`` and ``par`` are relations beside it."""
    others = "".join(f"    define {name}: [user]\n" for name in ("aa", "bb", "cc")) + "    define par: [doc]\n"
    schema = compile_dsl(f"{DOC}{others}    define zz: {definition}\n{more}")
    relation = schema.definitions["doc"].relations["zz"]
    return relation.rewrite, relation.allowed


A, B, C, THIS = ComputedUserset("aa"), ComputedUserset("bb"), ComputedUserset("cc"), This()
USER = AllowedSubject("user")


@pytest.mark.parametrize(
    ("definition", "expected", "allowed"),
    [
        ("[user]", THIS, (USER,)),
        ("[user, user:*, doc#aa]", THIS, (USER, AllowedSubject("user", wildcard=True), AllowedSubject("doc", "aa"))),
        ("[ user , user : * ]", THIS, (USER, AllowedSubject("user", wildcard=True))),
        (
            "[user,\n  user:*,\n\n  doc#aa\n]",
            THIS,
            (USER, AllowedSubject("user", wildcard=True), AllowedSubject("doc", "aa")),
        ),
        ("aa", A, ()),
        ("(aa)", A, ()),
        ("aa or bb or cc", Union((A, B, C)), ()),
        ("aa and bb and cc", Intersection((A, B, C)), ()),
        ("aa but not bb", Exclusion(A, B), ()),
        ("aa but  not bb", Exclusion(A, B), ()),
        ("aa or (bb or cc)", Union((A, B, C)), ()),
        ("aa or (bb and cc)", Union((A, Intersection((B, C)))), ()),
        ("(aa or bb) but not cc", Exclusion(Union((A, B)), C), ()),
        ("aa but not (bb but not cc)", Exclusion(A, Exclusion(B, C)), ()),
        ("[user] or aa", Union((THIS, A)), (USER,)),
        ("([user] or aa) and bb", Intersection((Union((THIS, A)), B)), (USER,)),
        ("[user] but not aa", Exclusion(THIS, A), (USER,)),
        ("aa from par", TupleToUserset("par", "aa"), ()),
        ("[user] or zz from par", Union((THIS, TupleToUserset("par", "zz"))), (USER,)),
        ("[user] # a comment", THIS, (USER,)),
    ],
)
def test_definitions(definition: str, expected: Rewrite, allowed: tuple[AllowedSubject, ...]) -> None:
    """A relation keeps one name, though it may be both assigned and computed."""
    assert rewrite(definition) == (expected, allowed)


def test_conditions() -> None:
    """They become caveats; parameters of every type that the DSL has."""
    types = ["bool", "string", "int", "uint", "double", "duration", "timestamp", "ipaddress"]
    declared = ", ".join(f"p{at}: {type_}" for at, type_ in enumerate(types))
    schema = compile_dsl(
        f"{DOC}    define aa: [user with cc]\n"
        f"condition cc({declared}, m: map<string>, l: list<int>) {{\n  p0 && m.x == '}}' && l == [1] // all\n}}\n"
    )
    caveat = schema.caveats["cc"]
    assert [str(type_) for type_ in caveat.parameters.values()] == [*types, "map<string>", "list<int>"]
    assert caveat.expression == "p0 && m.x == '}' && l == [1] // all"
    assert schema.definitions["doc"].relations["aa"].allowed == (AllowedSubject("user", caveat="cc"),)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("model\n  schema 1.1", id="a model without types"),
        pytest.param("model\nschema 1.2\ntype user\n", id="no indentation"),
        pytest.param("model\n\tschema 1.1\n\ttype user\n\t\trelations\n\t\t\tdefine aa: [user]", id="tabs"),
        pytest.param("model\r\n  schema 1.1\r\ntype user\r\n  relations\r\n    define aa: [user]\r\n", id="CRLF"),
        pytest.param(
            "# top\n\n\nmodel # a\n  # b\n  schema 1.1 # c\n\n\ntype user # d\n", id="comments and blank lines"
        ),
        pytest.param(f"{DOC}    define aa : [user]\n", id="a blank before the colon"),
        pytest.param(f"{DOC}    define aa:[user]\n", id="no blank behind it"),
        pytest.param(f"{HEAD}type a.b/c-d\n  relations\n    define x.y/z-1: [user]\n", id="names"),
        pytest.param(f"{HEAD}type _x\n", id="a name that begins with an underscore"),
        pytest.param(
            f"{DOC}    define aa: [user with c1]\ncondition c1(x: int) {{ true }}", id="an unused parameter"
        ),
        pytest.param(f"{DOC}    define aa: [doc#aa, user]\n", id="a userset of itself"),
        pytest.param(
            f"{DOC}    define aa: [user:*]\n    define bb: [doc#aa]\n", id="a userset that reaches a wildcard"
        ),
        pytest.param(
            f"{DOC}    define aa: [user with c1, user]\n    define bb: [doc with c1]\n    define cc: aa from bb\n"
            "condition c1(x: int) { x > 1 }",
            id="a tupleset with a condition",
        ),
    ],
)
def test_accepted(text: str) -> None:
    """What the DSL leaves free."""
    compile_dsl(text)


REFUSED = [
    ("", "schema-version-required", 1, "nothing"),
    ("model\n", "schema-version-required", 2, "no version"),
    ("type user\n", "schema-version-required", 1, "no header"),
    ("model\n  schema 1.0\ntype user", "invalid-schema", 2, "the version before"),
    ("model\n  schema 1.3\ntype user", "schema-version-unsupported", 2, "a version to come"),
    ("model\n  schema one\ntype user", "invalid-syntax", 2, "a version that is none"),
    ("module core\ntype user\n", "schema-version-required", 1, "a module by itself"),
    (f"{HEAD}extend type user\n", "invalid-syntax", 4, "extending outside of a module"),
    (f"{HEAD}type self\n", "reserved-type-keywords", 4, "a type named self"),
    (f"{HEAD}type this\n", "reserved-type-keywords", 4, "a type named this"),
    (doc("self: [user]"), "reserved-relation-keywords", 6, "a relation named self"),
    (doc("this: [user]"), "reserved-relation-keywords", 6, "a relation named this"),
    (f"{HEAD}type {'x' * 255}\n", "invalid-name", 4, "a type's name that is too long"),
    (f"{DOC}    define {'x' * 51}: [user]\n", "invalid-name", 6, "a relation's name that is too long"),
    (f"{HEAD}type user\n", "duplicated-error", 4, "a type twice"),
    (doc("aa: [user]", "aa: [user]"), "invalid-syntax", 7, "a relation twice"),
    (doc("aa: [user, user]"), "duplicated-error", 6, "a restriction twice"),
    (doc("aa: [user]", "bb: aa or aa"), "duplicated-error", 7, "an operand twice"),
    (doc("aa: [user]", "bb: aa but not aa"), "duplicated-error", 7, "an operand less itself"),
    (doc("aa: bb"), "missing-definition", 6, "an unknown relation"),
    (doc("aa: user"), "missing-definition", 6, "a type where a relation should be"),
    (doc("aa: [usr]"), "invalid-type", 6, "an unknown type"),
    (doc("aa: [user#member]"), "invalid-relation-type", 6, "an unknown relation of a type"),
    (doc("aa: [user]", "bb: aa from par"), "invalid-relation-type", 7, "an unknown tupleset"),
    (doc("par: [user]", "bb: aa from par"), "invalid-relation-on-tupleset", 7, "no such target"),
    (doc("par: [doc, user:*]", "bb: par from par"), "tupleuserset-not-direct", 7, "a wildcard"),
    (doc("par: [doc#par, doc]", "bb: par from par"), "tupleuserset-not-direct", 7, "a userset"),
    (doc("par: [doc]", "qq: par", "bb: par from qq"), "tupleuserset-not-direct", 8, "computed"),
    (doc("par: [doc]", "qq: [doc] or par", "bb: par from qq"), "tupleuserset-not-direct", 8, "both"),
    (doc("aa: aa"), "relation-no-entry-point", 6, "itself"),
    (doc("aa: [user] or aa"), "relation-no-entry-point", 6, "itself among others"),
    (doc("aa: [user] or (bb and aa)", "bb: [user]"), "relation-no-entry-point", 6, "itself deep within"),
    (doc("aa: bb", "bb: aa"), "relation-no-entry-point", 6, "each other"),
    (doc("aa: [user] or bb", "bb: [user] or aa"), "relation-no-entry-point", 6, "each other among others"),
    (doc("aa: [doc#aa]"), "relation-no-entry-point", 6, "only usersets of itself"),
    (doc("par: [doc]", "bb: bb from par"), "relation-no-entry-point", 7, "only through itself"),
    (doc("aa: [user]", "bb: aa and cc", "cc: [doc#cc]"), "relation-no-entry-point", 7, "half open"),
    (doc("aa: []"), "invalid-syntax", 6, "no restrictions"),
    (doc("aa: bb or [user]", "bb: [user]"), "invalid-syntax", 6, "restrictions in second place"),
    (doc("aa: [user] or [user:*]"), "invalid-syntax", 6, "restrictions twice"),
    (doc("aa: [user:*#x]"), "invalid-syntax", 6, "a wildcard with a relation"),
    (doc("aa: [user] or bb and cc"), "invalid-syntax", 6, "mixed operators"),
    (doc("aa: bb but not cc but not dd"), "invalid-syntax", 6, "but not twice"),
    (f"{DOC}    define aa: bb or\n      cc\n", "invalid-syntax", 6, "a break within an expression"),
    (f"{DOC}    define aa: (bb\n      or cc)\n", "invalid-syntax", 6, "a break within parentheses"),
    (doc("aa: [user] define bb: [user]"), "invalid-syntax", 6, "two definitions on a line"),
    (doc("aa: [user]# x"), "invalid-syntax", 6, "a comment without a blank before it"),
    (doc("and: [user]"), "invalid-syntax", 6, "a reserved name"),
    (doc("from: [user]"), "invalid-syntax", 6, "another reserved name"),
    (doc("1a: [user]"), "invalid-syntax", 6, "a name that begins with a digit"),
    (doc("aa: [user"), "invalid-syntax", 7, "a bracket that is not closed"),
    (f"{DOC}    defin aa: [user]\n", "invalid-syntax", 6, "nearly a definition"),
    (f"{HEAD}type doc\n  relations\n", "invalid-syntax", 6, "relations without any"),
    (f"{HEAD}type doc\n  define aa: [user]\n", "invalid-syntax", 5, "a definition without relations"),
    (f"{HEAD}type doc@\n", "invalid-syntax", 4, "a character that no name has"),
    (f"{HEAD}type dé\n", "invalid-syntax", 4, "a letter that is not ASCII"),
    (f"{DOC}    define aa: {'(' * 10_000}user{')' * 10_000}\n", "invalid-syntax", 6, "parentheses"),
    (doc("aa: [user with c1]"), "condition-not-defined", 6, "an unknown condition"),
    (f"{HEAD}condition c1(x: int) {{ x > 1 }}\n", "condition-not-used", 4, "a condition that is not used"),
    (with_condition("", "true"), "invalid-syntax", 7, "no parameters"),
    (with_condition("x int", "x > 1"), "invalid-syntax", 7, "no colon"),
    (
        f"{DOC}    define aa: [user with c1]\ncondition c1(x: int,\n y: int) {{ x > y }}\n",
        "invalid-syntax",
        7,
        "two lines",
    ),
    (with_condition("x: int", ""), "invalid-syntax", 7, "no expression"),
    (with_condition("x: int", "\n  x > 1 &&\n    y > 1 "), "invalid-condition", 9, "unknown"),
    (with_condition("x: int", "x + 1"), "invalid-condition", 7, "a number"),
    (with_condition("x: list<list<int>>", "true"), "invalid-syntax", 7, "nested"),
    (with_condition("x: integer", "true"), "invalid-syntax", 7, "no such type"),
    (with_condition("x: map<int>", "x.?a.orValue(1) == 1"), "invalid-condition", 7, "optional"),
    (with_condition("x: any", "x == 1"), "invalid-syntax", 7, "any"),
    (with_condition("x: bytes", "x == b''"), "invalid-syntax", 7, "bytes"),
    (with_condition("x: int, x: int", "x == 1"), "invalid-syntax", 7, "twice"),
    (with_condition("x: string", "x.split(',') == []"), "invalid-condition", 7, "extensions"),
    (
        f"{DOC}    define aa: [user with c1]\ncondition c1(x: int) {{ x > 1 }}\ntype late\n",
        "invalid-syntax",
        8,
        "a type behind",
    ),
]


@pytest.mark.parametrize(("text", "code", "line"), [pytest.param(*row[:3], id=row[3]) for row in REFUSED])
def test_refused(text: str, code: str, line: int) -> None:
    """Under the validator's own names, where it stands."""
    problem = refusal(text)
    assert (problem.code, problem.position.line) == (code, line)
    assert "^" in problem.render() or not problem.source_line


def refusal(text: str) -> SchemaProblem:
    """The first problem of a model."""
    with pytest.raises(SchemaError) as refused:
        compile_dsl(text)
    return refused.value.errors[0]


def test_several_errors_in_one_go() -> None:
    """Each type is read for itself, each relation checked."""
    with pytest.raises(SchemaError) as refused:
        compile_dsl(f"{DOC}    define aa: [usr]\n    define bb: cc\n    define dd: [user with no]\n")
    assert [one.code for one in refused.value.errors] == [
        "invalid-type",
        "missing-definition",
        "condition-not-defined",
    ]
    with pytest.raises(SchemaError) as refused:
        compile_dsl(
            f"{HEAD}type aa\n  relations\n    define : [user]\ntype bb\n  relations\n    define and: [user]\n"
        )
    assert [one.position.line for one in refused.value.errors] == [6, 9]


def test_near_names() -> None:
    """As in our own language."""
    assert "did you mean `user`?" in refusal(f"{DOC}    define aa: [usr]\n").message
    assert "did you mean `viewer`?" in refusal(f"{DOC}    define viewer: [user]\n    define aa: viewr\n").message
    assert "did you mean `define`?" in refusal(f"{DOC}    defien aa: [user]\n").message
