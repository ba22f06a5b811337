# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks which need nothing but the checkout: style, types, lint, agreements between files, unit tests."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from updraft.testing.base import Check, Context, Failed

#: The first line of a file that shellcheck is for.
SHELL = re.compile(rb"#!.*\b(ba|da|)sh\b")
#: What may name something of a collection: a module as a key, a filter or test after a bar or as a quoted word.
NAMED = re.compile(r"""(?:^[ -]*|[|'"]\s*|\bis (?:not )?)([a-z0-9_]+\.[a-z0-9_]+)\.[a-z0-9_]+""", re.MULTILINE)
#: Not to be listed: what comes with Ansible itself, and what this repository is.
OWN = {"ansible.builtin", "ansible.legacy", "updraft.cloud"}


def tool(*words: str, limit: float = 300) -> Any:
    """A check that is one command."""

    def run(context: Context) -> str:
        output = context.command(words, limit=limit).strip()
        return output.splitlines()[-1] if output else ""

    return run


def shellcheck(context: Context) -> str:
    """Every shell script that git knows of."""
    files = context.command(["git", "ls-files"], limit=30).splitlines()
    scripts = [name for name in files if _first_line(context.root / name, SHELL)]
    if not scripts:
        raise Failed("no shell script was found, but ./updraft is one")
    context.command(["shellcheck", "--external-sources", *scripts], limit=60)
    return ", ".join(scripts)


def _first_line(file: Path, pattern: re.Pattern[bytes]) -> bool:
    """Whether a file's first line matches."""
    if not file.is_file() or file.is_symlink():
        return False
    with file.open("rb") as stream:
        return bool(pattern.match(stream.readline(200)))


def lint(context: Context) -> str:
    """ansible-lint, and that nobody made an exception for it."""
    settings = yaml.safe_load((context.root / ".ansible-lint").read_text(encoding="utf-8"))
    exceptions = [key for key in ("skip_list", "warn_list", "mock_modules", "mock_roles") if settings.get(key)]
    if settings.get("profile") != "production" or exceptions:
        raise Failed(f".ansible-lint must have profile production and no exceptions; it has {exceptions}")
    if (context.root / ".ansible-lint-ignore").exists():
        raise Failed(".ansible-lint-ignore makes exceptions: remove it")
    output = context.command(["ansible-lint", "--offline", "--nocolor"], limit=1800)
    return output.strip().splitlines()[-1]


def requirements(context: Context) -> str:
    """requirements.yml and requirements.lock against what is installed, and against what is used."""
    wanted = yaml.safe_load((context.root / "requirements.yml").read_text(encoding="utf-8"))["collections"]
    listed = {entry["name"]: str(entry["version"]) for entry in wanted or []}
    faults = [
        f"requirements.yml: {name} {version} is asked for, {_collection_version(name)} is installed"
        for name, version in listed.items()
        if version != _collection_version(name)
    ]
    # Dotted keys may also be kernel settings; a collection that is not there at all fails the lint.
    used = {name for name in set(_collections_used(context.root)) - OWN if _collection_version(name)}
    faults += [f"requirements.yml: {name} is used and not listed" for name in sorted(used - set(listed))]
    faults += [f"requirements.yml: {name} is listed and not used" for name in sorted(set(listed) - used)]
    locked = list(_locked(context.root / "requirements.lock"))
    faults += [
        f"requirements.lock: {name} {version} is locked, {_package_version(name)} is installed"
        for name, version in locked
        if version != _package_version(name)
    ]
    if faults:
        raise Failed("\n".join(faults))
    return f"{len(listed)} collections, {len(locked)} packages"


def _collection_version(name: str) -> str | None:
    """The version of an installed collection."""
    import ansible_collections

    for folder in ansible_collections.__path__:
        file = Path(folder, *name.split("."), "MANIFEST.json")
        if file.is_file():
            return str(json.loads(file.read_text(encoding="utf-8"))["collection_info"]["version"])
    return None


def _collections_used(root: Path) -> Iterator[str]:
    """The collections whose modules, filters and tests stand in roles, playbooks and scenarios."""
    for folder in ("roles", "playbooks", "molecule"):
        for file in (root / folder).rglob("*.yml"):
            if "templates" not in file.parts:
                yield from NAMED.findall(file.read_text(encoding="utf-8"))


def _locked(file: Path) -> Iterator[tuple[str, str]]:
    """The packages of a lock that this system takes."""
    for line in file.read_text(encoding="utf-8").splitlines():
        found = re.match(r"([A-Za-z0-9_.-]+)==([^\s;]+)(?:\s*;\s*(.+?))?\s*\\?$", line)
        if found and "win32" not in (found[3] or ""):
            yield found[1], found[2]


def _package_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def arguments(context: Context) -> str:
    """Every role states the same inputs twice: their types in argument_specs.yml, their values in defaults."""
    faults: list[str] = []
    roles = sorted(path for path in (context.root / "roles").iterdir() if (path / "tasks").is_dir())
    for role in roles:
        faults += argument_faults(role)
    if faults:
        raise Failed("\n".join(faults))
    if not roles:
        raise Failed("no role was found")
    return f"{len(roles)} roles"


def argument_faults(role: Path) -> list[str]:
    """What a role's specs and defaults do not agree in. Required inputs have no default."""
    specs_file, defaults_file = role / "meta" / "argument_specs.yml", role / "defaults" / "main.yml"
    missing = [f"{role.name}: no {file.relative_to(role)}" for file in (specs_file, defaults_file) if not file.exists()]
    if missing:
        return missing
    specs: dict[str, Any] = yaml.safe_load(specs_file.read_text(encoding="utf-8"))["argument_specs"]
    options: dict[str, Any] = {}
    for entry in specs.values():
        options |= entry.get("options") or {}
    defaults = set(yaml.safe_load(defaults_file.read_text(encoding="utf-8")) or {})
    required = {name for name, option in options.items() if option.get("required")}
    faults = [f"{role.name}: {name} has a default and no spec" for name in sorted(defaults - set(options))]
    faults += [f"{role.name}: {name} has a spec and no default" for name in sorted(set(options) - defaults - required)]
    faults += [f"{role.name}: {name} is required and has a default" for name in sorted(required & defaults)]
    faults += [
        f"{role.name}: {name} does not carry the role's name"
        for name in sorted(set(options) | defaults)
        if not name.startswith(f"{role.name}_")
    ]
    return faults


def references(context: Context) -> str:
    """What docs/ says of cloud.yml and of the ports is what the code says."""
    from updraft.reference import pages

    stale = []
    for name, text in pages().items():
        file = context.root / "docs" / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            stale.append(f"docs/{name}")
    if stale:
        raise Failed(f"{', '.join(stale)}: not what the code says; write them again: python -m updraft.reference")
    return ", ".join(pages())


def inventories(context: Context) -> str:
    """Every inventory in the repository is right."""
    found = sorted((context.root / "inventories").glob("*/cloud.yml"))
    for file in found:
        context.command([str(context.root / "updraft"), "check", str(file.parent)], limit=60)
    if not found:
        raise Failed("no inventory was found")
    return ", ".join(file.parent.name for file in found)


#: Programs that unit tests drive, and Debian's packages with them. The tests themselves install nothing, nor skip.
#: my_print_defaults is asked for by mariadb-install-db; which package brings it changed within Debian 12.
PROGRAMS = {
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "mariadbd": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
    "fio": "fio",
}


def programs(context: Context) -> str:
    """Install what unit tests drive, where it is missing."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    missing = [package for name, package in PROGRAMS.items() if shutil.which(name, path=path) is None]
    if missing:
        if os.geteuid() != 0:
            raise Failed(f"these packages are missing: {' '.join(missing)}. Install them, or run this as root.")
        apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        context.command([*apt, "update"], limit=300, environment=quiet)
        context.command([*apt, "install", "--no-install-recommends", *missing], limit=900, environment=quiet)
    return f"{', '.join(PROGRAMS)}{': installed' if missing else ' are there'}"


CHECKS = (
    Check("ruff", "Python style and likely mistakes", tool("ruff", "check")),
    Check("format", "Python is laid out by ruff", tool("ruff", "format", "--check")),
    Check("types", "mypy --strict for src and plugins", tool("mypy", "--strict", limit=900)),
    Check("shell", "shellcheck for every shell script", shellcheck),
    Check("lint", "ansible-lint, profile production, without exceptions", lint),
    Check("requirements", "collections and packages are those that are listed and locked", requirements),
    Check("arguments", "every role's argument specs and defaults name the same inputs", arguments),
    Check("references", "the JSON Schema, the keys of cloud.yml and the ports in docs/ are current", references),
    Check("inventories", "the inventories of the repository are right", inventories),
    Check("programs", "what unit tests drive is installed: a browser, a database server", programs),
    Check("unit", "unit tests", tool("pytest", "-q", "tests/unit", limit=1200)),
    Check(
        "playbook-failover",
        "whom storage_failover.yml asks, switches off and refuses, with fake servers and a fake board",
        tool("pytest", "-q", "tests/playbook", limit=900),
        long=True,
    ),
    Check(
        "bench-model",
        "what machines cost to load and to list grows with their number, and no faster",
        tool("pytest", "-q", "tests/bench", limit=300),
    ),
    Check(
        "bench-files",
        "20 files in one list cost at most 1.2 times one, without what Jinja takes for templates",
        tool("python", "tests/bench/files.py", "--rounds", "9", "--check", limit=600),
    ),
)
