"""Imports: one schema from several files, each read once, and every way in which that fails."""

from collections.abc import Mapping

import pytest

from schema.compile import compile_files
from schema.errors import SchemaError, SchemaProblem
from schema.model import Position, Schema


def compile_from(files: Mapping[str, str], first: str = "main.zed") -> tuple[Schema, list[str]]:
    """The schema that files make, and the order in which they were read."""
    read: list[str] = []

    def text(path: str) -> str:
        read.append(path)
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return files[path]

    return compile_files(first, text).schema, read


def problems(files: Mapping[str, str]) -> tuple[SchemaProblem, ...]:
    """What is wrong with files."""
    with pytest.raises(SchemaError) as refused:
        compile_from(files)
    return refused.value.errors


def test_imported_items_come_first() -> None:
    """Whatever stands where in a file."""
    schema, _ = compile_from(
        {
            "main.zed": 'use import definition doc { relation viewer: user; } import "types/user.zed"',
            "types/user.zed": "definition user {}",
        }
    )
    assert list(schema.definitions) == ["user", "doc"]


def test_paths_are_relative_to_the_importing_file() -> None:
    """Also in folders of folders."""
    schema, read = compile_from(
        {
            "main.zed": 'use import import "lib/types.zed"',
            "lib/types.zed": 'use import import "deep/user.zed" definition group { relation member: user; }',
            "lib/deep/user.zed": "definition user {}",
        }
    )
    assert list(schema.definitions) == ["user", "group"]
    assert read == ["main.zed", "lib/types.zed", "lib/deep/user.zed"]


def test_a_diamond_is_read_once() -> None:
    """Two ways to one file do not define its items twice, however its path is spelled."""
    schema, read = compile_from(
        {
            "main.zed": 'use import import "a.zed" import "./b.zed"',
            "a.zed": 'use import import "user.zed" definition aaa { relation xxx: user; }',
            "b.zed": 'use import import "./user.zed" definition bbb { relation xxx: user; }',
            "user.zed": "definition user {}",
        }
    )
    assert list(schema.definitions) == ["user", "aaa", "bbb"]
    assert read.count("user.zed") == 1


def test_flags_hold_for_their_file() -> None:
    """What is a keyword in one file is a name in another."""
    schema, _ = compile_from(
        {
            "main.zed": 'use import use self import "other.zed" definition doc { permission ppp = self; }',
            "other.zed": "definition user { relation self: user; permission ppp = self; }",
        }
    )
    assert schema.definitions["user"].relations["ppp"].rewrite != schema.definitions["doc"].relations["ppp"].rewrite


def test_annotations_count_where_their_file_says_so() -> None:
    """One file's flag does not check another's annotations."""
    files = {
        "main.zed": 'use import use typechecking import "other.zed" definition doc { permission ppp: doc = nil; }',
        "other.zed": "definition user { relation aaa: user; permission ppp: nobody = aaa; }",
    }
    schema, _ = compile_from(files)
    assert schema.definitions["user"].relations["ppp"].annotation == ()
    assert schema.definitions["doc"].relations["ppp"].annotation == ("doc",)


def test_partials_are_imported_too() -> None:
    """They are one name space with everything else."""
    schema, _ = compile_from(
        {
            "main.zed": 'use import use partial import "base.zed" definition doc { ...viewable; }',
            "base.zed": "use partial partial viewable { relation viewer: doc; }",
        }
    )
    assert list(schema.definitions["doc"].relations) == ["viewer"]


@pytest.mark.parametrize("quotes", ['"', "'", '"""'])
def test_quotes(quotes: str) -> None:
    """Any string will do."""
    schema, _ = compile_from(
        {"main.zed": f"use import import {quotes}user.zed{quotes}", "user.zed": "definition user {}"}
    )
    assert list(schema.definitions) == ["user"]


@pytest.mark.parametrize(
    "path", ["../a.zed", "a/../b.zed", "/etc/passwd", "", " ", "a\\b.zed", "..", "a/..b.zed"], ids=repr
)
def test_paths_that_are_refused(path: str) -> None:
    """Nothing outside of the first file's folder can be named."""
    (problem,) = problems({"main.zed": f'use import\nimport "{path}"'})
    assert (problem.code, problem.position.line, problem.position.column) == ("invalid-import", 2, 8)


def test_a_file_that_is_not_there() -> None:
    """The import is pointed at."""
    (problem,) = problems({"main.zed": 'use import\n\nimport "nothing.zed"'})
    assert (problem.file, problem.code, problem.position.line) == ("main.zed", "unreadable-import", 3)
    assert problem.message == "cannot read `nothing.zed`: no such file or directory"


def test_the_first_file_must_be_there() -> None:
    """That is no matter of schemas."""
    with pytest.raises(FileNotFoundError):
        compile_from({})


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"main.zed": 'use import import "main.zed"'}, id="of itself"),
        pytest.param(
            {"main.zed": 'use import import "a.zed"', "a.zed": 'use import import "main.zed"'}, id="of each other"
        ),
        pytest.param(
            {
                "main.zed": 'use import import "a.zed"',
                "a.zed": 'use import import "b.zed"',
                "b.zed": 'use import import "a.zed"',
            },
            id="of two others",
        ),
    ],
)
def test_a_circle_of_imports(files: Mapping[str, str]) -> None:
    """Refused, with the way round."""
    (problem,) = problems(files)
    assert problem.code == "circular-import"
    assert " imports " in problem.message


def test_problems_are_told_by_file() -> None:
    """Lines count within each file, for what is read and for what it means."""
    files = {
        "main.zed": 'use import\nimport "a.zed"\nimport "b.zed"\n\ndefinition doc { relation aaa: nothing; }\n',
        "a.zed": "// a\n\ndefinition user { relation bbb: nothing; }\n",
        "b.zed": "\n\n\n\n\n\ndefinition group { permission ppp = nothing; }",
    }
    found = [(one.file, one.position.line, one.code) for one in problems(files)]
    assert found == [
        ("a.zed", 3, "unknown-definition"),
        ("b.zed", 7, "unknown-relation"),
        ("main.zed", 5, "unknown-definition"),
    ]
    files["b.zed"] = "\n\ndefinition group { relation }"
    (problem,) = problems(files)
    assert (problem.file, problem.position) == ("b.zed", Position(3, 29, 3, 30))
    assert problem.source_line == "definition group { relation }"


def test_one_name_in_two_files() -> None:
    """The second is refused, where it stands."""
    (problem,) = problems({"main.zed": 'use import import "a.zed"\ndefinition doc {}', "a.zed": "definition doc {}"})
    assert (problem.file, problem.position.line, problem.code) == ("main.zed", 2, "duplicate-name")


def test_a_long_chain_of_files() -> None:
    """Files are followed without recursion, up to a bound."""
    chain = {f"f{n}.zed": f'use import import "f{n + 1}.zed"' for n in range(900)}
    schema, read = compile_from({**chain, "main.zed": 'use import import "f0.zed"', "f900.zed": "definition user {}"})
    assert (list(schema.definitions), len(read)) == (["user"], 902)
    endless = {f"f{n}.zed": f'use import import "f{n + 1}.zed"' for n in range(2_000)}
    assert problems({**endless, "main.zed": 'use import import "f0.zed"'})[0].code == "too-many-files"
