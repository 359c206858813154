"""``@deprecated("why")`` in a comment: what a schema says should no longer be used, and what to use instead."""

import re
from collections.abc import Mapping

from schema.check import RelationName
from schema.model import Schema

_MARK = re.compile(r"@deprecated(?:\(\s*(?:\"([^\"\r\n]*)\"|'([^'\r\n]*)')?\s*\))?(?![\w(])")


def deprecation(comment: str) -> str | None:
    """The reason that a comment gives, ``""`` where it gives none; ``None`` where nothing is deprecated."""
    found = _MARK.search(comment)
    if found is None:
        return None
    return found[1] or found[2] or ""


def deprecated_relations(schema: Schema) -> Mapping[RelationName, str]:
    """Deprecated relations and permissions, those of deprecated definitions included, with the reasons."""
    found: dict[RelationName, str] = {}
    for definition in schema.definitions.values():
        whole = deprecation(definition.comment)
        for relation in definition.relations.values():
            own = deprecation(relation.comment)
            reason = whole if own is None else own
            if reason is not None:
                found[RelationName(definition.name, relation.name)] = reason
    return found


def deprecated_definitions(schema: Schema) -> Mapping[str, str]:
    """Deprecated definitions with the reasons."""
    marked = ((definition.name, deprecation(definition.comment)) for definition in schema.definitions.values())
    return {name: reason for name, reason in marked if reason is not None}


def deprecated_caveats(schema: Schema) -> Mapping[str, str]:
    """Deprecated caveats with the reasons."""
    marked = ((caveat.name, deprecation(caveat.comment)) for caveat in schema.caveats.values())
    return {name: reason for name, reason in marked if reason is not None}
