"""Relationships, questions and verdicts as a reader writes them, for tables and case files.

The notation is the field's: ``document:one#viewer@group:eng#member[office:{"floor": 3}]``, with a time behind it as
``[expiration:2030-01-01T00:00:00Z]``; ``[valid_from:…]`` is ours, written the same way.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pdp.relationships import Instant, ObjectRef, Relationship, SubjectRef
from tests.oracle import FAILED, HAS, LACKS, PARADOX, Goal, Verdict, conditional

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = r"[a-z][a-z0-9_/]*"
_OBJECT = rf"({_NAME}):([A-Za-z0-9/_|\-=+]+|\*)"
_QUESTION = re.compile(rf"{_OBJECT}#({_NAME})@{_OBJECT}(?:#({_NAME}))?")
_TRAIT = re.compile(r"\[(expiration|valid_from):([^\]]*)\]|\[([a-zA-Z][a-zA-Z0-9_/]*)(?::(\{.*?\}))?\](?=\[|$)")

_VERDICTS: Mapping[str, Verdict] = {"has": HAS, "lacks": LACKS, "failed": FAILED, "paradox": PARADOX}


def instant(text: str) -> Instant:
    """An RFC 3339 date and time."""
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is not None, f"no time zone in {text!r}"
    return Instant((moment - _EPOCH) // timedelta(microseconds=1))


def relationship(text: str) -> Relationship:
    """One relationship with its caveat and times."""
    head = _QUESTION.match(text)
    assert head, f"no relationship: {text!r}"
    type_, id_, relation, subject_type, subject_id, subject_relation = head.groups()
    caveat, context, times, at = "", "", {}, head.end()
    while at < len(text):
        trait = _TRAIT.match(text, at)
        assert trait, f"no trait: {text[at:]!r} in {text!r}"
        at = trait.end()
        if trait[1]:
            times[trait[1]] = instant(trait[2])
        else:
            caveat, context = trait[3], canonical(json.loads(trait[4])) if trait[4] else ""
    return Relationship(
        type_,
        id_,
        relation,
        subject_type,
        subject_id,
        subject_relation or "",
        caveat,
        context,
        times.get("expiration"),
        times.get("valid_from"),
    )


def relationships(lines: str) -> list[Relationship]:
    """A relationship a line; blank lines and ``//`` comments are passed by."""
    return [relationship(line) for line in _content(lines)]


def _content(lines: str) -> Iterable[str]:
    return (line.strip() for line in lines.splitlines() if line.strip() and not line.strip().startswith("//"))


def canonical(context: Any) -> str:
    """JSON as a relationship stores it."""
    return json.dumps(context, sort_keys=True, separators=(",", ":"))


def question(text: str) -> Goal:
    """``resource#permission@subject``."""
    found = _QUESTION.fullmatch(text)
    assert found, f"no question: {text!r}"
    type_, id_, relation, subject_type, subject_id, subject_relation = found.groups()
    return Goal(ObjectRef(type_, id_), relation, SubjectRef(subject_type, subject_id, subject_relation or ""))


def question_with_context(text: str) -> tuple[Goal, Mapping[str, Any]]:
    """A question, or one with a request's context behind it: ``… with {"day": "friday"}``."""
    asked, _, context = text.partition(" with ")
    return question(asked.strip()), json.loads(context) if context else {}


def verdict(text: str) -> Verdict:
    """``has``, ``lacks``, ``failed``, ``paradox`` or ``conditional`` with its missing names."""
    kind, *names = text.replace(",", " ").split()
    if kind == "conditional":
        assert names, "a conditional verdict names what is missing"
        return conditional(*names)
    return _VERDICTS[text]
