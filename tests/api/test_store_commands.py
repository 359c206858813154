"""`tessera store` and `tessera migrate`, as an operator types them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import migrate, stores

runner = CliRunner()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database brought up to date by the command."""
    made = f"sqlite:///{tmp_path}/tessera.db"
    assert runner.invoke(migrate.app, ["--database-url", made]).exit_code == 0
    return made


def store(url: str, *words: str) -> Any:
    """What a command prints."""
    result = runner.invoke(stores.app, [*words, "--database-url", url])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_store_is_made_bounded_deleted_and_recovered(url: str) -> None:
    """Each command prints what became of it."""
    made = store(url, "create", "red", "--relationships-max", "5")
    assert made["quotas"] == {"relationships_max": 5, "writes_per_second_max": None}
    assert store(url, "quotas", "red", "--writes-per-second-max", "9")["quotas"]["relationships_max"] is None
    assert [one["name"] for one in store(url, "list")] == ["red"]
    assert store(url, "delete", "red")["deleted_at"]
    assert store(url, "list") == []
    assert [one["name"] for one in store(url, "list", "--deleted")] == ["red"]
    assert store(url, "recover", str(made["store_id"]))["name"] == "red"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["delete", "none"], id="an unknown store"),
        pytest.param(["recover", "7"], id="nothing to recover"),
        pytest.param(["quotas", "none"], id="quotas of an unknown store"),
        pytest.param(["create", "red", "--relationships-max", "-1"], id="a negative bound"),
    ],
)
def test_what_cannot_be_done_says_so(url: str, words: list[str]) -> None:
    """With exit status 2."""
    assert runner.invoke(stores.app, [*words, "--database-url", url]).exit_code == 2


def test_stores_of_a_database_that_is_not_ours(tmp_path: Path) -> None:
    """An empty one is not made ours in passing."""
    result = runner.invoke(stores.app, ["list", "--database-url", f"sqlite:///{tmp_path}/empty.db"])
    assert result.exit_code == 2


def test_where_the_tables_stand(tmp_path: Path) -> None:
    """Pending before, nothing after, unknown versions refused."""
    url = f"sqlite:///{tmp_path}/new.db"
    before = runner.invoke(migrate.app, ["status", "--database-url", url])
    assert (before.exit_code, "pending 0001" in before.stdout) == (1, True)
    assert runner.invoke(migrate.app, ["--database-url", url]).exit_code == 0
    after = runner.invoke(migrate.app, ["status", "--database-url", url])
    assert (after.exit_code, "pending nothing" in after.stdout) == (0, True)
    newest = runner.invoke(migrate.app, ["head", "--database-url", url]).stdout.strip()
    assert runner.invoke(migrate.app, ["to", newest, "--database-url", url]).exit_code == 0
    assert runner.invoke(migrate.app, ["to", "9999", "--database-url", url]).exit_code == 2


@pytest.mark.parametrize("command", ["status", "head"])
def test_a_bad_url_is_refused_by_name(command: str) -> None:
    """As everywhere."""
    result = runner.invoke(migrate.app, [command, "--database-url", "mysql://host/db"])
    assert result.exit_code == 2
