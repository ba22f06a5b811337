# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check is, and what it may say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from updraft.display import duration

Verdict = Literal["passed", "failed", "skipped"]

#: No colours and no terminal tricks from whatever is called: its output goes into logs.
PLAIN = {
    "NO_COLOR": "1",
    "TERM": "dumb",
    "PY_COLORS": "0",
    "MYPY_FORCE_COLOR": "0",
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_FORCE_COLOR": "0",
}


class Failed(Exception):
    """A check did not pass; the text says why."""


class Skipped(Exception):
    """A check cannot be made here; the text says why."""


@dataclass(slots=True)
class Context:
    """What a check works with. `verdicts` are those of the checks before it."""

    root: Path
    logs: Path
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    current: str = ""

    @property
    def log(self) -> Path:
        """The file of the current check's whole output."""
        return self.logs / f"{self.current}.log"

    def output(self) -> str:
        """What is in that file; nothing if the current check ran no command."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def need(self, name: str) -> None:
        """Skip this check unless that one, if it was made at all, has passed."""
        if self.verdicts.get(name, "passed") != "passed":
            raise Skipped(f"it builds on {name}, which did not pass")

    def command(
        self,
        words: Sequence[str],
        *,
        limit: float,
        show: bool = False,
        codes: Sequence[int] = (0,),
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command, its output into the check's log (with `show` on the screen, too).

        Returns the output. Raises Failed with its last lines when the exit code is another, or when
        it takes longer than `limit` seconds.
        """
        process = subprocess.Popen(
            list(words),
            cwd=self.root,
            env={**os.environ, **PLAIN, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            os.killpg(process.pid, signal.SIGTERM)

        timer = threading.Timer(limit, end)
        timer.start()
        try:
            output = self._read(process, words, show=show)
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)  # the terminal's interrupt does not reach a session of its own
            process.wait()
            raise
        finally:
            timer.cancel()
        if late.is_set():
            raise Failed(f"{words[0]} took longer than {duration(limit)}\n{tail(output)}")
        if process.returncode not in codes:
            raise Failed(f"{words[0]} ended with exit code {process.returncode}\n{'' if show else tail(output)}")
        return output

    def _read(self, process: subprocess.Popen[str], words: Sequence[str], *, show: bool) -> str:
        """Take in a process's output as it comes."""
        lines: list[str] = []
        with self.log.open("a", encoding="utf-8") as log:
            print(f"$ {' '.join(words)}", file=log, flush=True)
            for line in process.stdout or ():
                lines.append(line)
                log.write(line)
                log.flush()
                if show:
                    sys.stdout.write(f"   {line}")
                    sys.stdout.flush()
        process.wait()
        return "".join(lines)


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `run` returns a line on what it found good, or raises Failed or Skipped.

    long: it takes minutes, and is made only when it is named or all are asked for.
    minutes: what it, and those that have to follow it, may take on a slow computer; the test command does not begin
    it when less is left of its time.
    """

    name: str
    what: str
    run: Callable[[Context], str]
    long: bool = False
    minutes: int = 0


def tail(text: str, lines: int = 60) -> str:
    """The last lines of an output."""
    return "\n".join(text.rstrip().splitlines()[-lines:])
