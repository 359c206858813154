"""A store's schema as text, in whichever of the two languages it was written.

A text of our language never begins with a brace and an OpenFGA model in JSON always does, so a store needs to keep
nothing beside the text.
"""

import json

from schema.compile import compile_schema
from schema.errors import ProblemKind, SchemaError, SchemaProblem
from schema.model import Schema
from schema.openfga.compile import compile_json


def compile_stored(text: str) -> Schema:
    """The values of a stored text.

    Raises:
        SchemaError: it is neither a valid schema nor a valid model.
    """
    if not text.lstrip().startswith("{"):
        return compile_schema(text)
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError([SchemaProblem(ProblemKind.PARSE, "invalid-json", f"this is no JSON: {error}")]) from error
    return compile_json(model)
