"""Settings: read once, refused by the name of their variable."""

import base64
from pathlib import Path

import pytest

from api.settings import DEFAULTS, Address, BadSetting, Tls, key_encryption_keys, read_settings
from tests.api.certificates import certificate

KEY = base64.b64encode(bytes(range(32))).decode()


def test_defaults() -> None:
    """What stands where nothing is said."""
    settings = read_settings({})
    assert settings.http_addr == Address("127.0.0.1", 8080)
    assert settings.grpc_addr == Address("127.0.0.1", 50051)
    assert settings.database_url == "sqlite:///./tessera.db"
    assert settings.issuer == "http://127.0.0.1:8080"
    assert (settings.workers, settings.redis_url, settings.preshared_keys) == (1, None, ())


def test_flags_win_over_variables() -> None:
    """And other programs' variables are none of ours."""
    settings = read_settings({"TESSERA_WORKERS": "2", "HOME": "/"}, {"TESSERA_WORKERS": "3"})
    assert settings.workers == 3


def test_an_issuer_has_no_slash_at_its_end() -> None:
    """It is compared to the byte."""
    assert read_settings({"TESSERA_ISSUER": "https://id.example/"}).issuer == "https://id.example"


def test_several_preshared_keys() -> None:
    """Separated by commas, blanks around them dropped."""
    assert read_settings({"TESSERA_PRESHARED_KEYS": "one, two"}).preshared_keys == ("one", "two")


def test_no_grpc() -> None:
    """An empty address turns it off."""
    assert read_settings({"TESSERA_GRPC_ADDR": ""}).grpc_addr is None


def test_an_address_of_six_bytes_a_part() -> None:
    """IPv6 stands in brackets."""
    address = read_settings({"TESSERA_HTTP_ADDR": "[::1]:80"}).http_addr
    assert (address.host, address.port, str(address)) == ("::1", 80, "[::1]:80")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TESSERA_HTTP_ADDR", "8080"),
        ("TESSERA_HTTP_ADDR", ""),
        ("TESSERA_HTTP_ADDR", "host:port"),
        ("TESSERA_HTTP_ADDR", "127.0.0.1:70000"),
        ("TESSERA_GRPC_ADDR", "nowhere"),
        ("TESSERA_DATABASE_URL", "tessera.db"),
        ("TESSERA_DATABASE_URL", "mysql://host/db"),
        ("TESSERA_DATABASE_URL", ""),
        ("TESSERA_REDIS_URL", "localhost:6379"),
        ("TESSERA_PRESHARED_KEYS", "one,,two"),
        ("TESSERA_PRESHARED_KEYS", ","),
        ("TESSERA_ISSUER", "id.example"),
        ("TESSERA_ISSUER", "https://id.example/?a=1"),
        ("TESSERA_ISSUER", "ftp://id.example"),
        ("TESSERA_WORKERS", "0"),
        ("TESSERA_WORKERS", "-1"),
        ("TESSERA_WORKERS", "many"),
        ("TESSERA_WORKERS", "1000"),
        ("TESSERA_WORKERS", "²"),
        ("TESSERA_KEY_ENCRYPTION_KEYS", "short"),
        ("TESSERA_KEY_ENCRYPTION_KEYS", "!" * 44),
        ("TESSERA_KEY_ENCRYPTION_KEYS", f"{KEY},AAAA"),
        ("TESSERA_REPLICA_BYTES_MAX", "1GiB"),
        ("TESSERA_LOG_LEVEL", "loud"),
        ("TESSERA_POSTGRES_REPLICA_URLS", "postgresql://replica/db"),
        ("TESSERA_POSTGRES_REPLICA_URLS", "replica"),
        ("TESSERA_HTTP_ADR", "127.0.0.1:8080"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, value: str) -> None:
    """A misspelt name too: it would otherwise do nothing, silently."""
    with pytest.raises(BadSetting, match=name):
        read_settings({name: value})


def test_every_setting_has_a_default() -> None:
    """So that the list of them is one."""
    assert all(name.startswith("TESSERA_") for name in DEFAULTS)


@pytest.mark.parametrize("text", [KEY, KEY.rstrip("="), base64.urlsafe_b64encode(b"\xff" * 32).decode()])
def test_keys_in_any_base64(text: str) -> None:
    """Padded or not, either alphabet."""
    assert len(read_settings({"TESSERA_KEY_ENCRYPTION_KEYS": text}).key_encryption_keys[0]) == 32


def test_a_key_is_made_beside_an_embedded_database(tmp_path: Path) -> None:
    """Once, for its owner's eyes alone."""
    settings = read_settings({"TESSERA_DATABASE_URL": f"sqlite:///{tmp_path}/tessera.db"})
    first = key_encryption_keys(settings)
    made = tmp_path / "tessera.key"
    assert made.stat().st_mode & 0o777 == 0o600
    assert key_encryption_keys(settings) == first
    assert len(first[0]) == 32


def test_a_damaged_key_file_is_refused(tmp_path: Path) -> None:
    """By its name, and not written over."""
    (tmp_path / "tessera.key").write_text("damaged")
    settings = read_settings({"TESSERA_DATABASE_URL": f"sqlite:///{tmp_path}/tessera.db"})
    with pytest.raises(BadSetting, match=r"tessera\.key"):
        key_encryption_keys(settings)
    assert (tmp_path / "tessera.key").read_text() == "damaged"


def test_postgres_needs_a_key() -> None:
    """Several processes must have the same, so none is made."""
    settings = read_settings({"TESSERA_DATABASE_URL": "postgresql://host/db"})
    with pytest.raises(BadSetting, match="TESSERA_KEY_ENCRYPTION_KEYS"):
        key_encryption_keys(settings)


def test_a_database_in_memory_has_a_key_of_its_own() -> None:
    """Which goes with it."""
    settings = read_settings({"TESSERA_DATABASE_URL": "sqlite:///:memory:"})
    assert key_encryption_keys(settings) != key_encryption_keys(settings)


def test_a_certificate(tmp_path: Path) -> None:
    """Both files or neither; what tokens name is then an https address."""
    certificate_file, key_file = certificate(tmp_path)
    given = {"TESSERA_TLS_CERT_FILE": str(certificate_file), "TESSERA_TLS_KEY_FILE": str(key_file)}
    settings = read_settings(given)
    assert settings.tls == Tls(certificate_file, key_file)
    assert settings.issuer == "https://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("cert", "key", "name"),
    [
        pytest.param("server.crt", "", "TESSERA_TLS_KEY_FILE", id="no key"),
        pytest.param("", "server.key", "TESSERA_TLS_CERT_FILE", id="no certificate"),
        pytest.param("nothing", "server.key", "TESSERA_TLS_CERT_FILE", id="no such file"),
        pytest.param("server.crt", ".", "TESSERA_TLS_KEY_FILE", id="a folder"),
        pytest.param("server.key", "server.key", "TESSERA_TLS_CERT_FILE", id="a key for the certificate"),
        pytest.param("server.crt", "other/server.key", "TESSERA_TLS_CERT_FILE", id="another certificate's key"),
    ],
)
def test_certificates_that_are_refused(tmp_path: Path, cert: str, key: str, name: str) -> None:
    """Each by the name of its variable."""
    other = tmp_path / "other"
    other.mkdir()
    certificate(tmp_path)
    certificate(other)
    given = {
        "TESSERA_TLS_CERT_FILE": str(tmp_path / cert) if cert else "",
        "TESSERA_TLS_KEY_FILE": str(tmp_path / key) if key else "",
    }
    with pytest.raises(BadSetting, match=name):
        read_settings(given)
