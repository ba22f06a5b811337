# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of a storage's lab as a power cut sees them: killed in an instant, started again, asked by ssh."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.lab_host import kill
from updraft.lab import lab_of
from updraft.labshell import NAMESPACES, ssh
from updraft.site import Site

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = Path("/run/updraft")
PROGRAM = "/usr/local/sbin/updraft-mirror"
BOOT_SECONDS = 300.0
#: One connection to a machine serves for all commands until it is cut: each new one costs an emulated machine seconds.
SHARED = ("ControlMaster=auto", "ControlPersist=300", "ServerAliveInterval=10", "ServerAliveCountMax=9")


class Wrong(Exception):
    """Something is not as it has to be; the text says what."""


class Refused(Exception):
    """updraft-mirror refused, with its reason."""


def wait(what: str, holds: Callable[[], Any], seconds: float, *, every: float = 1.0) -> Any:
    """Wait until it holds; return what it returned. Raises Wrong."""
    end = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > end:
            raise Wrong(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


def servers_of(site: Site) -> dict[str, Machine]:
    """The two storage servers of a site's lab, by name."""
    return {name: Machine(site, name) for name in site.cloud["volumes"]["mirror"]["legs"]}


def serving(servers: Mapping[str, Machine], seconds: float) -> Machine:
    """The server that serves now, by the word of the servers; waited for. Raises Wrong with what each of them says."""
    told: dict[str, str] = {}

    def look() -> Machine | None:
        for machine in servers.values():
            try:
                found = machine.mirror("status")
            except (Wrong, Refused) as error:
                told[machine.name] = str(error)
                continue
            told[machine.name] = found["words"]
            if found["role"] == "serving" and found["up"]:
                return machine
        return None

    try:
        found: Machine = wait("somebody serves", look, seconds)
    except Wrong as wrong:
        each = "; ".join(f"{name}: {words}" for name, words in told.items())
        raise Wrong(f"{wrong}. {each}. See `journalctl -b -u updraft-mirror` there") from None
    return found


def keep(report: Path, found: Mapping[str, Any]) -> None:
    """Write down what a drill found."""
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(found, indent=2) + "\n")


class Machine:
    """One machine of the lab, under QEMU."""

    def __init__(self, site: Site, name: str) -> None:
        self.site, self.name = site, name
        self.namespace = str(lab_of(site)["namespace"])
        self.pid_file = RUNTIME / self.namespace / name / "pid"
        self.words = self._words()
        self.cuts = 0
        self._sockets = tempfile.TemporaryDirectory(prefix="updraft-drill-")
        atexit.register(self.hang_up)

    def _pid(self) -> int:
        try:
            return int(self.pid_file.read_text())
        except OSError:
            raise Wrong(f"{self.name} is not there: the lab of site {self.site.name} is not up") from None

    def _words(self) -> list[str]:
        """QEMU's command line, with which it is started again."""
        words = self._command(self._pid())
        if not any(str(self.pid_file) in word for word in words):
            raise Wrong(f"process {self._pid()} is not the machine {self.name}")
        return words

    @staticmethod
    def _command(pid: int) -> list[str]:
        try:
            return Path("/proc", str(pid), "cmdline").read_text().split("\0")[:-1]
        except OSError:
            return []

    def cut(self) -> float:
        """Cut its power; when that was."""
        pid = self._pid()
        if self._command(pid) != self.words:
            raise Wrong(f"process {pid} is not the machine {self.name}")
        moment = time.time()
        kill(pid)
        self.cuts += 1
        self.hang_up()
        return moment

    def hang_up(self) -> None:
        """End the connection: of a machine that is off, nothing comes any more."""
        words = [*ssh(self.site, self.name), "-O", "exit", "-o", f"ControlPath={self._socket}"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(words, capture_output=True, timeout=10, check=False)

    @property
    def _socket(self) -> str:
        return os.path.join(self._sockets.name, "ssh")

    def start(self) -> None:
        """Switch it on."""
        words = ["nsenter", f"--net={NAMESPACES / self.namespace}", *self.words]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise Wrong(f"{self.name} does not start: {done.stderr.strip() or done.stdout.strip()}")

    def running(self) -> bool:
        """Say whether it has power."""
        return Path("/proc", str(self._pid()), "exe").exists()

    def run(self, script: str, *, data: str = "", limit: float = 180) -> subprocess.CompletedProcess[str]:
        """Run a shell script on it, whatever comes of it."""
        words = [*ssh(self.site, self.name), script]
        options = ("BatchMode=yes", "ConnectTimeout=10", "LogLevel=ERROR", f"ControlPath={self._socket}", *SHARED)
        words[1:1] = [word for option in options for word in ("-o", option)]
        try:
            return subprocess.run(words, input=data, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, 255, "", f"no answer within {limit:.0f} s")

    def must(self, script: str, *, data: str = "", limit: float = 180) -> str:
        """The same; its output. Raises Wrong."""
        done = self.run(script, data=data, limit=limit)
        if done.returncode:
            raise Wrong(f"{self.name}: {script.splitlines()[0][:100]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def up(self) -> None:
        """Wait until it lets somebody in."""
        wait(f"{self.name} answers", lambda: self.run("true", limit=15).returncode == 0, BOOT_SECONDS)

    def mirror(self, *words: str, limit: float = 600) -> dict[str, Any]:
        """Call updraft-mirror; what it answers. Raises Refused, and Wrong."""
        done = self.run(f"{PROGRAM} {' '.join(words)}", limit=limit)
        try:
            found: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise Wrong(f"{self.name}: updraft-mirror {words[0]}: {done.stderr.strip() or done.stdout}") from None
        if "refused" in found:
            raise Refused(found["refused"])
        if done.returncode:
            raise Wrong(f"{self.name}: updraft-mirror {words[0]}: {found.get('failed', done.stderr)}")
        return found
