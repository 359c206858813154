"""`tessera backup`, as an operator types it: an installation into one file and back, identities with it."""

import base64
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.cli.main import app

WHERE = "--database-url"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("TESSERA_DATABASE_URL", "TESSERA_ISSUER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TESSERA_KEY_ENCRYPTION_KEYS", base64.b64encode(bytes(32)).decode())
    return tmp_path


@pytest.fixture
def installed(folder: Path) -> str:
    """An installation with two stores and a client."""
    url = f"sqlite:///{folder}/tessera.db"
    for words in (["migrate"], ["store", "create", "red"], ["store", "create", "blue"]):
        assert run(*words, WHERE, url).exit_code == 0
    assert run("client", "create", "--id", "svc", "--scope", "a", WHERE, url).exit_code == 0
    return url


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def printed(*words: str) -> Any:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 2, result.output
    return result.stderr


def rows(folder: Path, file: str, table: str) -> list[Any]:
    """All rows of a table."""
    connection = sqlite3.connect(folder / file)
    try:
        return sorted(connection.execute(f"SELECT * FROM {table}").fetchall())
    finally:
        connection.close()


def test_an_installation_comes_back(folder: Path, installed: str) -> None:
    """Stores, and clients, keys and their secrets as they stand."""
    made = printed("backup", "create", "file", WHERE, installed)
    assert made["stores"] == ["blue", "red"]
    assert (made["parts"], made["redacted"]) == (["authn"], False)
    assert (folder / "file").stat().st_mode & 0o777 == 0o600
    assert printed("backup", "show", "file") == made
    other = f"sqlite:///{folder}/other.db"
    assert printed("backup", "restore", "file", WHERE, other) == made
    assert [one["name"] for one in printed("store", "list", WHERE, other)] == ["blue", "red"]
    assert printed("client", "list", WHERE, other) == printed("client", "list", WHERE, installed)
    for table in ("authn_clients", "authn_client_secrets", "authn_signing_keys", "authn_shared_secrets"):
        assert rows(folder, "other.db", table) == rows(folder, "tessera.db", table)


def test_secrets_stay_sealed(folder: Path, installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever restores with other key-encryption keys has the rows, and cannot open them."""
    printed("backup", "create", "file", WHERE, installed)
    other = f"sqlite:///{folder}/other.db"
    printed("backup", "restore", "file", WHERE, other)
    monkeypatch.setenv("TESSERA_KEY_ENCRYPTION_KEYS", base64.b64encode(b"x" * 32).decode())
    assert "key-encryption key" in refused("client", "list", WHERE, other)


def test_only_one_store(folder: Path, installed: str) -> None:
    """Without identities, which are of the installation."""
    made = printed("backup", "create", "file", "--store", "red", WHERE, installed)
    assert (made["stores"], made["parts"]) == (["red"], [])


def test_a_redacted_file_has_no_identities(folder: Path, installed: str) -> None:
    """Nor can anything of them be restored from it."""
    made = printed("backup", "create", "file", "--redact", WHERE, installed)
    assert (made["redacted"], made["parts"]) == (True, [])


def test_what_is_there_is_replaced_only_when_told(folder: Path, installed: str) -> None:
    """Clients and keys are as precious as stores."""
    printed("backup", "create", "file", WHERE, installed)
    assert "clients or keys" in refused("backup", "restore", "file", WHERE, installed)
    assert run("client", "create", "--id", "later", "--scope", "a", WHERE, installed).exit_code == 0
    printed("backup", "restore", "file", "--replace", WHERE, installed)
    assert [one["client_id"] for one in printed("client", "list", WHERE, installed)] == ["svc"]


def test_a_file_is_never_written_over(folder: Path, installed: str) -> None:
    """Nor left half written."""
    (folder / "file").write_text("precious")
    assert "exists already" in refused("backup", "create", "file", WHERE, installed)
    assert (folder / "file").read_text() == "precious"
    assert "no store `green`" in refused("backup", "create", "new", "--store", "green", WHERE, installed)
    assert sorted(path.name for path in folder.iterdir() if "new" in path.name) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["create", "new", WHERE, "sqlite:///nowhere.db"], "no such file", id="no database"),
        pytest.param(["create", "new", WHERE, "sqlite:///:memory:"], "in memory", id="a database in memory"),
        pytest.param(["create", "no/such/folder/new"], "cannot use the file", id="no folder"),
        pytest.param(["restore", "garbage"], "no backup", id="no backup"),
        pytest.param(["show", "garbage"], "no backup", id="no backup to show"),
    ],
)
def test_what_cannot_be_done_says_so(folder: Path, installed: str, words: list[str], says: str) -> None:
    """With exit status 2, and no file made in passing."""
    (folder / "garbage").write_bytes(b"garbage")
    if words[0] != "show" and WHERE not in words:
        words = [*words, WHERE, installed]
    assert says in refused("backup", *words)
    assert not (folder / "nowhere.db").exists()


def test_a_record_that_is_not_known_restores_nothing(folder: Path, installed: str) -> None:
    """Identities are taken in by one transaction."""
    import msgspec
    import zstandard

    printed("backup", "create", "file", WHERE, installed)
    reader = zstandard.ZstdDecompressor().stream_reader((folder / "file").read_bytes())
    text = reader.read().replace(b'"authn_signing_keys"', b'"authn_unheard_of"')
    assert b"authn_unheard_of" in text
    (folder / "odd").write_bytes(zstandard.compress(text))
    assert msgspec.json.decode(text.split(b"\n")[0])[0] == "tessera-backup"
    before = rows(folder, "tessera.db", "authn_clients")
    assert "does not know" in refused("backup", "restore", "odd", "--replace", WHERE, installed)
    assert rows(folder, "tessera.db", "authn_clients") == before
