# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that writes while the storage servers under its volume change places.

Its guest (guest_files.INIT) writes to the volume all the while; each block is read from the disk once more a minute
later. Then serving moves to the other storage server as an operator moves it, and the one that serves then loses its
power: the other takes over on the operator's word, the lost one returns and is healed. All of it has to be the same
start of the guest, without an error, and every block has to be what was written.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from machines import ROOT, Machine, Refused, Wrong, keep, servers_of, serving, wait

from updraft.site import find_site

#: A block is read once more when so many others were written after it (guest_files.WRITES).
PLACES = 60
#: Seconds for a command of ./updraft, for an answer of the guest, and for it to write a round.
COMMAND_SECONDS, GUEST_SECONDS, WRITES_SECONDS = 1500, 300.0, 400.0


@dataclass(frozen=True, slots=True)
class Writes:
    """What the guest tells of its writes; times in seconds of its own clock."""

    boot: str
    uptime: float
    written: int
    compared: int
    failed: int
    wrong: int

    @classmethod
    def parse(cls, text: str) -> Writes | None:
        """The page /writes; None for another one."""
        words = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        try:
            numbers = {name: int(words[name]) for name in ("uptime", "written", "compared", "failed", "wrong")}
        except (KeyError, ValueError):
            return None
        return cls(words["boot"], numbers.pop("uptime") / 100, **numbers)


def pauses(text: str) -> list[tuple[float, float]]:
    """When each write or read that waited ended, and how long it took, from the page /pauses.

    Its rows are three numbers; on a console the kernel writes between them.
    """
    rows = [line.split() for line in text.splitlines()]
    found = [[int(word) for word in words] for words in rows if len(words) == 3 and all(map(str.isdigit, words))]
    return [(ended / 100, took / 100) for _, ended, took in found]


@dataclass(slots=True)
class Step:
    """What was done. `began` and `ended` by the guest's clock, `pause` the longest wait for a block; in seconds."""

    kind: str
    began: float
    ended: float = 0.0
    pause: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


class Guest(ABC):
    """The lab, and the machine in it."""

    def __init__(self, inventory: str) -> None:
        self.inventory = inventory
        self.site = find_site(inventory, ROOT)
        self.servers = servers_of(self.site)
        self.steps: list[Step] = []
        self.first: Writes | None = None

    def updraft(self, *words: str) -> None:
        """Run ./updraft. Raises Wrong."""
        self.command(str(ROOT / "updraft"), *words)

    def command(self, program: str, *words: str) -> None:
        """Run a program of the controller. Raises Wrong with its last lines."""
        told = " ".join((Path(program).name, *words))
        print(f"$ {told}", flush=True)
        run = subprocess.run(
            [program, *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if run.returncode:
            end = "\n".join((run.stdout + run.stderr).rstrip().splitlines()[-40:])
            raise Wrong(f"{told}: exit code {run.returncode}\n{end}")

    def play(self, playbook: str, *variables: str) -> None:
        """Run a playbook on the site."""
        more = [word for variable in variables for word in ("-e", variable)]
        self.updraft("run", self.inventory, playbook, *(["--", *more] if more else []))

    # The machine.

    @abstractmethod
    def make(self) -> None:
        """Have the machine; its guest writes soon."""

    @abstractmethod
    def page(self, name: str) -> str:
        """A page that the guest tells, `writes` or `pauses`; empty when it tells nothing now."""

    @abstractmethod
    def finish(self) -> None:
        """Show that all is well when the storage has changed places, and remove the machine."""

    def begin_writes(self) -> None:
        """Wait until the guest has read what it wrote."""
        self.first = wait("the guest writes", self.look, GUEST_SECONDS)
        self.compared()

    def look(self) -> Writes | None:
        """What the guest tells now. Raises Wrong when it is another start of it, or when its volume failed it."""
        found = Writes.parse(self.page("writes"))
        if found is None:
            return None
        if self.first is not None and (found.boot != self.first.boot or found.written < self.first.written):
            raise Wrong(f"the server was restarted: {found} after {self.first}")
        if found.failed or found.wrong:
            raise Wrong(f"the server's volume failed: {found}")
        return found

    def now(self) -> Writes:
        """The same, once it answers."""
        found: Writes = wait("the guest answers", self.look, GUEST_SECONDS)
        return found

    def writes(self, blocks: int) -> Writes:
        """Wait until so many blocks more were written."""
        goal = self.now().written + blocks

        def there() -> Writes | None:
            found = self.look()
            return found if found and found.written >= goal else None

        last: Writes = wait(f"the guest writes {blocks} blocks", there, WRITES_SECONDS)
        return last

    def compared(self) -> Writes:
        """Wait until all that is on the disk now was read from there once more."""
        return self.writes(PLACES + 5)

    # The storage.

    def serving(self) -> Machine:
        """The server that serves."""
        return serving(self.servers, GUEST_SECONDS)

    def begin(self, kind: str) -> Step:
        """Begin a step."""
        print(f"-- {kind}", flush=True)
        self.steps.append(Step(kind, self.now().uptime))
        return self.steps[-1]

    def end(self, step: Step, *, moved: bool) -> None:
        """End a step when the guest has written again for a while; its longest pause. Raises Wrong when serving moved
        and no block waited: then the pause was missed."""
        step.ended = self.writes(10).uptime
        page = wait("the guest tells of its pauses", lambda: self.page("pauses"), GUEST_SECONDS)
        took = [pause for ended, pause in pauses(page) if step.began <= ended <= step.ended]
        step.pause = max(took, default=0.0)
        print(f"   {step.kind}: {step.pause:.1f} s without a write; {step.seconds}", flush=True)
        if moved and not step.pause:
            raise Wrong(f"{step.kind}: the guest tells of no pause: {page}")

    def move(self) -> None:
        """Serving moves as an operator moves it."""
        old, step = self.serving(), self.begin("planned failover")
        began = time.monotonic()
        self.play("storage_failover")
        step.seconds["command"] = round(time.monotonic() - began, 1)
        self.end(step, moved=True)
        if self.serving().name == old.name:
            raise Wrong(f"{old.name} still serves after the failover")

    def lose(self) -> None:
        """The one that serves loses its power; the other takes over on the operator's word; the lost one is healed."""
        lost, step = self.serving(), self.begin("loss of the server that serves")
        began = time.monotonic()
        lost.cut()
        time.sleep(5)
        word = time.monotonic()
        self.play("storage_failover", f"storage_is_off={lost.name}")
        step.seconds["command"] = round(time.monotonic() - word, 1)
        self.writes(1)
        step.seconds["writes again after the word"] = round(time.monotonic() - word, 1)
        self.end(step, moved=True)
        if self.serving().name == lost.name:
            raise Wrong(f"{lost.name} has no power, and serves")
        step = self.begin("return and heal")
        lost.start()
        lost.up()
        self.play("storage_heal")
        step.seconds["whole after the cut"] = round(time.monotonic() - began, 1)
        self.end(step, moved=False)
        self.updraft("storage", self.inventory)

    def tidy(self) -> None:
        """Leave machines that run; the server is left to be looked at, the next one takes its place."""
        for machine in self.servers.values():
            if not machine.running():
                machine.start()


def run(guest: Guest) -> dict[str, Any]:
    """Do it all; what was found."""
    found: dict[str, Any] = {"problem": "", "steps": [], "writes": None}
    try:
        guest.updraft("storage", guest.inventory)
        guest.make()
        guest.begin_writes()
        guest.move()
        guest.lose()
        # Whatever was written before and meanwhile was read from the disk again.
        found["writes"] = asdict(guest.compared())
        guest.finish()
    except (Wrong, Refused, subprocess.TimeoutExpired) as error:
        found["problem"] = f"{type(error).__name__}: {error}"
    finally:
        guest.tidy()
    found["steps"] = [asdict(step) for step in guest.steps]
    return found


def main(made: Callable[[str], Guest], about: str, inventory: str, words: Sequence[str] | None = None) -> int:
    """Exit code 0 when the machine went on."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--inventory", default=inventory)
    parser.add_argument("--report", type=Path, default=ROOT / ".updraft" / f"{made.__name__.lower()}.json")
    given = parser.parse_args(words)
    try:
        found = run(made(given.inventory))
    except Wrong as wrong:
        print(wrong)
        return 2
    keep(given.report, found)
    print(found["problem"] or f"the guest went on: {found['writes']}", f"({given.report})")
    return 1 if found["problem"] else 0
