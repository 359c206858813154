"""`tessera schema …`, run as a command: output, exit status, and what stands in files afterwards."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli.schema import app

GOOD = "definition user {}\n\ndefinition doc {\n\trelation viewer: user\n}\n"
UNTIDY = "definition user {}\ndefinition doc { relation viewer:user; }"
BAD = "definition doc {\n\trelation viewer: usr\n}\n"


def run(*arguments: str | Path, stdin: str = "") -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    result = CliRunner().invoke(app, [str(one) for one in arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file to write schemas to."""
    return tmp_path / "a.zed"


def test_fmt_in_place(file: Path) -> None:
    """A second run changes nothing."""
    file.write_text(UNTIDY)
    assert run("fmt", file) == (0, "", "")
    assert file.read_text() == GOOD
    assert run("fmt", "--check", file) == (0, "", "")


def test_fmt_check(file: Path) -> None:
    """It only tells."""
    file.write_text(UNTIDY)
    assert run("fmt", "--check", file) == (1, f"{file} is not laid out\n", "")
    assert file.read_text() == UNTIDY


def test_fmt_of_standard_input() -> None:
    """Goes to standard output."""
    assert run("fmt", "-", stdin=UNTIDY) == (0, GOOD, "")


def test_fmt_of_what_cannot_be_read(file: Path) -> None:
    """Leaves it as it is."""
    file.write_text("definition {")
    status, out, err = run("fmt", file)
    assert (status, out) == (1, "")
    assert f"{file}:1:12: expected a name" in err
    assert file.read_text() == "definition {"


def test_check(file: Path) -> None:
    """Silence is consent."""
    file.write_text(GOOD)
    assert run("check", file) == (0, "", "")
    file.write_text(BAD)
    status, out, err = run("check", file)
    assert (status, out) == (1, "")
    assert err == (f"{file}:2:19: no definition `usr`\n   relation viewer: usr\n                    ^^^\n")


def test_check_for_editors(file: Path) -> None:
    """Errors and warnings with ranges from 0, in UTF-16 units, and fixes."""
    file.write_text("// 😀\ndefinition doc { /* 😀 */ relation viewer: doc }\n")
    status, out, _ = run("check", "--json", file)
    (error,) = json.loads(out)
    assert status == 1
    assert error["file"] == str(file)
    assert (error["severity"], error["code"]) == ("error", "statement-not-ended")
    assert error["range"] == {"start": {"line": 1, "character": 47}, "end": {"line": 1, "character": 48}}
    assert error["fix"]["text"] == "; "
    assert error["fix"]["range"] == {"start": {"line": 1, "character": 47}, "end": {"line": 1, "character": 47}}
    file.write_text("definition doc { relation my_doc: doc; }")
    status, out, _ = run("check", "--json", file)
    (warning,) = json.loads(out)
    assert (status, warning["severity"], warning["code"]) == (0, "warning", "relation-name-references-parent")
    assert warning["range"]["start"] == {"line": 0, "character": 26}


def test_check_of_several_files(file: Path, tmp_path: Path) -> None:
    """All of them are told about, and any bad one counts."""
    other = tmp_path / "b.zed"
    file.write_text(BAD)
    other.write_text(GOOD)
    assert run("check", other, file)[0] == 1
    status, out, _ = run("check", "--json", other, file)
    assert (status, len(json.loads(out))) == (1, 1)


def test_check_follows_imports(tmp_path: Path) -> None:
    """Problems are told by the file that they are in."""
    (tmp_path / "main.zed").write_text('use import\nimport "lib/types.zed"\n')
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/types.zed").write_text(f"\n{BAD}")
    status, _, err = run("check", tmp_path / "main.zed")
    assert status == 1
    assert err.startswith(f"{tmp_path}/lib/types.zed:3:19: no definition `usr`")


def test_lint(file: Path) -> None:
    """Warnings alone, which fail only if asked to."""
    file.write_text("definition doc { relation my_doc: doc; }")
    status, out, err = run("lint", file)
    assert (status, out) == (0, "")
    assert err.startswith(f"{file}:1:27: warning: the name of relation `my_doc` repeats")
    assert run("lint", "--fail-on-warning", file)[0] == 1
    file.write_text(GOOD)
    assert run("lint", "--fail-on-warning", file) == (0, "", "")
    file.write_text(BAD)
    assert run("lint", file)[0] == 1


def test_compile(tmp_path: Path) -> None:
    """One schema, canonical, imports and partials gone, annotations kept."""
    (tmp_path / "main.zed").write_text(
        'use import use partial use typechecking import "user.zed"\n'
        "partial base { relation viewer: user; } definition doc { ...base; permission view: user = viewer; }"
    )
    (tmp_path / "user.zed").write_text("definition user {}")
    expected = (
        "use typechecking\n\ndefinition doc {\n\trelation viewer: user\n\tpermission view: user = viewer\n}\n\n"
        "definition user {}\n"
    )
    assert run("compile", tmp_path / "main.zed") == (0, expected, "")
    out = tmp_path / "out.zed"
    assert run("compile", tmp_path / "main.zed", "--out", out) == (0, "", "")
    assert out.read_text() == expected
    assert run("compile", out) == (0, expected, "")


def test_compile_of_standard_input() -> None:
    """Which imports nothing."""
    assert run("compile", "-", stdin=GOOD)[0] == 0
    status, _, err = run("compile", "-", stdin='use import import "a.zed"')
    assert status == 1
    assert "imports are not allowed" in err


def test_diff(file: Path, tmp_path: Path) -> None:
    """Differences, and what they do to answers."""
    other = tmp_path / "b.zed"
    file.write_text(GOOD)
    other.write_text(GOOD.replace("viewer: user", "viewer: user | user:*\n\tpermission view = viewer"))
    status, out, _ = run("diff", file, other)
    assert (status, out.splitlines()) == (
        0,
        [
            "relation_subject_type_added doc#viewer",
            "permission_added doc#view",
            "meaning of doc#view added",
            "meaning of doc#viewer changed because of doc#viewer",
        ],
    )
    _, out, _ = run("diff", "--json", file, other)
    assert json.loads(out)["differences"] == ["relation_subject_type_added doc#viewer", "permission_added doc#view"]
    assert run("diff", file, file) == (0, "", "")
    file.write_text(BAD)
    assert run("diff", file, other)[0] == 1


MODEL = (
    "model\n  schema 1.1\ntype user\ntype doc\n  relations\n"
    "    define viewer: [user]\n    define editor: [user] or viewer\n"
)


def test_import(tmp_path: Path) -> None:
    """What can be said in our language; the rest if it may be split."""
    model = tmp_path / "model.fga"
    model.write_text(MODEL)
    status, out, err = run("import", model)
    assert (status, out) == (1, "")
    assert "`doc#editor` is both stored and computed" in err
    assert "--split" in err
    status, out, _ = run("import", "--split", model)
    assert status == 0
    assert "\trelation direct_editor: user\n\tpermission editor = direct_editor + viewer\n" in out
    model.write_text(MODEL.replace("[user] or viewer", "viewer"))
    assert run("import", model)[1].startswith(
        "definition doc {\n\trelation viewer: user\n\tpermission editor = viewer\n"
    )


def test_import_of_json_and_modules(tmp_path: Path) -> None:
    """By the file's name."""
    (tmp_path / "model.json").write_text(
        json.dumps({"schema_version": "1.1", "type_definitions": [{"type": "user"}]})
    )
    assert run("import", tmp_path / "model.json") == (0, "definition user {}\n", "")
    (tmp_path / "fga.mod").write_text("schema: '1.2'\ncontents: [core.fga]")
    (tmp_path / "core.fga").write_text("module core\ntype user\n")
    assert run("import", tmp_path / "fga.mod") == (0, "definition user {}\n", "")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "model.fga",
            "model\n  schema 1.1\ntype doc\n  relations\n    define aa: [usr]\n",
            "model.fga:5:17: no type `usr`",
        ),
        ("model.json", "{", "this is no JSON"),
        ("model.json", "[" * 100_000, "this is no JSON"),
        ("model.json", "{}", "at least one type is needed"),
        ("fga.mod", "schema: '1.2'\ncontents: [nothing.fga]", "cannot read `nothing.fga`: no such file or directory"),
        ("model.fga", MODEL.replace("viewer", "v"), "cannot name a relation"),
    ],
)
def test_imports_that_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    """With the reason."""
    file = tmp_path / name
    file.write_text(text)
    status, out, err = run("import", file, "--split")
    assert (status, out) == (1, "")
    assert message in err


@pytest.mark.parametrize("command", ["fmt", "check", "lint", "compile", "import"])
def test_files_that_cannot_be_read(tmp_path: Path, command: str) -> None:
    """Exit status 2 and one line."""
    assert run(command, tmp_path / "nothing.zed") == (2, "", f"{tmp_path}/nothing.zed: no such file or directory\n")
    (tmp_path / "latin.zed").write_bytes(b"// \xe9\n")
    assert run(command, tmp_path / "latin.zed") == (2, "", f"{tmp_path}/latin.zed: it is no UTF-8 text\n")
    assert run(command, tmp_path)[0] == 2


def test_a_file_that_cannot_be_written(file: Path, tmp_path: Path) -> None:
    """Likewise."""
    file.write_text(GOOD)
    status, _, err = run("compile", file, "--out", tmp_path / "nothing" / "out.zed")
    assert (status, err) == (2, f"{tmp_path}/nothing/out.zed: no such file or directory\n")
