"""What is printed reads as the same schema, and laying a text out changes nothing but its looks."""

import re

from hypothesis import given
from hypothesis import strategies as st

from schema.compile import compile_schema
from schema.errors import SchemaError, Source
from schema.formatting import format_schema
from schema.model import Schema
from schema.printing import print_schema
from schema.tokens import scan
from tests.schema.strategies import messy, printable, schemas
from tests.strategies import examples


@given(schemas())
@examples(60)
def test_print_then_parse_is_the_identity(schema: Schema) -> None:
    """With annotations everything comes back; the canonical text leaves them out and is a fixed point."""
    assert printable(compile_schema(print_schema(schema, annotations=True))) == printable(schema)
    canonical = print_schema(schema)
    again = compile_schema(canonical)
    assert printable(again) == printable(schema, annotations=False)
    assert print_schema(again) == canonical


@given(schemas(), st.data())
@examples(60)
def test_laying_out_is_idempotent_and_keeps_all_meaning(schema: Schema, data: st.DataObject) -> None:
    """However a text was laid out: the same schema, the same comments, and nothing left to do."""
    text = data.draw(messy(print_schema(schema, annotations=True)))
    laid_out = format_schema(text)
    assert format_schema(laid_out) == laid_out
    assert printable(compile_schema(laid_out)) == printable(compile_schema(text))
    assert comments(laid_out) == comments(text)
    assert not re.search(r"[ \t]\n", laid_out)


def comments(text: str) -> list[str]:
    """The comments of a text in order, blanks aside."""
    tokens = scan(Source(text))
    return [" ".join(comment.split()) for at in sorted(tokens.comments) for _, comment in tokens.comments[at]]


WORDS = (
    "definition caveat relation permission nil with use self partial import expiration and any all user doc viewer a"
)
MARKS = "{ } ( ) + - & | : = -> # ... . , * < > / ; // /* */ == && @ int list map é 😀"
FRAGMENTS = [*WORDS.split(), *MARKS.split(), "\n", "\r", " ", "\t", '"', "'", '"""', "\0", "\ud800"]
FRAGMENTS += ["definition user {}", "relation aaa: user", "permission ppp = aaa", "{ a == 1 }", "caveat ccc(a int)"]


@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=60).flatmap(
        lambda parts: st.sampled_from((" ", "")).map(lambda s: s.join(parts))
    )
)
@examples(200)
def test_whatever_the_text_there_is_a_schema_or_a_schema_error(text: str) -> None:
    """Nothing else is ever raised, and problems lie within the text."""
    try:
        compile_schema(text)
    except SchemaError as refused:
        lines = len(Source(text).line_starts)
        for problem in refused.errors:
            assert 0 <= problem.position.line <= lines
            assert problem.render()
            assert problem.wire_metadata is not None
    try:
        laid_out = format_schema(text)
    except SchemaError:
        return
    assert format_schema(laid_out) == laid_out
