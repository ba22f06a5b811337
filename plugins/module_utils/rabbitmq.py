# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.rabbitmq does: virtual hosts, users and permissions of a RabbitMQ broker.

What is there comes from one export of the broker's definitions, what changes goes in as one import, with passwords as
salted hashes: no secret is ever on a command line or in a log.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pwd
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .reconcile import Action, Fields, plan

ALGORITHM = "rabbit_password_hashing_sha256"
USER = "rabbitmq"
PORT_MAPPER = 4369
SALT = 4  # bytes before the digest, https://www.rabbitmq.com/docs/passwords

Objects = dict[str, dict[str, Any]]


class BrokerError(Exception):
    """The broker cannot be asked; the text says why."""


def password_hash(password: str, salt: bytes) -> str:
    """The broker's stored form of a password."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def is_password(password: str, stored: str) -> bool:
    """Whether a stored hash is that of this password."""
    try:
        salt = base64.b64decode(stored, validate=True)[:SALT]
    except ValueError:
        return False
    return secrets.compare_digest(password_hash(password, salt), stored)


def desired_objects(vhosts: Iterable[Mapping[str, Any]], users: Iterable[Mapping[str, Any]]) -> dict[str, Objects]:
    """From the module's lists to {vhost, user, permission: {name: fields}}."""
    result: dict[str, Objects] = {"vhost": {}, "user": {}, "permission": {}}
    for vhost in vhosts:
        result["vhost"][vhost["name"]] = {"default_queue_type": vhost["default_queue_type"]}
    for user in users:
        fields = {"password": user["password"], "tags": sorted(user["tags"]), "algorithm": ALGORITHM}
        result["user"][user["name"]] = fields
        for permission in user["permissions"]:
            name = f"{user['name']} on {permission['vhost']}"
            result["permission"][name] = {"user": user["name"], **permission}
    return result


def found_objects(definitions: Mapping[str, Any]) -> dict[str, Objects]:
    """The same of a broker, from its exported definitions. A password is there as its hash."""
    result: dict[str, Objects] = {"vhost": {}, "user": {}, "permission": {}}
    for vhost in definitions.get("vhosts", []):
        metadata = vhost.get("metadata", {})
        kind = vhost.get("default_queue_type") or metadata.get("default_queue_type") or "classic"
        result["vhost"][vhost["name"]] = {"default_queue_type": kind}
    for user in definitions.get("users", []):
        tags = user.get("tags", [])
        result["user"][user["name"]] = {
            "password": user.get("password_hash", ""),
            "tags": sorted(tags.split(",") if isinstance(tags, str) else tags),
            "algorithm": user.get("hashing_algorithm", ""),
        }
    for entry in definitions.get("permissions", []):
        fields = {key: entry[key] for key in ("user", "vhost", "configure", "write", "read")}
        result["permission"][f"{entry['user']} on {entry['vhost']}"] = fields
    return result


def plan_all(desired: Mapping[str, Objects], found: Mapping[str, Objects], absent: Sequence[str]) -> list[Action]:
    """Virtual hosts, users, permissions. Only the users in `absent` and permissions beyond the list are removed."""

    def same(field: str, wanted: Any, there: Any) -> bool:
        return is_password(wanted, there) if field == "password" else bool(wanted == there)

    def is_surplus(_: str, fields: Fields) -> bool:
        return fields["user"] in desired["user"]

    return [
        *plan(desired["vhost"], found.get("vhost", {}), what="vhost"),
        *plan(desired["user"], found.get("user", {}), what="user", same=same, purge=lambda name, _: name in absent),
        *plan(desired["permission"], found.get("permission", {}), what="permission", purge=is_surplus),
    ]


def definitions_of(actions: Sequence[Action], desired: Mapping[str, Objects]) -> dict[str, list[dict[str, Any]]]:
    """What to import for a plan: whole objects, since the broker replaces what an import names."""
    result: dict[str, list[dict[str, Any]]] = {}
    for action in actions:
        if action.kind == "delete":
            continue
        fields = desired[action.what][action.name]
        if action.what == "vhost":
            entry = {"name": action.name, **fields, "metadata": dict(fields)}
        elif action.what == "user":
            entry = {
                "name": action.name,
                "password_hash": password_hash(fields["password"], secrets.token_bytes(SALT)),
                "hashing_algorithm": ALGORITHM,
                "tags": fields["tags"],
                "limits": {},
            }
        else:
            entry = dict(fields)
        result.setdefault(f"{action.what}s", []).append(entry)
    return result


def has_port_mapper(port: int = PORT_MAPPER) -> bool:
    """Whether Erlang's port mapper, without which no broker runs, is there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


class Broker:
    """A RabbitMQ broker on this machine, asked by its own command. `timeout` in seconds for each call."""

    def __init__(self, program: str, timeout: int) -> None:
        self._program = program
        self._timeout = timeout

    def _call(self, *arguments: str) -> str:
        # GNU timeout, because the command is a shell script that starts the one which may hang.
        command = ["timeout", "--kill-after=5", str(self._timeout), self._program, "--quiet", *arguments]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self._timeout + 10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BrokerError(f"{arguments[0]}: {error}") from error
        if done.returncode:
            lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            raise BrokerError(f"{' '.join(arguments)}: {' '.join(lines[-6:])}; see /var/log/rabbitmq")
        return done.stdout

    def definitions(self) -> dict[str, Any]:
        """All definitions of the broker."""
        if not has_port_mapper():
            # The command would start one itself, open to everybody, and the broker's own could not start any more.
            raise BrokerError("no Erlang port mapper (epmd) is running, so no broker is")
        text = self._call("export_definitions", "-", "--format", "json")
        data: dict[str, Any] = json.loads(text[text.index("{") :])
        return data

    def load(self, definitions: Mapping[str, Any]) -> None:
        """Make or replace what these definitions name."""
        # From standard input the command never comes back (4.0.5), so by a file that only root and the broker can read.
        with tempfile.NamedTemporaryFile("w", dir="/run", prefix="updraft-", suffix=".json") as stream:
            owner = pwd.getpwnam(USER)
            os.fchown(stream.fileno(), owner.pw_uid, owner.pw_gid)
            json.dump(definitions, stream)
            stream.flush()
            self._call("import_definitions", stream.name)

    def delete(self, action: Action) -> None:
        """Remove a user or its permission on a virtual host."""
        if action.what == "user":
            self._call("delete_user", action.name)
        else:
            fields = action.before or {}
            self._call("clear_permissions", "-p", fields["vhost"], fields["user"])
