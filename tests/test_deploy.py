"""What is shipped to run the service with: it names settings that exist, and values that they accept."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import DEFAULTS, read_settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
_VARIABLE = re.compile(r"\bTESSERA_[A-Z_]+")


def _texts() -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text() for path in DEPLOY.rglob("*") if path.is_file()}


def test_only_settings_that_exist_are_named() -> None:
    """Another would be refused at the start."""
    named = {(path, name) for path, text in _texts().items() for name in _VARIABLE.findall(text)}
    assert named
    assert [each for each in named if each[1] not in DEFAULTS] == []


def _image_environment() -> dict[str, str]:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return dict(re.findall(r"(TESSERA_[A-Z_]+)=(\S+)", text))


def test_the_image_starts_with_its_own_settings() -> None:
    """It listens on every address of its container and keeps its file where it may write."""
    settings = read_settings(_image_environment())
    assert str(settings.http_addr) == "0.0.0.0:8080"
    assert settings.database_url == "sqlite:////var/lib/tessera/tessera.db"


def test_the_image_is_made_of_all_that_the_wheel_holds() -> None:
    """What `.dockerignore` leaves out cannot be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    about = project["project"]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    wanted = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    wanted |= {
        "pyproject.toml",
        "constraints.txt",
        about["readme"],
        *about["license-files"],
    }
    assert kept == wanted


def test_the_image_does_not_run_as_root() -> None:
    """Its last user is a number that is not 0."""
    users = re.findall(r"^USER (\S+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert int(users[-1]) > 0


def _compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return services


def test_compose_gives_settings_that_are_accepted() -> None:
    """With the two secrets that it asks for, and defaults for the rest."""
    given = {"POSTGRES_PASSWORD": "0f" * 16, "TESSERA_KEY_ENCRYPTION_KEYS": KEY}

    def fill(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        return given[name] if kind == ":?" else given.get(name, rest)

    environment = {
        name: re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", fill, value)
        for name, value in _compose()["tessera"]["environment"].items()
    }
    settings = read_settings(_image_environment() | environment)
    assert settings.database_url == f"postgresql://tessera:{'0f' * 16}@postgres/tessera"
    assert settings.redis_url == "redis://redis:6379/0"
    assert len(settings.key_encryption_keys) == 1


def test_compose_asks_for_the_secrets() -> None:
    """None has a default, and none is written down."""
    text = (DEPLOY / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+):\?", text)) == {"POSTGRES_PASSWORD", "TESSERA_KEY_ENCRYPTION_KEYS"}


@pytest.mark.parametrize("service", ["tessera", "postgres", "redis"])
def test_compose_opens_no_port_to_others(service: str) -> None:
    """Only the service has ports, on the machine's own address."""
    ports = _compose()[service].get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert bool(ports) is (service == "tessera")


def test_the_unit_starts_with_its_own_settings() -> None:
    """It has no user but its own, and writes to its own folder."""
    unit = (DEPLOY / "tessera.service").read_text()
    settings = read_settings(dict(re.findall(r"^Environment=(TESSERA_[A-Z_]+)=(\S+)$", unit, re.MULTILINE)))
    assert settings.database_url == "sqlite:////var/lib/tessera/tessera.db"
    assert "\nDynamicUser=yes\nStateDirectory=tessera\n" in unit


def test_the_chart_takes_secrets_from_a_secret_alone() -> None:
    """Values hold none: the schema of the values refuses their names."""
    chart = DEPLOY / "helm" / "tessera"
    schema = yaml.safe_load((chart / "values.schema.json").read_text())
    refused = set(schema["properties"]["settings"]["propertyNames"]["not"]["enum"])
    secrets = {"TESSERA_DATABASE_URL", "TESSERA_REDIS_URL", "TESSERA_PRESHARED_KEYS", "TESSERA_KEY_ENCRYPTION_KEYS"}
    assert secrets <= refused
    values = yaml.safe_load((chart / "values.yaml").read_text())
    assert not refused & values["settings"].keys()


def test_the_chart_keeps_service_variables_out() -> None:
    """Those that Kubernetes makes for a Service of our name would be refused as unknown settings."""
    assert "enableServiceLinks: false" in (DEPLOY / "helm/tessera/templates/_names.tpl").read_text()


def test_versions_agree() -> None:
    """The chart's application is this one."""
    chart = yaml.safe_load((DEPLOY / "helm/tessera/Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]
