"""What is said about a schema that is refused: where, in whose words, and with what for the wire."""

import time

import pytest

from schema.compile import TEXT_BYTES_MAX, compile_schema, read_schema
from schema.errors import PROBLEMS_MAX, ProblemKind, SchemaError, SchemaProblem
from schema.model import Position


def problems(text: str, file: str = "") -> tuple[SchemaProblem, ...]:
    """Everything wrong with a text."""
    with pytest.raises(SchemaError) as refused:
        compile_schema(text, file)
    return refused.value.errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("definition doc { relaton viewer: user; }", "did you mean `relation`?"),
        ("defnition doc {}", "did you mean `definition`?"),
        (
            "definition user {} definition doc { relation viewer: usre; }",
            "no definition `usre`; did you mean `user`?",
        ),
        ("definition doc { relation parent: doc; permission ppp = parnet; }", "did you mean `parent`?"),
        ("definition doc { relation parent: doc; permission ppp = parnet->ppp; }", "did you mean `parent`?"),
        ("caveat weekday(d string) { d == '' } definition doc { relation aaa: doc with weekdy; }", "`weekday`?"),
        ("definition doc { relation aaa: doc#aa; }", "no relation or permission `aa` on `doc`; did you mean `aaa`?"),
        ("use selff", "unknown flag `selff`; did you mean `self`?; there are"),
        ("caveat ccc(a strin) { true }", "no parameter type `strin`; did you mean `string`?"),
        ("partial base {}", "`use partial` must stand at the top of the schema"),
        ('import "a.zed"', "`use import` must stand at the top of the schema"),
        ("use self definition self {}", "`self` is a keyword here, by `use self`"),
        ("definition nil {}", "`nil` is a reserved word"),
        ("definition doc { relation aaa: doc with ccc and expiration; }", "an expiration needs `use expiration`"),
        (
            "definition doc { relation aaa: doc }",
            "expected the end of the statement (a line break or `;`) before `}`",
        ),
        ("definition doc\n{}", "found a line break, which ends the statement here"),
        ("definition doc { permission ppp = ; }", "expected `(`, a name or `nil`, found `;`"),
        ("definition doc {", "found the end of the text"),
        ("definition doc { permission ppp = aaa ! bbb; }", "`!` has no meaning outside a caveat's expression"),
        ("definition doc { permission ppp = ppp; }", "permissions are nothing but each other: `ppp = ppp`"),
        ("definition doc { relation xyz: user; }", "no definition `user`"),
    ],
)
def test_messages(text: str, message: str) -> None:
    """In the language's words, with the near name where there is one."""
    assert message in problems(text)[0].message


def test_a_name_that_is_like_none_gets_no_hint() -> None:
    """A hint that only confuses is worse than none."""
    assert problems("definition doc { relation aaa: zzzzzz; }")[0].message == "no definition `zzzzzz`"


def test_rendering() -> None:
    """File, line and column, the source line, a caret under the range, and the fix."""
    (problem,) = problems("definition doc {\n\trelation viewer: user }", "a.zed")[:1]
    assert problem.render() == (
        "a.zed:2:24: expected the end of the statement (a line break or `;`) before `}`\n"
        "   relation viewer: user }\n"
        "                         ^\n"
        "  fix: end the statement with `;`"
    )


def test_a_fix_mends() -> None:
    """Applying it makes the text a schema."""
    text = "definition doc { relation viewer: doc }"
    fix = problems(text)[0].fix
    assert fix is not None
    at = fix.position.column - 1
    compile_schema(text[:at] + fix.text + text[at:])


def test_characters_and_bytes() -> None:
    """Editors count characters, the wire counts bytes."""
    text = "definition user {} /* é😀 */ definition doc { relation aaa: usr; }"
    (problem,) = problems(text)
    column = text.index("usr") + 1
    assert problem.position == Position(1, column, 1, column + 3)
    assert problem.byte_position == Position(1, column + 4, 1, column + 7)
    assert problem.source_code == "usr"


def test_the_wires_parse_error() -> None:
    """The message counts from 1, the metadata from 0, both in bytes."""
    (problem,) = problems("definition user {} // é\ndefinition dé {}\n")
    assert problem.kind is ProblemKind.PARSE
    assert problem.wire_message.startswith(
        "parse error in `schema`, line 2, column 12: `dé` cannot name a definition"
    )
    assert problem.wire_metadata == {
        "start_line_number": "1",
        "start_column_position": "11",
        "end_line_number": "1",
        "end_column_position": "14",
        "source_code": "dé",
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            "definition doc { relation aaa: user; }",
            {"definition_name": "user", "relation_name": "aaa"},
        ),
        (
            "definition doc { permission ppp = bbb; }",
            {"definition_name": "doc", "relation_or_permission_name": "bbb"},
        ),
        (
            "definition doc { relation aaa: doc with ccc; }",
            {"definition_name": "doc", "relation_name": "aaa", "caveat_name": "ccc"},
        ),
        (
            "caveat ccc(a int, b int) { a == 1 }",
            {"caveat_name": "ccc", "parameter_name": "b"},
        ),
        (
            "definition doc { permission ppp = qqq; permission qqq = ppp; }",
            {"definition_name": "doc", "permission_name": "ppp"},
        ),
        (
            "definition doc { relation aaa: doc:*; permission ppp = aaa->ppp; }",
            {"definition_name": "doc", "permission_name": "ppp", "relation_name": "aaa"},
        ),
    ],
)
def test_the_wires_type_error(text: str, names: dict[str, str]) -> None:
    """A type error carries names and no position."""
    (problem,) = problems(text)
    assert problem.kind is ProblemKind.TYPE
    assert problem.wire_metadata == names
    assert problem.wire_message == problem.message


def test_several_type_errors_in_one_go() -> None:
    """All that can be told apart is told, in source order."""
    found = problems(
        "definition doc {\n\trelation aaa: user\n\trelation bbb: group#member\n"
        "\tpermission ppp = ccc + aaa->ppp\n\tpermission qqq = qqq\n}\ncaveat ccc(a int) { 1 == 1 }"
    )
    assert [(one.position.line, one.code) for one in found] == [
        (2, "unknown-definition"),
        (3, "unknown-definition"),
        (4, "unknown-relation"),
        (5, "permission-cycle"),
        (7, "unused-parameter"),
    ]


def test_several_parse_errors_in_one_go() -> None:
    """Each statement and item is read for itself."""
    found = problems(
        "definition aaa {\n\trelation : bbb\n\tpermission = ccc\n\trelation ddd: +\n}\n"
        "definition {}\ncaveat eee() {}\ndefinition fff {\n\trelation ggg hhh: iii\n}\n"
    )
    assert [one.position.line for one in found] == [2, 3, 4, 6, 7, 9]


def test_a_parse_error_hides_what_it_would_only_confuse() -> None:
    """Names are not looked up in a text that was not read whole."""
    assert len(problems("definition doc { relation aaa: user; relation bbb }")) == 1


def test_there_is_an_end_to_errors() -> None:
    """A hopeless text is not reported line by line."""
    assert len(problems("definition doc {\n" + "\trelaton viewer: user\n" * 10_000 + "}")) == PROBLEMS_MAX


def test_a_schema_that_is_compared_is_not_checked() -> None:
    """It must only be readable."""
    schema = read_schema("definition doc { relation viewer: nothing; permission ppp = unknown; }")
    assert list(schema.definitions["doc"].relations) == ["viewer", "ppp"]
    with pytest.raises(SchemaError):
        read_schema("definition doc { relation }")


def in_permission(expression: str) -> str:
    """A definition with one permission."""
    return f"definition doc {{ relation aaa: doc; permission ppp = {expression}; }}"


def in_caveat(expression: str) -> str:
    """A caveat over one boolean."""
    return f"caveat ccc(a bool) {{ {expression} }}"


DOUBLING = "\n".join(f"partial p{n} {{ ...p{n - 1}; ...p{n - 1}; }}" for n in range(1, 60))
PARTIAL_RING = "\n".join(f"partial p{n} {{ ...p{(n + 1) % 3_000}; }}" for n in range(3_000))
PERMISSION_RING = "".join(f"permission p_{n} = p_{(n + 1) % 10_000}; " for n in range(10_000))
HOSTILE = [
    pytest.param(in_permission("(" * 10_000 + "aaa" + ")" * 10_000), id="parentheses"),
    pytest.param("definition " + "a" * 1_000_000 + " {}", id="a name of a megabyte"),
    pytest.param(in_permission("a" * 1_000_000), id="an unknown name of a megabyte"),
    pytest.param(in_permission("aaa - " * 50_000 + "aaa"), id="a chain"),
    pytest.param("caveat ccc(a " + "list<" * 10_000 + "int" + ">" * 10_000 + ") { a == [] }", id="nested types"),
    pytest.param(in_caveat("(" * 10_000 + "a" + ")" * 10_000), id="a nested expression"),
    pytest.param(in_caveat("a && 2 == " + "1 + " * 20_000 + "1"), id="a long sum"),
    pytest.param(in_caveat("a && " * 19_000 + "b"), id="a long expression"),
    pytest.param(in_caveat("a && '" + "x" * 100_000 + "' == ''"), id="an expression that is too long"),
    pytest.param("{" * 200_000, id="braces"),
    pytest.param("/*" + "*" * 1_000_000, id="a comment without an end"),
    pytest.param('"' * 999_999, id="quotes"),
    pytest.param("\n" * 1_000_000 + "@", id="blank lines"),
    pytest.param("definition doc {" + ";" * 300_000 + "@", id="empty statements"),
    pytest.param(f"use partial partial p0 {{}}\n{DOUBLING} definition doc {{ ...p59; }}", id="partials that double"),
    pytest.param(f"use partial\n{PARTIAL_RING}", id="a ring of partials"),
    pytest.param(f"definition doc {{ {PERMISSION_RING} }}", id="a ring of permissions"),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_schema_is_refused_quickly(text: str) -> None:
    """In less than a second of processor time, with a message of reasonable size."""
    started = time.process_time()
    with pytest.raises(SchemaError) as refused:
        compile_schema(text)
    assert time.process_time() - started < 1.0
    assert len(str(refused.value)) < 40_000


def test_too_large() -> None:
    """The bound counts bytes and includes itself."""
    text = "// " + "é" * (TEXT_BYTES_MAX // 2 - 2)
    compile_schema(text + "e")
    with pytest.raises(SchemaError, match=f"larger than {TEXT_BYTES_MAX} bytes"):
        compile_schema(text + "ee")


def large_schema(definitions: int = 2_000) -> str:
    """A schema of almost as many bytes as are allowed."""
    parts = ["caveat at_work(day string) {\n\tday != 'sunday'\n}\n\ndefinition user {}\n"]
    for number in range(definitions):
        before = max(0, number - 1)
        parts.append(f"/** Type {number}, and what may be done. */\ndefinition tenant/type_{number:04d} {{\n")
        parts.append(f"\trelation parent: tenant/type_{before:04d}\n")
        parts.extend(f"\trelation role_{role:02d}: user | user:* | user with at_work\n" for role in range(12))
        for verb in range(14):
            roles = (
                f"(role_{verb % 12:02d} + role_{(verb + 1) % 12:02d}) & role_03 - role_04 + parent->can_{verb:02d}"
            )
            parts.append(f"\t// may do {verb}\n\tpermission can_{verb:02d} = {roles}\n")
        parts.append("}\n")
    return "".join(parts)


def test_a_large_schema_is_compiled_in_time() -> None:
    """Two thousand definitions in almost four megabytes: less than five seconds of processor time."""
    text = large_schema()
    assert TEXT_BYTES_MAX * 0.9 < len(text) <= TEXT_BYTES_MAX
    taken: list[float] = []
    while not taken or (taken[-1] >= 5.0 and len(taken) < 3):  # neighbours on the machine cost processor time too
        started = time.process_time()
        assert len(compile_schema(text).definitions) == 2_001
        taken.append(time.process_time() - started)
    assert min(taken) < 5.0
