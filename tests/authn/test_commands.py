"""`tessera client`, `keys` and `audit`: on the database itself, beside a running service or before one."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.cli.main import app
from authn.stores.connect import connect
from tests.authn.forge import Key
from tests.authn.harness import basic, running
from tests.end_to_end.service import encryption_key

KEY = Key()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("TESSERA_DATABASE_URL", "TESSERA_ISSUER", "TESSERA_KEY_ENCRYPTION_KEYS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*arguments: str, text: str | None = None, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=text, env=dict(env or {}))


def printed(*arguments: str, text: str | None = None) -> Any:
    result = run(*arguments, text=text)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: str, text: str | None = None, env: Mapping[str, str] | None = None) -> str:
    result = run(*arguments, text=text, env=env)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


def test_one_client(folder: Path) -> None:
    """Its secret is shown once."""
    made = printed("client", "create", "--id", "svc", "--scope", "a", "--scope", "b", "--name", "A service")
    assert (made["client_id"], made["scope"], made["client_name"]) == ("svc", "a b", "A service")
    secret = made.pop("client_secret")
    del made["client_secret_expires_at"]
    assert printed("client", "show", "svc") == made
    assert printed("client", "list") == [made]
    assert secret not in run("client", "show", "svc").stdout
    assert (folder / "tessera.key").stat().st_mode & 0o777 == 0o600


def test_many_clients_from_a_file(folder: Path) -> None:
    """A list in, a list out; an object in, an object out; what was given is kept."""
    file = folder / "clients.json"
    file.write_text(
        json.dumps([{"client_id": "a", "client_secret": "a-secret-of-mine"}, {"jwks": {"keys": [KEY.jwk]}}])
    )
    first, second = printed("client", "create", "--file", "clients.json")
    assert first["client_secret"] == "a-secret-of-mine"
    assert second["jwks"] == {"keys": [KEY.jwk]}
    assert "client_secret" not in second
    assert printed("client", "create", "--file", "-", text='{"client_id":"c"}')["client_id"] == "c"
    assert len(printed("client", "list")) == 3


@pytest.mark.parametrize(
    ("arguments", "text", "told"),
    [
        (("create", "--file", "-"), "{", "not JSON"),
        (("create", "--file", "-"), '{"a":1,"a":2}', "distinct member names"),
        (("create", "--file", "-"), "7", "neither a JSON object nor a list"),
        (("create", "--file", "-"), "[1]", "neither a JSON object nor a list"),
        (("create", "--file", "-"), "[]", "1 to 1000 at once"),
        (("create", "--file", "-"), '{"grant_types":["nope"]}', "`grant_types`: `nope` is not offered"),
        (("create", "--file", "no-such-file"), "", "no such file"),
        (("create", "--file", "-", "--scope", "a"), "{}", "goes without the other options"),
        (("create", "--scope", "é"), "", "`scope`"),
        (("create", "--grant-type", "password"), "", "`password` is not offered"),
        (("show", "nobody"), "", "no client `nobody`"),
        (("update", "nobody", "--file", "-"), "{}", "no client `nobody`"),
        (("update", "nobody", "--file", "-"), "[]", "no JSON object"),
        (("disable", "nobody"), "", "no client `nobody`"),
        (("enable", "nobody"), "", "no client `nobody`"),
        (("revoke", "nobody"), "", "no client `nobody`"),
        (("delete", "nobody"), "", "no client `nobody`"),
        (("rotate-secret", "nobody"), "", "no client `nobody`"),
    ],
)
def test_refused(folder: Path, arguments: tuple[str, ...], text: str, told: str) -> None:
    """With a message, exit status 2, and nothing on standard output."""
    assert told in refused("client", *arguments, text=text)
    assert folder.exists()


def test_an_id_that_is_taken(folder: Path) -> None:
    """Nothing is registered of several."""
    printed("client", "create", "--id", "a")
    assert "exists already" in refused(
        "client", "create", "--file", "-", text='[{"client_id":"b"},{"client_id":"a"}]'
    )
    assert [client["client_id"] for client in printed("client", "list")] == ["a"]
    assert folder.exists()


def test_a_clients_life(folder: Path) -> None:
    """Changed, disabled, enabled, given another secret, forgotten."""
    printed("client", "create", "--id", "a", "--scope", "x")
    assert printed("client", "update", "a", "--file", "-", text='{"scope":"y"}')["scope"] == "y"
    assert run("client", "disable", "a").stdout == "client `a` is disabled\n"
    assert printed("client", "show", "a")["disabled"] is True
    assert run("client", "enable", "a").exit_code == 0
    assert len(printed("client", "rotate-secret", "a", "--overlap-seconds", "60")["client_secret"]) == 43
    assert "two are good already" in refused("client", "rotate-secret", "a", "--overlap-seconds", "60")
    assert run("client", "revoke", "a").exit_code == 0
    assert run("client", "delete", "a").exit_code == 0
    assert printed("client", "list") == []
    assert folder.exists()


def test_keys(folder: Path) -> None:
    """Listed; not rotated too early; revoked."""
    keys = printed("keys", "list")
    assert sorted((key["alg"], key["state"]) for key in keys) == [
        (alg, state) for alg in ("ES256", "EdDSA", "RS256") for state in ("active", "next")
    ]
    assert not any("d" in key for key in keys)
    assert "can sign from" in refused("keys", "rotate")
    active = next(key["kid"] for key in keys if (key["alg"], key["state"]) == ("ES256", "active"))
    assert run("keys", "revoke", active).exit_code == 0
    states = {key["kid"]: key["state"] for key in printed("keys", "list")}
    assert states[active] == "compromised"
    assert "no key `nope`" in refused("keys", "revoke", "nope")
    assert folder.exists()


def test_audit(folder: Path) -> None:
    """What the commands did is in the log, and a change of the log shows."""
    printed("client", "create", "--id", "a")
    result = run("audit", "verify")
    assert result.exit_code == 0
    assert "are as they were written" in result.stdout

    async def tamper() -> None:
        store = await connect(f"sqlite:///{folder}/tessera.db")
        await store.database.script("UPDATE authn_audit_events SET record = replace(record, '\"a\"', '\"b\"');")
        await store.close()

    asyncio.run(tamper())
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert "is not as it was written" in result.stderr


def test_beside_a_service(folder: Path) -> None:
    """A running service hears of it within a second; the commands leave the first admin client to it."""
    printed("client", "create", "--id", "early", "--scope", "a")
    keys = (folder / "tessera.key").read_text().strip()
    import base64

    async def serve() -> None:
        kek = base64.b64decode(keys)
        async with running(f"sqlite:///{folder}/tessera.db", key_encryption_keys=(kek,)) as identity:
            assert identity.admin is not None
            made = await asyncio.to_thread(printed, "client", "create", "--id", "late", "--scope", "a")
            form = {"grant_type": "client_credentials"}
            auth = basic("late", made["client_secret"])
            token = (await identity.post("/oauth2/token", form, auth=auth)).json["access_token"]
            await asyncio.to_thread(run, "client", "disable", "late")
            await asyncio.sleep(0.8)
            assert (await identity.post("/oauth2/token", form, auth=auth)).error == "invalid_client"
            admin = await identity.client(scope="admin")
            assert await identity.introspect(admin, token) == {"active": False}

    asyncio.run(serve())


def test_settings(folder: Path, postgres_url: str) -> None:
    """PostgreSQL needs a key, memory is nobody's, and a wrong key opens nothing."""
    url = {"TESSERA_DATABASE_URL": postgres_url}
    assert "TESSERA_KEY_ENCRYPTION_KEYS" in refused("client", "list", env=url)
    with_key = {**url, "TESSERA_KEY_ENCRYPTION_KEYS": encryption_key()}
    assert run("client", "list", env=with_key).stdout == "[]\n"
    other = {**url, "TESSERA_KEY_ENCRYPTION_KEYS": encryption_key()}
    assert "key-encryption key" in refused("client", "list", env=other)
    assert "memory" in refused("client", "list", "--database-url", "sqlite:///:memory:")
    assert "sqlite" in refused("client", "list", "--database-url", "mysql://x/y")
    assert folder.exists()
