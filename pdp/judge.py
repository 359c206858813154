"""Caveats as an evaluation meets them: a name and a relationship's context in, a verdict out."""

from collections.abc import Mapping
from typing import Any

from pdp.caveats import Failed, Missing, caveats_of
from pdp.evaluate import Judge, Unknown
from schema.model import Schema


def judge_with(schema: Schema, context: Mapping[str, Any]) -> Judge:
    """A judge for one request's context."""
    ask = caveats_of(schema).asked_with(context)

    def judge(name: str, relationship_context: str) -> bool | Unknown:
        match ask(name, relationship_context):
            case Missing(names):
                return Unknown(missing=names)
            case Failed(error):
                return Unknown(failure=error)
            case decided:
                return decided

    return judge
