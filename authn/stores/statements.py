"""SQL written once with SQLAlchemy Core and run by the plain drivers.

A statement is compiled once a dialect into text and the order of its parameters; running it then costs what the
driver costs. Work that needs several statements in one transaction is a generator which yields each statement with
its values and is sent the rows: it decides and does no I/O, and a driver runs it on its own kind of connection.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql import asyncpg as postgresql_asyncpg
from sqlalchemy.dialects.postgresql import dml as postgresql_dml
from sqlalchemy.dialects.sqlite import dml as sqlite_dml
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

Row: TypeAlias = Sequence[Any]
Values: TypeAlias = Mapping[str, Any]
Result = TypeVar("Result")
Insert: TypeAlias = Callable[..., Any]
"""A dialect's ``insert``: standard SQL has no ``ON CONFLICT``."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """SQL text of one dialect, and the names of its parameters in order."""

    sql: str
    names: Sequence[str]
    constants: Values

    def arguments(self, values: Values) -> list[Any]:
        """The values in the driver's order."""
        constants = self.constants
        return [values[name] if name in values else constants[name] for name in self.names]


class Statement:
    """A statement that is compiled when it is first run.

    Args:
        build: makes the clause, given the dialect's ``insert``.
    """

    def __init__(self, build: Callable[[Insert], ClauseElement]) -> None:
        self._build = build
        self._sqlite: Compiled | None = None
        self._postgres: Compiled | None = None

    def for_sqlite(self) -> Compiled:
        """The statement as `sqlite3` takes it."""
        if self._sqlite is None:
            self._sqlite = _compile(self._build(sqlite_dml.Insert), pysqlite.dialect())
        return self._sqlite

    def for_postgres(self) -> Compiled:
        """The statement as `asyncpg` takes it."""
        if self._postgres is None:
            self._postgres = _compile(self._build(postgresql_dml.Insert), postgresql_asyncpg.dialect())  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy
        return self._postgres


def _compile(clause: ClauseElement, dialect: Dialect) -> Compiled:
    compiled = clause.compile(dialect=dialect)
    if not isinstance(compiled, SQLCompiler):
        raise TypeError("only SQL statements can be run")
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return Compiled(str(compiled), tuple(compiled.positiontup or ()), constants)


Step: TypeAlias = tuple[Statement, Values | Sequence[Values]]
"""A statement with its values; with a sequence of them it runs once for each and gives no rows."""
Work: TypeAlias = Generator[Step, Sequence[Row], Result]


class Database(Protocol):
    """One database. Methods raise `authn.errors.StoreUnavailable` when it cannot be reached."""

    @property
    def writes_within_with(self) -> bool:
        """Whether one statement may change several tables (``WITH … AS (UPDATE …)``), which saves round trips."""
        ...

    async def fetch(self, statement: Statement, values: Values) -> Sequence[Row]:
        """Run one statement in a transaction of its own, durable when this returns."""
        ...

    async def run(self, work: Work[Result]) -> Result:
        """Run steps in one transaction: all of them are durable when this returns, or none happened.

        An exception that ``work`` raises rolls back and is passed on.
        """
        ...

    async def script(self, sql: str) -> None:
        """Run statements without parameters, in one transaction that no other process' script runs beside."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then let go."""
        ...
