"""Independent OAuth clients, unmodified, against a running service: openid-client and oauth4webapi from npm."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.authn.forge import Key
from tests.end_to_end.service import ServiceProcess, run_tessera

pytestmark = pytest.mark.external

SOURCES = Path(__file__).parent / "identity"
INSTALLED = Path(__file__).parents[2] / ".cache" / "identity-clients"
KEY = Key()
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"


def secret(client_id: str) -> dict[str, str]:
    return {"client_id": client_id, "client_secret": f"{client_id}-secret-0123456789"}


CLIENTS: list[dict[str, Any]] = [
    {**secret("basic"), "token_endpoint_auth_method": "client_secret_basic"},
    {**secret("post"), "token_endpoint_auth_method": "client_secret_post", "resources": ["https://files.example"]},
    {**secret("nonce"), "token_endpoint_auth_method": "client_secret_post", "dpop_nonce_required": True},
    {**secret("opaque"), "token_endpoint_auth_method": "client_secret_post", "access_token_format": "opaque"},
    {
        **secret("family"),
        "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["client_credentials", "refresh_token", EXCHANGE],
    },
    {"client_id": "signed", "jwks": {"keys": [{**KEY.jwk, "kid": "k1"}]}},
    {"client_id": "bot", "token_endpoint_auth_method": "none", "dpop_jkts": [KEY.jkt]},
]


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """The clients, installed as they are published."""
    assert shutil.which("npm") and shutil.which("node"), "Node.js 20 or later with npm is needed"  # noqa: PT018
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "openid_client.mjs", "oauth4webapi.mjs"):
        shutil.copy(SOURCES / name, INSTALLED / name)
    subprocess.run(["npm", "ci", "--no-fund", "--no-audit", "--silent"], cwd=INSTALLED, check=True, timeout=300)
    return INSTALLED


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service with the clients registered."""
    folder = tmp_path_factory.mktemp("identity")
    with ServiceProcess(folder, {}) as service:
        service.start()
        file = folder / "clients.json"
        file.write_text(json.dumps([{"scope": "permissions:check a b", **client} for client in CLIENTS]))
        made = run_tessera("client", "create", "--file", str(file), settings=service.settings, folder=folder)
        assert made.returncode == 0, made.stderr
        yield service


def refresh_token(service: ServiceProcess) -> str:
    """The first token of a new family."""
    with httpx.Client(base_url=service.url, trust_env=False) as http:

        def ask(**form: str) -> str:
            answer = http.post("/oauth2/token", data={**secret("family"), **form})
            assert answer.status_code == 200, answer.text
            token: str = answer.json()["access_token"]
            return token

        own = ask(grant_type="client_credentials")
        return ask(
            grant_type=EXCHANGE,
            subject_token=own,
            subject_token_type=ACCESS_TOKEN,
            requested_token_type=REFRESH_TOKEN,
        )


def run_case(service: ServiceProcess, folder: Path, script: str, case: str) -> None:
    environment = {
        **os.environ,
        "ISSUER": service.url,
        "PRIVATE_JWK": json.dumps({**KEY.private_jwk, "kid": "k1"}),
        "REFRESH_TOKEN": refresh_token(service),
    }
    done = subprocess.run(
        ["node", script, case],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    "case",
    [
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt",
        "wrong_secret",
        "resource",
        "dpop_with_nonce",
        "key_bound",
        "refresh",
        "introspection",
        "revocation",
    ],
)
def test_openid_client(service: ServiceProcess, node_modules: Path, case: str) -> None:
    """panva's openid-client."""
    run_case(service, node_modules, "openid_client.mjs", case)


@pytest.mark.parametrize(
    "case",
    [
        "both_documents",
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt",
        "dpop_with_nonce",
        "refresh",
        "introspection",
    ],
)
def test_oauth4webapi(service: ServiceProcess, node_modules: Path, case: str) -> None:
    """panva's oauth4webapi."""
    run_case(service, node_modules, "oauth4webapi.mjs", case)
