"""Caveats judged slowly, for tests: Kleene's three-valued logic over the plain expressions that tests use.

``&&``, ``||`` and ``!`` are joined here; what is between them is read as Python, whose comparisons, arithmetic and
``in`` agree with CEL on the integers, strings, booleans and lists that appear in tests. A piece that mentions a
parameter without a value is missing it; one that cannot be computed failed. Missing outranks failed.
"""

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pdp.relationships import Relationship
from schema.model import Caveat, Schema
from tests.oracle import FAILED, HAS, LACKS, Kind, Valuation, Verdict

_SPELLINGS = (("&&", " and "), ("||", " or "), ("true", "True"), ("false", "False"))


def judge_by_hand(schema: Schema, context: Mapping[str, Any]) -> Valuation:
    """Verdicts on relationships' caveats with a request's context; what a relationship stores wins over it."""

    def valuation(relationship: Relationship) -> Verdict:
        stored = json.loads(relationship.caveat_context) if relationship.caveat_context else {}
        return verdict(schema.caveats[relationship.caveat_name], {**context, **stored})

    return valuation


def verdict(caveat: Caveat, values: Mapping[str, Any]) -> Verdict:
    """What the caveat comes to with these values."""
    text = caveat.expression
    for cel, python in _SPELLINGS:
        text = text.replace(cel, python)
    tree = ast.parse(re.sub(r"!(?!=)", " not ", text).strip(), mode="eval")
    return _join(tree.body, {name: values[name] for name in caveat.parameters if name in values}, caveat.parameters)


def _join(node: ast.expr, values: Mapping[str, Any], parameters: Mapping[str, Any]) -> Verdict:
    match node:
        case ast.BoolOp(ast.And(), operands):
            return _first(LACKS, HAS, [_join(each, values, parameters) for each in operands])
        case ast.BoolOp(ast.Or(), operands):
            return _first(HAS, LACKS, [_join(each, values, parameters) for each in operands])
        case ast.UnaryOp(ast.Not(), operand):
            return {HAS: LACKS, LACKS: HAS}.get(inner := _join(operand, values, parameters), inner)
    missing = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} & parameters.keys() - values.keys()
    if missing:
        return Verdict(Kind.CONDITIONAL, frozenset(missing))
    return _computed(lambda: eval(compile(ast.Expression(node), "caveat", "eval"), {}, dict(values)))  # noqa: S307 - our own tests' text


def _computed(compute: Callable[[], bool]) -> Verdict:
    try:
        return HAS if compute() else LACKS
    except (ArithmeticError, LookupError, TypeError):
        return FAILED


def _first(decisive: Verdict, neutral: Verdict, operands: Sequence[Verdict]) -> Verdict:
    if decisive in operands:
        return decisive
    undecided = [operand for operand in operands if operand != neutral]
    missing = frozenset[str]().union(*(operand.missing for operand in undecided))
    if missing:
        return Verdict(Kind.CONDITIONAL, missing)
    return FAILED if undecided else neutral
