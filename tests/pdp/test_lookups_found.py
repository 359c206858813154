"""Lookups that once went wrong, each as small as it could be made."""

from collections.abc import Mapping

import pytest

from pdp.judge import judge_with
from pdp.lookup_subjects import LookupSubjects
from pdp.program import SubjectType, compile_program
from pdp.relationships import Instant
from schema.compile import compile_schema
from tests import notation
from tests.oracle import Oracle
from tests.pdp.lookups import read_subjects
from tests.rationed import RationedGraph, drive

NOW = Instant(0)


@pytest.mark.parametrize(
    ("schema_text", "stored", "question", "expected"),
    [
        pytest.param(
            """
            use self
            definition user {
                relation viewer: user:*
                permission seen = viewer - (seen + self)
            }
            """,
            "user:one#viewer@user:*",
            "user:one#seen@user",
            {"one": "lacks", "*": "paradox"},
            id="the object itself, excluded where everybody else is a paradox",
        ),
    ],
)
def test_subjects(schema_text: str, stored: str, question: str, expected: Mapping[str, str]) -> None:
    """What a list tells of each subject is what the oracle tells, and a reader."""
    head, _, type_ = question.partition("@")
    schema, relationships = compile_schema(schema_text), notation.relationships(stored)
    resource, permission, _ = notation.question(f"{head}@{type_}:any")
    lookup = LookupSubjects(
        compile_program(schema),
        resource,
        permission,
        SubjectType(type_),
        instant=NOW,
        judge=judge_with(schema, {}),
        goals_max=10_000,
        reads_max=10_000,
    )
    drive(lookup, RationedGraph(relationships))
    right = Oracle(schema, relationships, instant=NOW).lookup_subjects(resource, permission, type_)
    assert right == {id_: notation.verdict(text) for id_, text in expected.items()}
    assert read_subjects(lookup.findings, [id_ for id_ in expected if id_ != "*"]) == right
