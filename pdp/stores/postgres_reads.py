"""The statement that answers many reads at once, and its rows taken apart again.

Each kind of read is one branch of a ``UNION ALL``, joined to arrays of what is asked; the first branch is the store's
own row. Slots are compared for equality, so that the planner sees what an index lookup yields, and each read is
looked up by itself: a planner without statistics would rather walk the whole store.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from pdp.relationships import Relationship, Revision
from pdp.stores.database import Mark, Query, Values
from pdp.stores.keys import KeyMaker
from pdp.stores.protocol import Found, Read, SubjectsRead

_FAR = "r.caveat_name, r.caveat_context, r.expires_at, r.valid_from"
_SNAPSHOT = "r.store_id = $1 AND r.created <= $2 AND r.deleted > $2"
_MARK = """SELECT revision, '' AS id, '' AS caveat_name, '' AS caveat_context, oldest AS expires_at,
    deleted_at AS valid_from FROM pdp_stores WHERE store_id = $1"""
_SLOT = ("bigint", "bigint", "text", "text", "text", "text", "text")
"""Number of the read, its slot, and the five texts that the slot stands for."""
_FORWARD = ("resource_type", "resource_id", "relation", "subject_type", "subject_relation")
_REVERSE = ("subject_type", "subject_id", "subject_relation", "resource_type", "relation")


@cache
def _statement(slots: bool, pairs: bool, subject_slots: bool) -> str:
    branches, number = [_MARK], 3
    for wanted, far, slot, columns, by_pair in (
        (slots, "subject_id", "slot", _FORWARD, False),
        (pairs, "subject_id", "slot", _FORWARD, True),
        (subject_slots, "resource_id", "subject_slot", _REVERSE, False),
    ):
        if not wanted:
            continue
        types = (*_SLOT, "bigint", "text") if by_pair else _SLOT
        arrays = ", ".join(f"${number + n}::{type_}[]" for n, type_ in enumerate(types))
        number += len(types)
        names = ", ".join(("n", "slot", *columns, *(("pair", "subject_id") if by_pair else ())))
        compared = (*columns, "pair", "subject_id") if by_pair else columns
        texts = " AND ".join(f"r.{column} = q.{column}" for column in compared)
        branches.append(
            f"""SELECT q.n, r.{far}, {_FAR} FROM unnest({arrays}) AS q ({names})
            CROSS JOIN LATERAL (SELECT * FROM pdp_relationships r
                WHERE {_SNAPSHOT} AND r.{slot} = q.slot AND {texts} OFFSET 0) AS r"""
        )
    return " UNION ALL ".join(branches)


def fetch_query(store_id: int, at: Revision, reads: Sequence[Read], keys: KeyMaker) -> Query:
    """The statement for these reads."""
    slots: list[Values] = []
    pairs: list[Values] = []
    subject_slots: list[Values] = []
    for n, read in enumerate(reads):
        if isinstance(read, SubjectsRead):
            far = (read.subject_type, read.subject_relation)
            slot = keys.slot(*read.resource, read.relation, *far)
            asked = (n, slot, *read.resource, read.relation, *far)
            if not read.subject_ids:
                slots.append(asked)
            for id_ in dict.fromkeys(read.subject_ids):
                one = Relationship(*read.resource, read.relation, read.subject_type, id_, read.subject_relation)
                pairs.append((*asked, keys.key(one).pair, id_))
        else:
            slot = keys.slot(*read.subject, read.resource_type, read.relation)
            subject_slots.append((n, slot, *read.subject, read.resource_type, read.relation))
    parameters: list[Any] = [store_id, at] if reads else [store_id]
    for rows in (slots, pairs, subject_slots):
        parameters += [list(column) for column in zip(*rows, strict=True)]
    return Query(_statement(bool(slots), bool(pairs), bool(subject_slots)), parameters)


def found_in(rows: Sequence[Values], reads: int) -> tuple[Mark | None, Sequence[Sequence[Found]]]:
    """The store's mark and the answer to each read."""
    answers: list[list[Found]] = [[] for _ in range(reads)]
    if not rows:
        return None, answers
    mark, *rest = rows
    for row in rest:
        answers[row[0]].append(Found._make(row[1:]))
    return Mark(mark[0], mark[4], mark[5]), answers
