# SPDX-License-Identifier: GPL-3.0-or-later
"""An identity service (Keystone, API version 3) as a catalogue of items, over openstacksdk's session."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .identity import DEFAULT_DOMAIN, Item, Key

#: Name in URLs and in answers of the kinds that are simple objects.
COLLECTIONS = {
    "region": "regions",
    "domain": "domains",
    "role": "roles",
    "service": "services",
    "endpoint": "endpoints",
    "project": "projects",
    "user": "users",
}


class KeystoneError(Exception):
    """The identity service refused or does not answer; the text says what was asked."""


class AbsentError(KeystoneError):
    """Nobody answers, or what it takes to ask is not installed."""


class RefusedError(KeystoneError):
    """The name or the password is not accepted."""


class Keystone:
    """A logged-in connection. `url` ends in /v3."""

    def __init__(self, url: str, username: str, password: str, project: str | None) -> None:
        self._url = url
        self._ids: dict[tuple[str, Key], str] = {}
        self._adapter = self._log_in(username, password, project)

    def _log_in(self, username: str, password: str, project: str | None, domain: str = DEFAULT_DOMAIN) -> Any:
        try:
            from keystoneauth1 import adapter, exceptions, session  # Debian's, on the target
            from keystoneauth1.identity import v3
        except ImportError as error:
            raise AbsentError("python3-openstacksdk is not installed") from error
        auth = v3.Password(
            auth_url=self._url,
            username=username,
            password=password,
            user_domain_name=domain,
            project_name=project,
            project_domain_name=DEFAULT_DOMAIN if project else None,
            unscoped=project is None,
        )
        opened = session.Session(auth=auth, connect_retries=0)
        try:
            opened.get_token()
        except exceptions.Unauthorized as error:
            raise RefusedError(f"{self._url} does not accept the password of {username}") from error
        except (exceptions.ConnectFailure, exceptions.ServiceUnavailable, exceptions.BadGateway) as error:
            raise AbsentError(f"{self._url} does not answer") from error
        except exceptions.ClientException as error:
            raise KeystoneError(f"{self._url}: logging in as {username}: {error}") from error
        return adapter.Adapter(opened, endpoint_override=self._url, connect_retries=2)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        from keystoneauth1 import exceptions

        try:
            answer = self._adapter.request(path, method, json=body)
        except exceptions.ClientException as error:
            raise KeystoneError(f"{method} {path}: {error}") from error
        return answer.json() if answer.content else None

    def password_works(self, user: Item) -> bool:
        """Whether the user can log in with the password it is to have."""
        name, domain = user.key
        try:
            self._log_in(name, user.attributes["password"], None, domain)
        except RefusedError:
            return False
        return True

    def items(self) -> Iterator[Item]:
        """All that is there. Also learns the identifiers which create and update need."""
        domains = self._list("domain")
        names = {entry["id"]: entry["name"] for entry in domains}
        types: dict[str, str] = {}
        for kind in COLLECTIONS:
            for entry in domains if kind == "domain" else self._list(kind):
                if kind == "service":
                    types[entry["id"]] = entry["type"]
                key = _key(kind, entry, names, types)
                if key is not None:
                    self._ids[kind, key] = entry["id"]
                    yield Item(kind, key, entry)
        yield from self._assignments()

    def _list(self, kind: str) -> list[Any]:
        collection = COLLECTIONS[kind]
        found: list[Any] = self._ask("GET", f"/{collection}")[collection]
        return found

    def _assignments(self) -> Iterator[Item]:
        for entry in self._ask("GET", "/role_assignments?include_names=true")["role_assignments"]:
            if "user" not in entry:
                continue
            scope = _scope(entry["scope"])
            if scope is not None:
                user = entry["user"]
                yield Item("assignment", (entry["role"]["name"], user["name"], user["domain"]["name"], *scope))

    def _id(self, kind: str, *key: str) -> str:
        try:
            return self._ids[kind, key]
        except KeyError:
            raise KeystoneError(f"there is no {kind} {'/'.join(key)}") from None

    def create(self, item: Item) -> None:
        """Make it. Raises KeystoneError."""
        if item.kind == "assignment":
            self._assign(item.key)
            return
        body = {**self._identity(item), **item.attributes}
        answer = self._ask("POST", f"/{COLLECTIONS[item.kind]}", {item.kind: body})
        self._ids[item.kind, item.key] = answer[item.kind]["id"]

    def _identity(self, item: Item) -> dict[str, Any]:
        """What stands in the key, as attributes of a new object."""
        if item.kind == "region":
            return {"id": item.key[0]}
        if item.kind == "service":
            return {"type": item.key[0]}
        if item.kind == "endpoint":
            service, interface, region = item.key
            return {"service_id": self._id("service", service), "interface": interface, "region_id": region}
        if item.kind in ("project", "user"):
            return {"name": item.key[0], "domain_id": self._id("domain", item.key[1])}
        return {"name": item.key[0]}

    def _assign(self, key: Key) -> None:
        role, user, user_domain, project, project_domain = key
        scope = (
            "/system"
            if (project, project_domain) == ("system", "all")
            else f"/projects/{self._id('project', project, project_domain)}"
        )
        user_id = self._id("user", user, user_domain)
        self._ask("PUT", f"{scope}/users/{user_id}/roles/{self._id('role', role)}")

    def update(self, item: Item, attributes: Mapping[str, Any]) -> None:
        """Change these attributes. Raises KeystoneError."""
        path = f"/{COLLECTIONS[item.kind]}/{self._id(item.kind, *item.key)}"
        self._ask("PATCH", path, {item.kind: dict(attributes)})


def _key(kind: str, entry: Mapping[str, Any], domains: Mapping[str, str], types: Mapping[str, str]) -> Key | None:
    """What identifies an object of an answer; None for one that has no name here (a role of one domain)."""
    if kind == "region":
        return (entry["id"],)
    if kind == "service":
        return (entry["type"],)
    if kind == "endpoint":
        return (types.get(entry["service_id"], ""), entry["interface"], entry["region_id"])
    if kind in ("project", "user"):
        return (entry["name"], domains.get(entry["domain_id"], ""))
    if kind == "role" and entry.get("domain_id"):
        return None
    return (entry["name"],)


def _scope(scope: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name and domain of the project, or that it is the whole system; None for a domain."""
    if "project" in scope:
        return scope["project"]["name"], scope["project"]["domain"]["name"]
    return ("system", "all") if "system" in scope else None


def connect(
    url: str, username: str, password: str, project: str, timeout: int, bootstrap: Mapping[str, Any] | None
) -> tuple[Keystone, bool]:
    """Log in as administrator; with `bootstrap`, make it if it is not there or has another password.

    Waits at most `timeout` seconds for somebody to answer. Returns the connection and whether the
    administrator was made. Raises KeystoneError.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            return Keystone(url, username, password, project), False
        except RefusedError:
            if not bootstrap:
                raise
            run_bootstrap(bootstrap["command"], bootstrap["user"], username, password, project)
            return Keystone(url, username, password, project), True
        except AbsentError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def run_bootstrap(command: Sequence[str], user: str, username: str, password: str, project: str) -> None:
    """Make the administrator. The password goes through the environment, which only root can read."""
    account = pwd.getpwnam(user)
    result = subprocess.run(
        command,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=os.getgrouplist(user, account.pw_gid),
        cwd="/",
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": account.pw_dir,
            "LANG": "C.UTF-8",
            "OS_BOOTSTRAP_USERNAME": username,
            "OS_BOOTSTRAP_PASSWORD": password,
            "OS_BOOTSTRAP_PROJECT_NAME": project,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    if result.returncode:
        lines = result.stdout.replace(password, "********").strip().splitlines()[-15:]
        raise KeystoneError("\n".join([f"{' '.join(command)}: exit code {result.returncode}", *lines]))
