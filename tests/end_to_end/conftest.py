"""Services for the tests of this folder; each ends with its test, whatever that did."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.service import ServiceProcess, encryption_key

MakeService = Callable[..., ServiceProcess]


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    """Makes services of the test's own, not started yet, each in a folder of its own."""
    with ExitStack() as stack:
        made = 0

        def make(settings: Mapping[str, str] | None = None) -> ServiceProcess:
            nonlocal made
            made += 1
            folder = tmp_path / f"service-{made}"
            folder.mkdir()
            return stack.enter_context(ServiceProcess(folder, settings or {}))

        yield make


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A started service with the tests' small schema, for tests that leave no traces but their own."""
    with ServiceProcess(tmp_path_factory.mktemp("shared"), {}) as service:
        service.start()
        service.write_schema()
        yield service


@pytest.fixture
def service(make_service: MakeService) -> ServiceProcess:
    """A started service of the test's own over an SQLite file, with the tests' small schema."""
    service = make_service()
    service.start()
    service.write_schema()
    return service


@pytest.fixture(params=["sqlite", "postgres"])
def stored_service(request: pytest.FixtureRequest, make_service: MakeService) -> ServiceProcess:
    """A service over either database, not started yet."""
    if request.param == "sqlite":
        return make_service()
    return make_service(postgres_settings(request.getfixturevalue("postgres_url")))


def postgres_settings(url: str) -> dict[str, str]:
    """The settings of a service over a Postgres database."""
    return {"TESSERA_DATABASE_URL": url, "TESSERA_KEY_ENCRYPTION_KEYS": encryption_key()}
