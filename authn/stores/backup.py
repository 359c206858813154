"""Everything durable of ``authn`` as records, and back: clients, keys, grants, tokens, the audit log.

Secrets stay sealed: whoever restores must have the key-encryption keys of before. What only guards against replays
within minutes is left out.
"""

import base64
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from sqlalchemy import LargeBinary, Table, bindparam, delete, select, tuple_

from authn.errors import AuthnError
from authn.stores.statements import Database, Row, Statement, Work
from authn.stores.tables import METADATA, clients, grants, replays, signing_keys

_PAGE = 500
_TABLES = {table.name: table for table in METADATA.sorted_tables if table is not replays}
_TELLING = (clients, signing_keys, grants)
"""Tables that have rows once an installation is in use."""


class NotEmpty(AuthnError):
    """Clients or keys are there already, and restoring would take their place."""


class UnknownRecord(AuthnError):
    """A record of a table or column that this program does not know."""


async def dump(database: Database) -> AsyncIterator[Mapping[str, Any]]:
    """Every row, as its table's name and its values; bytes in base64."""
    for table in _TABLES.values():
        after: Row | None = None
        while True:
            statement, values = _page(table, after)
            rows = await database.fetch(statement, values)
            for row in rows:
                yield {"table": str(table.name), "row": _to_json(table, row)}
            if len(rows) < _PAGE:
                break
            names = [column.name for column in table.columns]
            after = [rows[-1][names.index(column.name)] for column in table.primary_key]


def _page(table: Table, after: Row | None) -> tuple[Statement, Mapping[str, Any]]:
    keys = list(table.primary_key)
    query = select(*table.columns).order_by(*keys).limit(_PAGE)
    if after is None:
        return Statement(lambda _: query), {}
    bounds = [bindparam(f"after_{key.name}", type_=key.type) for key in keys]
    behind = tuple_(*keys) > tuple_(*bounds) if len(keys) > 1 else keys[0] > bounds[0]
    values = {f"after_{key.name}": value for key, value in zip(keys, after, strict=True)}
    return Statement(lambda _: query.where(behind)), values


def _to_json(table: Table, row: Row) -> Mapping[str, Any]:
    return {
        str(column.name): base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for column, value in zip(table.columns, row, strict=True)
    }


def restore(records: Iterator[Mapping[str, Any]], *, replace: bool) -> Work[int]:
    """Take all records in, in one transaction; how many they were.

    Raises:
        NotEmpty: clients, keys or grants are there, and ``replace`` is not given.
        UnknownRecord: a record is of a table or column not known here.
    """
    for table in () if replace else _TELLING:
        if (yield _one_of(table), {}):
            raise NotEmpty("clients or keys are there already; to replace them, say so")
    for table in METADATA.sorted_tables:
        yield _delete_all(table), {}
    inserts = {name: _insert(table) for name, table in _TABLES.items()}
    count = 0
    for record in records:
        table_name, row = record["table"], record["row"]
        known = _TABLES.get(table_name)
        if known is None or set(row) != {column.name for column in known.columns}:
            raise UnknownRecord(f"the backup holds a record of `{table_name}` that this version does not know")
        yield inserts[table_name], _from_json(known, row)
        count += 1
    return count


def _one_of(table: Table) -> Statement:
    return Statement(lambda _: select(*table.primary_key).limit(1))


def _delete_all(table: Table) -> Statement:
    return Statement(lambda _: delete(table))


def _insert(table: Table) -> Statement:
    values = {column.name: bindparam(f"new_{column.name}", type_=column.type) for column in table.columns}
    return Statement(lambda insert: insert(table).values(values))


def _from_json(table: Table, row: Mapping[str, Any]) -> Mapping[str, Any]:
    def value(name: str) -> Any:
        given = row[name]
        binary = isinstance(table.columns[name].type, LargeBinary)
        return base64.b64decode(given) if binary and given is not None else given

    return {f"new_{name}": value(name) for name in row}
