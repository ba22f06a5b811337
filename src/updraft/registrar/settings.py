# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings, from one INI file that only the service may read. No secret comes by command line or environment."""

from __future__ import annotations

import configparser
import dataclasses
import json
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL

SECTION = "registrar"


class SettingsError(Exception):
    """The settings cannot be used; the text names the file and the setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Times are in seconds."""

    # Secrets
    operator_password: str = field(repr=False)
    session_key: str = field(repr=False)
    database_password: str = field(default="", repr=False)

    # Where it listens
    address: str = "127.0.0.1"
    port: int = 7777
    boot_address: str = "127.0.0.1"
    boot_port: int = 7778
    certificate: str = ""
    key: str = ""

    # Where it keeps what it knows: MariaDB, or SQLite where no host is given
    database_host: str = ""
    database_port: int = 3306
    database_socket: str = ""
    database_name: str = "registrar"
    database_user: str = "registrar"
    database_ca: str = ""
    database_file: str = "/var/lib/updraft-registrar/registrar.sqlite"

    # What may be approved
    pools: tuple[str, ...] = ("default",)
    roles: tuple[str, ...] = ("compute",)
    known_roles: tuple[str, ...] = ("compute",)
    reserved_names: tuple[str, ...] = ()
    approve: str = "code"  # or `declared`
    returns: str = "token"  # or `code`
    declared: tuple[dict[str, Any], ...] = ()  # machines of cloud.yml: name, mac, serial, pool, roles

    # Boot
    boot_url: str = ""  # what iPXE asks, without /boot/ipxe: http://SERVER
    cobbler_url: str = ""  # http://SERVER/cblr/svc/op/ipxe
    token_valid: int = 600
    token_after: int = 40
    strict_address: bool = True

    # Times and limits
    away_after: int = 90
    wait: int = 25
    seen_keep: int = 86400
    seen_limit: int = 10000
    body_limit: int = 65536
    body_time: int = 10
    rate_register: int = 30  # per address and minute
    rate_poll: int = 120
    rate_operator: int = 1200
    rate_boot: int = 60
    login_failures: int = 5
    session_hours: int = 8
    workers: int = 8
    connections: int = 20000

    def url(self) -> URL:
        """Of the database, for SQLAlchemy."""
        if not (self.database_host or self.database_socket):
            return URL.create("sqlite+pysqlite", database=self.database_file)
        query = {"charset": "utf8mb4"}
        if self.database_socket:
            query["unix_socket"] = self.database_socket
        return URL.create(
            "mysql+pymysql",
            username=self.database_user,
            password=self.database_password,
            host=self.database_host or None,
            port=self.database_port if self.database_host else None,
            database=self.database_name,
            query=query,
        )


def load(path: Path) -> Settings:
    """Read a settings file. Raises SettingsError: not there, readable by everybody, unknown or wrong settings."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise SettingsError(f"{path}: holds secrets and is open to everybody; chmod 0640")
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    try:
        parser.read_string(text, str(path))
        given = dict(parser[SECTION])
    except (configparser.Error, KeyError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return make(given, str(path))


def make(given: dict[str, str], where: str = "settings") -> Settings:
    """Settings from texts. Lists are JSON. Raises SettingsError."""
    types = {item.name: item for item in dataclasses.fields(Settings)}
    unknown = sorted(set(given) - set(types))
    if unknown:
        raise SettingsError(f"{where}: no setting {', '.join(unknown)}")
    values: dict[str, Any] = {}
    for name, text in given.items():
        try:
            values[name] = _value(types[name].type, text)
        except ValueError as error:
            raise SettingsError(f"{where}: {name}: {error}") from error
    try:
        settings = Settings(**values)
    except TypeError as error:
        raise SettingsError(f"{where}: {error}") from error
    problems = _problems(settings)
    if problems:
        raise SettingsError(f"{where}: {'; '.join(problems)}")
    return settings


def _value(kind: Any, text: str) -> Any:
    if kind == "int":
        return int(text)
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise ValueError(f"is true or false, not {text}")
        return text.lower() == "true"
    if str(kind).startswith("tuple"):
        found = json.loads(text)
        if not isinstance(found, list):
            raise ValueError("is a JSON list")
        return tuple(found)
    return text


def _problems(settings: Settings) -> list[str]:
    """What does not fit together."""
    problems = []
    if len(settings.session_key) < 16:
        problems.append("session_key: at least 16 characters")
    if len(settings.operator_password) < 8:
        problems.append("operator_password: at least 8 characters")
    if settings.approve not in ("code", "declared"):
        problems.append("approve: is code or declared")
    if settings.returns not in ("token", "code"):
        problems.append("returns: is token or code")
    if not settings.pools:
        problems.append("pools: at least one")
    for machine in settings.declared:
        if not {"name", "mac", "serial"} <= set(machine):
            problems.append("declared: each machine has name, mac and serial")
    return problems
