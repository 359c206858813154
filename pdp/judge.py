"""Caveats as an evaluation meets them: a name and a relationship's context in, a verdict out."""

from collections.abc import Mapping
from typing import Any

from pdp.errors import CaveatEvaluationFailed
from pdp.evaluate import Judge, Unknown
from schema.model import Schema


def judge_with(schema: Schema, context: Mapping[str, Any]) -> Judge:
    """A judge for one request's context."""

    def judge(name: str, relationship_context: str) -> bool | Unknown:
        return Unknown(failure=CaveatEvaluationFailed(name, "caveats cannot be evaluated yet"))

    return judge
