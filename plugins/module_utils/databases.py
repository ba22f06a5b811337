# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.databases does: databases and accounts of a MariaDB server.

The server is reached over its unix socket as root. Passwords are compared and set as the server's own hash, so that
the clear text stands in no statement and in no log.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any

from .reconcile import Action, plan

PLUGIN = "mysql_native_password"
SSL_ANY = 1  # mysql.global_priv, ssl_type: REQUIRE SSL
GRANT = re.compile(r"^GRANT (?P<privileges>.+?) ON (?P<scope>.+?) TO ")

Accounts = dict[str, dict[str, Any]]


class DatabaseError(Exception):
    """The server cannot be asked; the text says why."""


def native_hash(password: str) -> str:
    """The server's stored form of a password (MariaDB documentation, PASSWORD()): `*` and 40 hexadecimal digits."""
    inner = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(inner, usedforsecurity=False).hexdigest().upper()


def host_pattern(host: str) -> str:
    """The server's way to write a network: 10.0.0.0/24 becomes 10.0.0.0/255.255.255.0; others stay as they are."""
    if "/" not in host:
        return host
    return IPv4Network(host).with_netmask


def scope_of(database: str) -> str:
    """What a grant on a whole database is written on. `_` and `%` are wildcards there, so they are escaped."""
    quoted = database.replace("`", "``").replace("_", r"\_").replace("%", r"\%")
    return f"`{quoted}`.*"


def account(name: str, host: str) -> str:
    """An account as statements name it."""
    return f"`{name.replace('`', '``')}`@`{host.replace('`', '``')}`"


def desired_accounts(users: Iterable[Mapping[str, Any]]) -> Accounts:
    """From the module's list to the fields of each account, by its quoted name."""
    return {
        account(user["name"], host_pattern(user["host"])): {
            "user": user["name"],
            "hash": native_hash(user["password"]),
            "plugin": PLUGIN,
            "require_ssl": user["require_ssl"],
            "locked": False,
            "grants": {scope_of(name): _privileges(user["privileges"]) for name in user["databases"]},
        }
        for user in users
    }


def _privileges(names: Iterable[str]) -> list[str]:
    return sorted({name.strip().upper().removesuffix(" PRIVILEGES") for name in names})


def account_fields(user: str, stored: str, grants: Iterable[str]) -> dict[str, Any]:
    """The fields of an account from its row in mysql.global_priv and the lines of SHOW GRANTS."""
    privilege = json.loads(stored)
    return {
        "user": user,
        "hash": privilege.get("authentication_string", ""),
        "plugin": privilege.get("plugin", ""),
        "require_ssl": privilege.get("ssl_type", 0) == SSL_ANY,
        "locked": bool(privilege.get("account_locked", False)),
        "grants": parse_grants(grants),
    }


def parse_grants(lines: Iterable[str]) -> dict[str, list[str]]:
    """SHOW GRANTS as {scope: privileges}. USAGE, which permits nothing but to log in, is left out."""
    result: dict[str, list[str]] = {}
    for line in lines:
        match = GRANT.match(line)
        if not match:
            continue
        names = _privileges(match["privileges"].split(","))
        if line.endswith("WITH GRANT OPTION"):
            names = sorted([*names, "GRANT OPTION"])
        if names != ["USAGE"]:
            result[match["scope"]] = names
    return result


def plan_all(
    databases: Mapping[str, Mapping[str, Any]], accounts: Accounts, found: tuple[Mapping[str, Any], Accounts]
) -> list[Action]:
    """Databases first, then accounts.

    A database is never dropped, and its defaults are its service's once it is there: migrations of keystone, nova and
    cinder set them. Of the accounts only those are, which have the name of a wanted one and another host.
    """
    names = {fields["user"] for fields in accounts.values()}
    new = plan(databases, found[0], what="database", ignore={"charset", "collation"})
    return new + plan(accounts, found[1], what="account", purge=lambda _, fields: fields["user"] in names)


class Server:
    """A MariaDB server, asked over its unix socket."""

    def __init__(self, socket: str) -> None:
        try:
            import pymysql
        except ImportError as error:
            raise DatabaseError("python3-pymysql is not installed") from error
        try:
            self._connection = pymysql.connect(unix_socket=socket, user="root", charset="utf8mb4", autocommit=True)
        except pymysql.err.MySQLError as error:
            raise DatabaseError(f"MariaDB does not answer at {socket}: {error}; see journalctl -u mariadb") from error

    def _rows(self, statement: str) -> Sequence[Sequence[Any]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def _text(self, value: str) -> str:
        return str(self._connection.literal(value))

    def databases(self) -> dict[str, dict[str, Any]]:
        """Every database."""
        return {row[0]: {} for row in self._rows("SHOW DATABASES")}

    def accounts(self, users: Iterable[str]) -> Accounts:
        """The accounts which have one of these names."""
        names = ", ".join(self._text(name) for name in users)
        if not names:
            return {}
        result = {}
        for user, host, stored in self._rows(f"SELECT user, host, priv FROM mysql.global_priv WHERE user IN ({names})"):
            who = account(user, host)
            result[who] = account_fields(user, stored, [row[0] for row in self._rows(f"SHOW GRANTS FOR {who}")])
        return result

    def apply(self, action: Action) -> None:
        """Do one step of the plan."""
        statements = database_statements(action) if action.what == "database" else account_statements(action)
        for statement in statements:
            self._rows(statement)


def database_statements(action: Action) -> list[str]:
    """SQL which makes a database."""
    fields = action.after or {}
    name = action.name.replace("`", "``")
    return [f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET {fields['charset']} COLLATE {fields['collation']}"]


def account_statements(action: Action) -> list[str]:
    """SQL which makes, changes or removes an account. It exists at no moment without password or without TLS."""
    if action.kind == "delete":
        return [f"DROP USER IF EXISTS {action.name}"]
    after = action.after or {}
    before = action.before or {}
    if action.kind == "create":
        identity = _identity(action.name, after)
        statements = [f"CREATE OR REPLACE USER {action.name}{identity}{_require(after)}"]
        return statements + grant_statements(action.name, {}, after["grants"])
    statements = []
    if "hash" in after or "plugin" in after:
        statements.append(f"ALTER USER {action.name}{_identity(action.name, after)}")
    if "require_ssl" in after:
        statements.append(f"ALTER USER {action.name}{_require(after)}")
    if "locked" in after:
        statements.append(f"ALTER USER {action.name} ACCOUNT UNLOCK")
    if "grants" in after:
        statements += grant_statements(action.name, before["grants"], after["grants"])
    return statements


def _require(fields: Mapping[str, Any]) -> str:
    return f" REQUIRE {'SSL' if fields['require_ssl'] else 'NONE'}"


def _identity(who: str, fields: Mapping[str, Any]) -> str:
    if "hash" not in fields:  # a foreign plugin with the very same hash: nothing that this module made
        raise DatabaseError(f"{who} logs in by another plugin than {PLUGIN}; look at it and drop it by hand")
    return f" IDENTIFIED VIA {PLUGIN} USING '{fields['hash']}'"


def grant_statements(who: str, before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> list[str]:
    """SQL from one set of grants to another: what is too much goes first."""
    statements = []
    for scope, names in before.items():
        surplus = sorted(set(names) - set(after.get(scope, ())))
        statements += [f"REVOKE {', '.join(surplus)} ON {scope} FROM {who}"] if surplus else []
    for scope, names in after.items():
        missing = sorted(set(names) - set(before.get(scope, ())))
        statements += [f"GRANT {', '.join(missing)} ON {scope} TO {who}"] if missing else []
    return statements
