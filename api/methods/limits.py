"""Bounds on one request of the v1 API, each with the reason that a caller is given."""

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from api.convert import invalid

UPDATES_MAX = 1_000
PRECONDITIONS_MAX = 1_000
CHECKS_MAX = 10_000
PAGE_MAX = 1_000
EXPORT_MAX = 10_000
METADATA_BYTES_MAX = 65_000
CONTEXT_BYTES_MAX = 4_096
RELATIONSHIP_CONTEXT_BYTES_MAX = 25_000


def check_counts(updates: int, preconditions: int) -> None:
    """Bound what one write may carry."""
    if updates > UPDATES_MAX:
        raise invalid(
            f"update count of {updates} is greater than maximum allowed of {UPDATES_MAX}",
            "TOO_MANY_UPDATES_IN_REQUEST",
            update_count=str(updates),
            maximum_updates_allowed=str(UPDATES_MAX),
        )
    if preconditions > PRECONDITIONS_MAX:
        raise invalid(
            f"precondition count of {preconditions} is greater than maximum allowed of {PRECONDITIONS_MAX}",
            "TOO_MANY_PRECONDITIONS_IN_REQUEST",
            precondition_count=str(preconditions),
            maximum_updates_allowed=str(PRECONDITIONS_MAX),
        )


def check_limit(limit: int, most: int = PAGE_MAX) -> None:
    """Bound the size of a page."""
    if limit > most:
        raise invalid(
            f"provided limit {limit} is greater than maximum allowed of {most}",
            "EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT",
            limit_provided=str(limit),
            maximum_limit_allowed=str(most),
        )


def check_checks(count: int) -> None:
    """Bound how many checks one request may ask."""
    if count > CHECKS_MAX:
        raise invalid(
            f"check count of {count} is greater than maximum allowed of {CHECKS_MAX}",
            "TOO_MANY_CHECKS_IN_REQUEST",
            check_count=str(count),
            maximum_checks_allowed=str(CHECKS_MAX),
        )


def check_metadata(metadata: Struct) -> None:
    """Bound a transaction's metadata."""
    size = metadata.ByteSize()
    if size > METADATA_BYTES_MAX:
        raise invalid(
            f"metadata of {size} bytes is greater than maximum allowed of {METADATA_BYTES_MAX}",
            "TRANSACTION_METADATA_TOO_LARGE",
            metadata_byte_size=str(size),
            maximum_allowed_metadata_byte_size=str(METADATA_BYTES_MAX),
        )


def check_context(context: Message) -> None:
    """Bound a request's caveat context."""
    size = context.ByteSize()
    if size >= CONTEXT_BYTES_MAX:
        raise invalid(f"request caveat context should have less than {CONTEXT_BYTES_MAX} bytes but had {size}")


def check_relationship_context(relationship: str, context: Message) -> None:
    """Bound a relationship's caveat context."""
    size = context.ByteSize()
    if size > RELATIONSHIP_CONTEXT_BYTES_MAX:
        raise invalid(
            f"caveat context of relationship `{relationship}` is greater than {RELATIONSHIP_CONTEXT_BYTES_MAX} bytes",
            "MAX_RELATIONSHIP_CONTEXT_SIZE",
            relationship=relationship,
            max_allowed_size=str(RELATIONSHIP_CONTEXT_BYTES_MAX),
            context_size=str(size),
        )
