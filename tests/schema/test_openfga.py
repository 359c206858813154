"""OpenFGA's models: the answers that its documentation promises, imported and printed in our language."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pdp.judge import judge_with
from pdp.program import compile_program
from pdp.relationships import Instant, ObjectRef, Relationship, SubjectRef
from schema.compile import compile_schema
from schema.errors import SchemaError
from schema.model import Schema, This
from schema.openfga.compile import compile_dsl
from schema.openfga.translate import print_model
from schema.printing import NotExpressible
from tests.oracle import HAS, LACKS
from tests.rationed import RationedGraph, ask
from tests.schema.openfga_models import doc

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("openfga_cases.yaml").read_text("utf-8"))


def _subject(text: str) -> SubjectRef:
    head, _, relation = text.partition("#")
    type_, _, id_ = head.partition(":")
    return SubjectRef(type_, id_, relation)


def _tuples(case: Mapping[str, Any]) -> Iterator[Relationship]:
    for one in case["tuples"]:
        text, condition = (one, {}) if isinstance(one, str) else one
        user, relation, object_ = text.split()
        subject, resource = _subject(user), _subject(object_)
        context = json.dumps(condition["context"]) if "context" in condition else ""
        name = condition.get("name", "")
        yield Relationship(resource.type, resource.id, relation, *subject, name, context)


CHECKS = [
    pytest.param(case, question, allowed, id=f"{case['name']}: {question}")
    for case in CASES
    for question, allowed in case["checks"].items()
]


@pytest.mark.parametrize(("case", "question", "allowed"), CHECKS)
def test_documented_answers(case: dict[str, Any], question: str, allowed: bool) -> None:
    """The engine over the imported model answers as the documentation says."""
    schema = compile_dsl(case["model"])
    assert _answer(schema, list(_tuples(case)), question, case.get("given", {}).get(question, {})) is allowed


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES])
def test_documented_lists(case: dict[str, Any]) -> None:
    """Every listed id has the relation, and no other id that any tuple names."""
    schema, stored = compile_dsl(case["model"]), list(_tuples(case))
    for question, ids in case.get("objects", {}).items():
        user, relation, type_ = question.split()
        known = {one.resource_id for one in stored if one.resource_type == type_} | {
            one.subject_id for one in stored if one.subject_type == type_
        }
        assert {i for i in known if _answer(schema, stored, f"{user} {relation} {type_}:{i}", {})} == set(
            map(str, ids)
        )
    for question, ids in case.get("users", {}).items():
        object_, relation, type_ = question.split()
        known = {one.subject_id for one in stored if one.subject_type == type_}
        assert {i for i in known if _answer(schema, stored, f"{type_}:{i} {relation} {object_}", {})} == set(ids)


def _answer(schema: Schema, stored: list[Relationship], question: str, context: Mapping[str, Any]) -> bool:
    user, relation, object_ = question.split()
    resource = _subject(object_)
    ((verdict, _),) = ask(
        compile_program(schema),
        RationedGraph(stored),
        _subject(user),
        [(ObjectRef(resource.type, resource.id), relation)],
        instant=Instant(0),
        judge=judge_with(schema, context),
    )
    assert verdict in (HAS, LACKS)
    return verdict == HAS


# In our language


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES])
def test_models_in_our_language(case: dict[str, Any]) -> None:
    """Where a model's names and conditions can be said, the split schema compiles and gives the same answers."""
    imported = compile_dsl(case["model"])
    computed = any(
        one.allowed and one.rewrite != This() for d in imported.definitions.values() for one in d.relations.values()
    )
    if computed:
        with pytest.raises(NotExpressible):
            print_model(imported)
    if case["name"] in ("custom roles", "addresses and quotas"):  # a name, and a condition, that ours does not have
        with pytest.raises(SchemaError):
            compile_schema(print_model(imported, split=True))
        return
    ours = compile_schema(print_model(imported, split=True))
    stored = []
    for one in _tuples(case):
        direct = f"direct_{one.relation}"
        moved = direct in ours.definitions[one.resource_type].relations
        stored.append(one._replace(relation=direct) if moved else one)
    for question, allowed in case["checks"].items():
        if "#" not in question:
            assert _answer(ours, stored, question, case.get("given", {}).get(question, {})) is allowed


def test_split_names_do_not_collide() -> None:
    """A relation that is already there keeps its name."""
    schema = compile_dsl(doc("direct_aaa: [user]", "aaa: [user] or direct_aaa"))
    assert "relation direct_aaa_2: user\n\tpermission aaa = direct_aaa_2 + direct_aaa" in print_model(
        schema, split=True
    )
