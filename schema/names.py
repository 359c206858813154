"""What the language's names may look like."""

from re import compile as regex

from schema.errors import quote

DEFINITION_BYTES_MAX = 128
_SEGMENT = regex(r"[a-z][a-z0-9_]{1,62}[a-z0-9]")
_RULE = "3 to 64 characters `a-z`, `0-9` and `_`, beginning with a letter and not ending with `_`"


def definition_name_fault(name: str) -> str | None:
    """What is wrong with a definition's name; ``None`` if nothing is."""
    if len(name.encode()) > DEFINITION_BYTES_MAX:
        return f"the name {quote(name)} of a definition is longer than {DEFINITION_BYTES_MAX} bytes"
    if all(_SEGMENT.fullmatch(segment) for segment in name.split("/")):
        return None
    return f"{quote(name)} cannot name a definition: each part between `/` has {_RULE}"


def relation_name_fault(name: str, kind: str) -> str | None:
    """What is wrong with the name of a relation or permission (``kind`` says which); ``None`` if nothing is."""
    if _SEGMENT.fullmatch(name):
        return None
    return f"{quote(name)} cannot name a {kind}: a name has {_RULE}"
