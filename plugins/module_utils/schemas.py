# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the schemas of several services up to date side by side, and only those that are behind.

Whether a schema is current is read from its alembic table and from the migrations on disk. Asking the
services' own commands would start each of them (2 to 6 seconds of work) to learn that there is nothing to do.
"""

from __future__ import annotations

import ast
import configparser
import os
import pwd
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

REVISION_KEYS = ("revision", "down_revision", "depends_on")
TAIL_LINES = 15


class UnknownStateError(Exception):
    """It cannot be told whether a step is done; the text says why."""


class StepError(Exception):
    """A step failed; the text holds the last lines of its output."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command, and how to tell that it is not needed.

    `done` holds one of: `path` (exists), or `config` and `section` (where the service has its database)
    with `migrations` (folder, relative to Python's path; `databases` names others on the same server) or
    with `row` (a query which finds a row).
    """

    name: str
    command: tuple[str, ...]
    done: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chain:
    """The steps of one service, in order, and the system user that runs them."""

    name: str
    user: str
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Outcome:
    """What became of a chain."""

    done: list[str] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a service has its database, as its settings say."""

    host: str
    port: int
    user: str
    password: str
    database: str
    ca_file: str | None


def heads(revisions: Iterable[Mapping[str, Any]]) -> set[str]:
    """The revisions that no other one builds on or depends on."""
    known: set[str] = set()
    used: set[str] = set()
    for revision in revisions:
        known.add(revision["revision"])
        for key in ("down_revision", "depends_on"):
            value = revision.get(key)
            used |= {value} if isinstance(value, str) else set(value or ())
    return known - used


def read_revision(source: str) -> dict[str, Any] | None:
    """The identifiers which an alembic migration assigns, without running it; None for another file."""
    values: dict[str, Any] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in REVISION_KEYS:
                values[target.id] = ast.literal_eval(value)
    return values if values.get("revision") else None


def wanted_heads(migrations: str, search: Sequence[str]) -> set[str]:
    """The heads of the installed migrations. Raises UnknownStateError when they are not installed."""
    for place in search:
        folder = Path(place) / migrations
        if folder.is_dir():
            sources = (path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py")))
            return heads(found for found in map(read_revision, sources) if found)
    raise UnknownStateError(f"{migrations} is not installed")


def parse_connection(url: str) -> Connection:
    """The parts of an SQLAlchemy address such as mysql+pymysql://user:password@host:3306/name?ssl_ca=file."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return Connection(
        host=parts.hostname or "localhost",
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path.lstrip("/"),
        ca_file=query.get("ssl_ca", [None])[0],
    )


def read_connection(path: str, section: str) -> Connection:
    """The database in a service's settings. Raises UnknownStateError when they do not say."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        with open(path, encoding="utf-8") as stream:
            parser.read_file(stream)
        return parse_connection(parser.get(section, "connection"))
    except (OSError, configparser.Error, ValueError) as error:
        raise UnknownStateError(f"{path} names no database in [{section}] yet") from error


def query(connection: Connection, database: str, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a query; none when the table is not there. Raises UnknownStateError if nobody answers."""
    try:
        import pymysql
    except ImportError as error:
        raise UnknownStateError("python3-pymysql is not installed") from error
    try:
        with (
            pymysql.connect(
                host=connection.host,
                port=connection.port,
                user=connection.user,
                password=connection.password,
                database=database,
                connect_timeout=10,
                ssl={"ca": connection.ca_file} if connection.ca_file else None,
            ) as session,
            session.cursor() as cursor,
        ):
            cursor.execute(statement)
            return list(cursor.fetchall())
    except pymysql.err.ProgrammingError:
        return []
    except pymysql.err.MySQLError as error:
        raise UnknownStateError(f"the database {database} on {connection.host} does not answer") from error


def is_done(step: Step, search: Sequence[str] = ()) -> bool:
    """Whether the step is not needed. Raises UnknownStateError when that cannot be told."""
    done = step.done
    if "path" in done:
        return os.path.exists(done["path"])
    connection = read_connection(done["config"], done["section"])
    if "row" in done:
        return bool(query(connection, connection.database, done["row"]))
    wanted = wanted_heads(done["migrations"], search or sys.path)
    for database in done.get("databases") or [connection.database]:
        rows = query(connection, database, "SELECT version_num FROM alembic_version")
        if not wanted <= {row[0] for row in rows}:
            return False
    return True


def pending(chains: Sequence[Chain]) -> list[str]:
    """The steps that would run, as `service: step`. Whose state cannot be told counts as pending."""

    def of(chain: Chain) -> list[str]:
        found = []
        for step in chain.steps:
            try:
                needed = not is_done(step)
            except UnknownStateError:
                needed = True
            if needed:
                found.append(f"{chain.name}: {step.name}")
        return found

    with ThreadPoolExecutor(max_workers=len(chains) or 1) as pool:
        return [name for names in pool.map(of, chains) for name in names]


def apply(chains: Sequence[Chain], timeout: int, lock: int | None = None) -> dict[str, Outcome]:
    """Run what is pending; the chains side by side, the steps of each in order.

    The commands inherit `lock`, a file descriptor, so that it is held as long as one of them runs.
    """
    held = () if lock is None else (lock,)
    with ThreadPoolExecutor(max_workers=len(chains) or 1) as pool:
        outcomes = pool.map(lambda chain: _run_chain(chain, timeout, held), chains)
        return dict(zip([chain.name for chain in chains], outcomes, strict=True))


def _run_chain(chain: Chain, timeout: int, held: Sequence[int]) -> Outcome:
    outcome = Outcome()
    for step in chain.steps:
        try:
            if not _needed(step):
                continue
            _run(chain, step, timeout, held)
            outcome.done.append(step.name)
            if not is_done(step):
                raise StepError("the command ended well, but what it should have made is not there")
        except (StepError, UnknownStateError) as error:
            outcome.error = f"{chain.name}: {step.name} ({' '.join(step.command[:3])} ...): {error}"
            break
    return outcome


def _needed(step: Step) -> bool:
    """Whether to run it; one whose state cannot be told is run, and tells the reason itself."""
    try:
        return not is_done(step)
    except UnknownStateError:
        return True


def _run(chain: Chain, step: Step, timeout: int, held: Sequence[int]) -> None:
    """Run the command as the service's user. Raises StepError."""
    try:
        account = pwd.getpwnam(chain.user)
    except KeyError as error:
        raise StepError(f"there is no user {chain.user}: is the package installed?") from error
    try:
        result = subprocess.run(
            step.command,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=os.getgrouplist(chain.user, account.pw_gid),
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": account.pw_dir, "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            pass_fds=held,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StepError(f"not finished after {timeout} s") from error
    except OSError as error:
        raise StepError(str(error)) from error
    if result.returncode:
        raise StepError(f"exit code {result.returncode}\n{tail(result.stdout, _secrets(step))}")


def _secrets(step: Step) -> list[str]:
    """What must not be shown of the command's output."""
    if "config" not in step.done:
        return []
    try:
        return [read_connection(step.done["config"], step.done["section"]).password]
    except UnknownStateError:
        return []


def tail(text: str, secrets: Iterable[str]) -> str:
    """The last lines, with the secrets struck out."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "********")
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])
