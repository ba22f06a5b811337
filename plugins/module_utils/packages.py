# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.packages does on the target: install Debian packages without starting their services.

Reads dpkg's own records, so that nothing is asked of an archive when all is there. While apt works,
/usr/sbin/policy-rc.d forbids starts; a run which was cut leaves that file, with a mark in it, and the next run takes
it away.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

POLICY = "/usr/sbin/policy-rc.d"
MARK = "# updraft: no service starts while its package is being installed"
QUERY = ("dpkg-query", "--show", "--showformat", "${Package} ${Architecture} ${db:Status-Status} ${Version}\\n")
OPTIONS = (
    "--yes",
    "--quiet",
    "--no-install-recommends",
    "--option=Dpkg::Options::=--force-confdef",
    "--option=Dpkg::Options::=--force-confold",
    "--option=DPkg::Lock::Timeout=300",
    "--option=Acquire::Retries=3",
)
SAID = 40


class PackagesError(Exception):
    """apt or dpkg failed; the text holds the end of what they said."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Packages to install, packages which a cut run left half way, and whether our mark is still there."""

    install: tuple[str, ...]
    unfinished: tuple[str, ...]
    policy_left: bool = False

    def __bool__(self) -> bool:
        return bool(self.install or self.unfinished or self.policy_left)


def statuses(told: str) -> dict[str, str]:
    """Package -> dpkg's status (`installed`, `half-configured`, ...); the best one if it has several architectures."""
    found: dict[str, str] = {}
    for line in told.splitlines():
        name, _, status, *_ = [*line.split(" "), "", "", ""]
        if name and found.get(name) != "installed":
            found[name] = status
    return found


def plan(wanted: Sequence[str], actual: Mapping[str, str], *, policy_left: bool = False) -> Plan:
    """Compare the wanted packages with dpkg's statuses."""
    install = tuple(sorted({name for name in wanted if actual.get(name) != "installed"}))
    settled = ("installed", "not-installed", "config-files")
    unfinished = tuple(sorted(name for name, status in actual.items() if status not in settled))
    return Plan(install, unfinished, policy_left)


def read() -> dict[str, str]:
    """What dpkg says is on this machine. Raises PackagesError."""
    done = subprocess.run(list(QUERY), capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise PackagesError(f"dpkg-query failed: {done.stderr.strip()}")
    return statuses(done.stdout)


def policy_left() -> bool:
    """Whether a run which was cut has left services held back."""
    try:
        with open(POLICY, encoding="utf-8") as stream:
            return MARK in stream.read()
    except (OSError, UnicodeDecodeError):
        return False


def apply(todo: Plan, wanted: Sequence[str], *, update: bool) -> None:
    """Finish what was cut, then install what is missing. Raises PackagesError."""
    with held_back():
        if todo.unfinished:
            _run(["dpkg", "--configure", "--pending", "--force-confdef", "--force-confold"], may_fail=True)
            _run(["apt-get", "install", "--fix-broken", *OPTIONS])
        missing = plan(wanted, read()).install
        if missing and update:
            _run(["apt-get", "update", "--quiet", "--option=DPkg::Lock::Timeout=300"])
        if missing:
            _run(["apt-get", "install", *OPTIONS, "--", *missing])


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Forbid that packages start services. A policy of the operator's own is put back afterwards."""
    aside = f"{POLICY}.updraft"
    if os.path.lexists(POLICY) and not policy_left():
        os.replace(POLICY, aside)
    with open(POLICY, "w", encoding="utf-8") as stream:
        stream.write(f"#!/bin/sh\n{MARK}\nexit 101\n")
    os.chmod(POLICY, 0o755)
    try:
        yield
    finally:
        release()


def release() -> None:
    """Let packages start services again, as before the first run."""
    aside = f"{POLICY}.updraft"
    if os.path.lexists(aside):
        os.replace(aside, POLICY)
    elif policy_left():
        os.unlink(POLICY)


def _run(command: Sequence[str], *, may_fail: bool = False) -> None:
    environment = {
        **os.environ,
        "DEBIAN_FRONTEND": "noninteractive",
        "DEBIAN_PRIORITY": "critical",
        "APT_LISTCHANGES_FRONTEND": "none",
        "NEEDRESTART_SUSPEND": "1",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        list(command),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode and not may_fail:
        said = "\n".join(done.stdout.splitlines()[-SAID:])
        raise PackagesError(f"`{' '.join(command[:2])}` failed (exit code {done.returncode}):\n{said}")
