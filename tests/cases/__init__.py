"""Cases in the field's validation YAML: a schema with relationships and what must be answered, one a file.

``schema``, ``relationships`` and ``assertions`` are the field's own keys. What it cannot say stands under
``tessera``, which its tools pass by:

* ``instant``: when the questions are asked (the start of 2030 where it does not matter);
* ``missing``: for each of ``assertCaveated``, the parameters that are missing;
* ``paradox``: questions whose answer depends on its own negation;
* ``failed``: questions whose answer depends on a caveat that cannot be computed;
* ``resources``: for ``type#permission@subject``, the ids that must be found;
* ``subjects``: for ``resource#permission@type`` or ``…@type#relation``, the same, ``*`` among them.

A list gives ``has`` and ``conditional`` (with missing parameters), and for subjects the ``excluded`` and
``conditionally_excluded`` from ``*``. Questions may end in ``with {…}``, the request's context. Unknown keys are
mistakes and refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pdp.relationships import Instant, ObjectRef, Relationship, SubjectRef
from schema.compile import compile_schema
from schema.model import Schema
from tests import notation
from tests.oracle import FAILED, HAS, LACKS, PARADOX, Goal, Verdict, conditional

_START = "2030-01-01T00:00:00Z"

Context = Mapping[str, Any]


class Assertion(NamedTuple):
    """A question and its verdict."""

    goal: Goal
    context: Context
    verdict: Verdict


class ResourcesExpected(NamedTuple):
    """Everything that a lookup of resources must find."""

    type: str
    permission: str
    subject: SubjectRef
    context: Context
    found: Mapping[str, Verdict]


class SubjectsExpected(NamedTuple):
    """Everything that a lookup of subjects must find, exclusions from ``*`` apart.

    An exclusion that is certain is `HAS`, else conditional.
    """

    resource: ObjectRef
    permission: str
    type: str
    relation: str
    context: Context
    found: Mapping[str, Verdict]
    excluded: Mapping[str, Verdict]


@dataclass(frozen=True, slots=True)
class Case:
    """One file."""

    name: str
    schema: Schema
    schema_text: str
    relationships: Sequence[Relationship]
    instant: Instant
    assertions: Sequence[Assertion]
    resources: Sequence[ResourcesExpected] = field(default=())
    subjects: Sequence[SubjectsExpected] = field(default=())


def load_all() -> list[Case]:
    """Every case, by name."""
    return [load(path.stem, path.read_text("utf-8")) for path in sorted(Path(__file__).parent.glob("*.yaml"))]


def load(name: str, text: str) -> Case:
    """Read one case; whatever is out of place is an error that names it."""
    document = yaml.safe_load(text)
    _only(name, document, {"schema", "relationships", "assertions", "tessera"})
    ours = document.get("tessera", {})
    _only(name, ours, {"instant", "missing", "paradox", "failed", "resources", "subjects"})
    schema = compile_schema(document["schema"])
    relationships = notation.relationships(document["relationships"])
    assert len({each.identity for each in relationships}) == len(relationships), f"{name}: a relationship twice"
    for each in relationships:
        assert fits(schema, each), f"{name}: `{each}` does not fit the schema"
    instant = ours.get("instant", _START)
    return Case(
        name,
        schema,
        document["schema"],
        relationships,
        notation.instant(instant if isinstance(instant, str) else instant.isoformat()),
        _assertions(name, document.get("assertions", {}), ours),
        [_resources(name, key, value) for key, value in ours.get("resources", {}).items()],
        [_subjects(name, key, value) for key, value in ours.get("subjects", {}).items()],
    )


def fits(schema: Schema, relationship: Relationship) -> bool:
    """Whether the schema allows it: the subject's type and relation, its caveat and whether it expires."""
    definition = schema.definitions.get(relationship.resource_type)
    relation = definition.relations.get(relationship.relation) if definition else None
    wanted = (
        relationship.subject_type,
        relationship.subject_relation,
        relationship.subject_id == "*",
        relationship.caveat_name,
        relationship.expires_at is not None,
    )
    return relation is not None and any(
        wanted == (each.type, each.relation, each.wildcard, each.caveat, each.expiration) for each in relation.allowed
    )


def _only(name: str, mapping: Mapping[str, Any], known: set[str]) -> None:
    assert mapping.keys() <= known, f"{name}: unknown {sorted(mapping.keys() - known)}"


def _assertions(name: str, asserted: Mapping[str, Sequence[str]], ours: Mapping[str, Any]) -> list[Assertion]:
    _only(name, asserted, {"assertTrue", "assertFalse", "assertCaveated"})
    missing: Mapping[str, Sequence[str]] = ours.get("missing", {})
    caveated = asserted.get("assertCaveated", [])
    assert set(missing) == set(caveated), f"{name}: `missing` and `assertCaveated` differ"
    verdicts = [
        *((text, HAS) for text in asserted.get("assertTrue", [])),
        *((text, LACKS) for text in asserted.get("assertFalse", [])),
        *((text, conditional(*missing[text])) for text in caveated),
        *((text, PARADOX) for text in ours.get("paradox", [])),
        *((text, FAILED) for text in ours.get("failed", [])),
    ]
    return [Assertion(*notation.question_with_context(text), verdict) for text, verdict in verdicts]


def _resources(name: str, key: str, value: Mapping[str, Any]) -> ResourcesExpected:
    _only(name, value, {"has", "conditional"})
    type_, _, rest = key.partition("#")
    (_, permission, subject), context = notation.question_with_context(f"{type_}:any#{rest}")
    return ResourcesExpected(type_, permission, subject, context, _found(value))


def _subjects(name: str, key: str, value: Mapping[str, Any]) -> SubjectsExpected:
    _only(name, value, {"has", "conditional", "excluded", "conditionally_excluded"})
    asked, separator, context = key.partition(" with ")
    head, _, kind = asked.partition("@")
    type_, hash_, relation = kind.partition("#")
    goal, read = notation.question_with_context(f"{head}@{type_}:any{hash_}{relation}{separator}{context}")
    excluded = {
        **dict.fromkeys(value.get("excluded", []), HAS),
        **{id_: conditional(*names) for id_, names in value.get("conditionally_excluded", {}).items()},
    }
    return SubjectsExpected(goal.resource, goal.relation, type_, relation, read, _found(value), excluded)


def _found(value: Mapping[str, Any]) -> dict[str, Verdict]:
    has: Sequence[str] = value.get("has", [])
    maybe: Mapping[str, Sequence[str]] = value.get("conditional", {})
    return {**dict.fromkeys(has, HAS), **{id_: conditional(*names) for id_, names in maybe.items()}}
