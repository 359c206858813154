"""Which language a stored text is in."""

import json

import pytest

from schema.compile import compile_schema
from schema.errors import SchemaError
from schema.openfga.compile import compile_json
from schema.stored import compile_stored

MODEL = {"schema_version": "1.1", "type_definitions": [{"type": "user"}]}


@pytest.mark.parametrize("text", ["", "definition user {}", "// {\ndefinition user {}", "caveat ccc(a bool) { a }"])
def test_ours(text: str) -> None:
    """Anything that does not begin with a brace."""
    assert compile_stored(text) == compile_schema(text)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", ["", "\n  "])
def test_json(indent: int | None, before: str) -> None:
    """However it is laid out."""
    assert compile_stored(before + json.dumps(MODEL, indent=indent)) == compile_json(MODEL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "this is no JSON"),
        ('{"a":' * 100_000, "this is no JSON"),
        ("{}", "at least one type"),
        ("[]", "has no meaning outside"),
        ("definition", "expected a name"),
    ],
)
def test_neither(text: str, message: str) -> None:
    """One error for both."""
    with pytest.raises(SchemaError, match=message):
        compile_stored(text)
