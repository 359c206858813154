"""The installation's settings: read once from the environment and the command line, refused by name when bad."""

import base64
import binascii
import os
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from api.auth import EVERY_SCOPE

_KEY_BYTES = 32
_LEVELS = ("debug", "info", "warning", "error")

__all__ = ["EVERY_SCOPE", "Address", "BadSetting", "Settings", "Tls", "key_encryption_keys", "read_settings"]


class BadSetting(Exception):
    """A setting that cannot be used; the message names its variable."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """Both listeners' certificate, with its chain, and its private key: files in PEM."""

    cert_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can set. ``key_encryption_keys`` is empty where none was given."""

    http_addr: Address
    grpc_addr: Address | None
    tls: Tls | None
    database_url: str
    postgres_replica_urls: tuple[str, ...]
    redis_url: str | None
    preshared_keys: tuple[str, ...]
    issuer: str
    workers: int
    key_encryption_keys: tuple[bytes, ...]
    replica_bytes_max: int
    log_level: str

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is the embedded one."""
        return self.database_url.startswith("sqlite:")


DEFAULTS: Mapping[str, str] = {
    "TESSERA_HTTP_ADDR": "127.0.0.1:8080",
    "TESSERA_GRPC_ADDR": "127.0.0.1:50051",
    "TESSERA_TLS_CERT_FILE": "",
    "TESSERA_TLS_KEY_FILE": "",
    "TESSERA_DATABASE_URL": "sqlite:///./tessera.db",
    "TESSERA_POSTGRES_REPLICA_URLS": "",
    "TESSERA_REDIS_URL": "",
    "TESSERA_PRESHARED_KEYS": "",
    "TESSERA_ISSUER": "",
    "TESSERA_WORKERS": "1",
    "TESSERA_KEY_ENCRYPTION_KEYS": "",
    "TESSERA_REPLICA_BYTES_MAX": str(1 << 30),
    "TESSERA_LOG_LEVEL": "info",
}


def read_settings(environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None) -> Settings:
    """Settings from variables, with flags (by variable name) in their place.

    Raises:
        BadSetting: a value is not of its form, or a variable of ours is unknown.
    """
    given = {name: value for name, value in environment.items() if name.startswith("TESSERA_")}
    for name in given:
        if name not in DEFAULTS:
            raise BadSetting(name, "there is no such setting")
    values = {**DEFAULTS, **given, **(flags or {})}
    http_addr, tls = _address("TESSERA_HTTP_ADDR", values), _tls(values)
    issuer = f"{'https' if tls else 'http'}://{http_addr}"
    return Settings(
        http_addr=http_addr,
        grpc_addr=_address("TESSERA_GRPC_ADDR", values) if values["TESSERA_GRPC_ADDR"] else None,
        tls=tls,
        database_url=_url("TESSERA_DATABASE_URL", values, ("sqlite", "postgresql")),
        postgres_replica_urls=_replica_urls(values),
        redis_url=_url("TESSERA_REDIS_URL", values, ("redis", "rediss", "unix"))
        if values["TESSERA_REDIS_URL"]
        else None,
        preshared_keys=_preshared_keys(values["TESSERA_PRESHARED_KEYS"]),
        issuer=_issuer(values["TESSERA_ISSUER"]) if values["TESSERA_ISSUER"] else issuer,
        workers=_integer("TESSERA_WORKERS", values, 1, 256),
        key_encryption_keys=_keys(values["TESSERA_KEY_ENCRYPTION_KEYS"]),
        replica_bytes_max=_integer("TESSERA_REPLICA_BYTES_MAX", values, 0, 1 << 50),
        log_level=_one_of("TESSERA_LOG_LEVEL", values, _LEVELS),
    )


def key_encryption_keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys given; with SQLite and none given, one from a file beside the database, made when there is none.

    Raises:
        BadSetting: none given with another database, or the file's content is no key.
    """
    name = "TESSERA_KEY_ENCRYPTION_KEYS"
    if settings.key_encryption_keys:
        return settings.key_encryption_keys
    if not settings.is_sqlite:
        raise BadSetting(name, "is needed with this database: 32 random bytes in base64 (`openssl rand -base64 32`)")
    location = settings.database_url.removeprefix("sqlite:///")
    if location == ":memory:":
        return (secrets.token_bytes(_KEY_BYTES),)
    path = Path(location).with_suffix(".key")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        keys = _keys(path.read_text().strip(), str(path))
        if not keys:
            raise BadSetting(str(path), "the file is empty; what it held cannot be made again") from None
        return keys
    with os.fdopen(descriptor, "w") as file:
        file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() + "\n")
    return _keys(path.read_text().strip(), str(path))


def _address(name: str, values: Mapping[str, str]) -> Address:
    host, _, port = values[name].rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise BadSetting(name, f"`{values[name]}` is no `host:port`")
    return Address(host.strip("[]"), int(port))


def _tls(values: Mapping[str, str]) -> Tls | None:
    names = ("TESSERA_TLS_CERT_FILE", "TESSERA_TLS_KEY_FILE")
    given = [values[name] for name in names]
    if not any(given):
        return None
    for name, value in zip(names, given, strict=True):
        if not value:
            raise BadSetting(name, "a certificate and its key are given together or not at all")
        if not Path(value).is_file():
            raise BadSetting(name, f"there is no file `{value}`")
    tls = Tls(*map(Path, given))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.cert_file, tls.key_file, password="")
    except (OSError, ValueError) as error:
        raise BadSetting(names[0], f"is no certificate for the key in `{tls.key_file}`: {error}") from error
    return tls


def _url(name: str, values: Mapping[str, str], schemes: tuple[str, ...]) -> str:
    value = values[name]
    scheme = value.partition(":")[0]
    if scheme not in schemes or "://" not in value:
        raise BadSetting(name, f"wants a URL that starts with {' or '.join(f'`{s}://`' for s in schemes)}")
    return value


def _replica_urls(values: Mapping[str, str]) -> tuple[str, ...]:
    name = "TESSERA_POSTGRES_REPLICA_URLS"
    urls = tuple(url.strip() for url in values[name].split(",")) if values[name] else ()
    if any(not url.startswith("postgresql://") for url in urls):
        raise BadSetting(name, "wants URLs that start with `postgresql://`, separated by commas")
    if urls and not values["TESSERA_DATABASE_URL"].startswith("postgresql://"):
        raise BadSetting(name, "only a Postgres database has read replicas")
    return urls


def _issuer(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise BadSetting("TESSERA_ISSUER", f"`{value}` is no http(s) URL without query and fragment")
    return value.rstrip("/")


def _integer(name: str, values: Mapping[str, str], least: int, most: int) -> int:
    value = values[name]
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
        raise BadSetting(name, f"`{value}` is no whole number from {least} to {most}")
    return int(value)


def _one_of(name: str, values: Mapping[str, str], words: tuple[str, ...]) -> str:
    if values[name] not in words:
        raise BadSetting(name, f"`{values[name]}` is none of {', '.join(words)}")
    return values[name]


def _preshared_keys(value: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in value.split(",")) if value else ()
    if any(not key for key in keys):
        raise BadSetting("TESSERA_PRESHARED_KEYS", "one of the keys is empty")
    return keys


def _keys(value: str, name: str = "TESSERA_KEY_ENCRYPTION_KEYS") -> tuple[bytes, ...]:
    keys = []
    for text in value.split(",") if value else ():
        try:
            standard = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
            key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except binascii.Error as error:
            raise BadSetting(name, "a key is no base64") from error
        if len(key) != _KEY_BYTES:
            raise BadSetting(name, f"a key has {len(key)} bytes and wants {_KEY_BYTES} (`openssl rand -base64 32`)")
        keys.append(key)
    return tuple(keys)
