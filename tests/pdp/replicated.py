"""A Postgres with a streaming replica, whose replay a test can hold."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers import Postgres


class Replica(Postgres):
    """A copy of a running server that follows it."""

    def __init__(self, primary: Postgres) -> None:
        super().__init__()
        self._primary = primary

    def initialize(self) -> None:
        """Copy the primary, and follow it from then on."""
        self.call(
            self.binaries / "pg_basebackup",
            *("-D", self.data, "-h", "127.0.0.1", "-p", str(self._primary.port), "-U", "tessera"),
            *("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"),
        )

    def hold(self) -> None:
        """Replay nothing more."""
        self.execute("SELECT pg_wal_replay_pause()")

    def go_on(self) -> None:
        """Replay what came meanwhile, and what comes."""
        self.execute("SELECT pg_wal_replay_resume()")


@contextmanager
def running_pair() -> Iterator[tuple[Postgres, Replica]]:
    """A primary and its replica; removed at the end."""
    primary = Postgres(options={"wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on"})
    try:
        primary.initialize()
        primary.start()
        replica = Replica(primary)
        try:
            replica.initialize()
            replica.start()
            yield primary, replica
        finally:
            replica.remove()
    finally:
        primary.remove()
