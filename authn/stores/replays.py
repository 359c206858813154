"""What was used once, in the database."""

from sqlalchemy import bindparam, delete

from authn.stores.statements import Statement
from authn.stores.tables import replays

INSERT = Statement(
    lambda insert: (
        insert(replays)
        .values(key=bindparam("key"), expires_at_ms=bindparam("expires_at_ms"))
        .on_conflict_do_nothing()
        .returning(replays.c.key)
    )
)
"""Gives a row for the first use only."""
PURGE = Statement(lambda _: delete(replays).where(replays.c.expires_at_ms < bindparam("now_ms")))
