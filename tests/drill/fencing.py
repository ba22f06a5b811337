# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage server falls silent, and its management board decides: on the lab of inventories/lab-storage.

    PYTHONPATH=src:. .updraft/venv/bin/python tests/drill/fencing.py

Silent is: its QEMU is stopped (SIGSTOP), so that it answers nobody and could go on at any moment. The boards are FAKES
(fake_redfish.py) on the loopback network, the rest is what a site has: `power` and `failover: by_itself` in cloud.yml,
in a second inventory of the same site which is made for this and removed at its end.

  stuck     the board takes the order and the power stays on: refused, nothing is promoted
  refuses   the board answers with an error: the same
  away      nobody answers at the board's address: the same
  by-itself the board obeys: `./updraft storage --watch` switches the server off, and the other one serves

node1 writes all the while and compares what it wrote. At the end the mirror is whole again, also after an interruption.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from fake_redfish import Board, Mood, serving
from machines import ROOT, Machine, Refused, Wrong, keep, wait
from mirror_lab import INVENTORY, MIB, RATE, Cut, MirrorLab, bad, lost, verdict

from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import read
from updraft import vault
from updraft.site import Refusal, Site, find_site

#: The first storage server's board; the others' count up from it. Port 443, as boards have it.
FIRST, USER = "127.78.0.121", "drill"
#: What a failover says that could not prove that the old server is off.
SAID = {
    "stuck": "it took the order, and says that the power is On",
    "refuses": "the power controller does not answer",
    "away": "URL Error",
}
NOT_PROVEN = ("is not proven to be off, and nothing was promoted", "does not prove that it is off")
#: Seconds: the leg notices, a refused failover ends, a watch has moved it, the mirror is whole again.
NOTICED, REFUSED, MOVED, WHOLE = 60.0, 600.0, 900.0, 1200.0


@dataclass(slots=True)
class Case:
    """One silence, and what came of it. `off` and `up`: seconds until the power was off, and until the other served."""

    kind: str
    old: str
    refused: bool = False
    orders: tuple[str, ...] = ()
    off: float = 0.0
    up: float = 0.0
    pause: float = 0.0


def fenced_cloud(cloud: dict[str, Any]) -> dict[str, Any]:
    """The same cloud.yml, with boards and a failover by itself. Raises Wrong when its storage is written otherwise."""
    made: dict[str, Any] = json.loads(json.dumps(cloud))
    storage = [node for node in made["nodes"].values() if "storage" in node["roles"]]
    if len(storage) != 1:
        raise Wrong("this check is for a site whose storage servers are one range of nodes, as in lab-storage")
    storage[0]["power"] = {"kind": "redfish", "address": FIRST, "user": USER, "insecure": True}
    made["volumes"]["mirror"]["failover"] = "by_itself"
    return made


@contextmanager
def fenced_site(site: Site, password: str) -> Iterator[Site]:
    """The same site by a second inventory, which is there while the block runs: in the site's own state folder."""
    folder = site.state / "fenced"
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        (folder / "cloud.yml").write_text(yaml.safe_dump(fenced_cloud(site.cloud), sort_keys=False))
        found = find_site(str(folder), ROOT)
        power = dict.fromkeys(site.cloud["volumes"]["mirror"]["legs"], password)
        vault.write_secrets(found, {**vault.secrets_of(site), "power": power})
        yield found
    finally:
        shutil.rmtree(folder)


def addresses(site: Site) -> dict[str, str]:
    """The boards' addresses by machine, as the model has them."""
    _loaded, derived = read(site.cloud_file)
    nodes = {name: variables["cloud_node"] for name, variables in derived.hosts.items()}
    return {name: str(node["power"]["address"]) for name, node in nodes.items() if node["power"]}


class Fencing:
    """The lab, its boards, and what was found so far."""

    def __init__(self, site: Site, lab: MirrorLab, password: str) -> None:
        self.site, self.lab = site, lab
        self.boards = {name: Board(machine, USER, password) for name, machine in lab.servers.items()}
        self.addresses = addresses(site)
        self.cases: list[Case] = []
        self.pending: list[Case] = []

    def signal(self, machine: Machine, number: signal.Signals) -> None:
        """Stop a machine's process, or let it go on. The file of its id names it, and Machine has looked at that."""
        if machine.running():
            os.kill(int(machine.pid_file.read_text()), number)

    def updraft(self, *words: str) -> list[str]:
        """A command of ./updraft; what is asked of the boards goes to no proxy."""
        return [str(ROOT / "updraft"), *words]

    def environment(self) -> dict[str, str]:
        """Without a proxy on the way to the boards."""
        hosts = ",".join([*self.addresses.values(), *filter(None, [os.environ.get("no_proxy", "")])])
        return {**os.environ, "no_proxy": hosts, "NO_PROXY": hosts}

    @contextmanager
    def silent(self, kind: str) -> Iterator[tuple[Machine, Machine, Case, Cut]]:
        """The serving machine falls silent and the leg notices; at the end it goes on, where it still is."""
        old, new = self.lab.whole()
        time.sleep(10)
        cut = Cut(len(self.cases) + 1, kind, moment=time.time())
        self.signal(old, signal.SIGSTOP)
        try:
            wait(f"{new.name} notices", lambda: not new.mirror("status")["connected"], NOTICED)
            yield old, new, Case(kind, old.name), cut
        finally:
            self.signal(old, signal.SIGCONT)

    def done(self, case: Case, cut: Cut) -> None:
        """Heal, and count the case. Raises Wrong."""
        self.healthy()
        cut.until = time.time()
        self.lab.pending.append(cut)
        self.cases.append(case)
        self.pending.append(case)

    def refused(self, kind: str) -> None:
        """The board cannot do it: nothing is promoted, and it is said why. Raises Wrong."""
        with ExitStack() as stack:
            old, new, case, cut = stack.enter_context(self.silent(kind))
            board = self.boards[old.name]
            board.orders.clear()
            if kind != "away":
                board.mood = _mood(kind)
                stack.enter_context(serving(board, self.addresses[old.name]))
            self._fails(kind)
            if not old.running():
                raise Wrong(f"{kind}: {old.name} was switched off, and it was said that it was not")
            found = new.mirror("status")
            if found["role"] != "leg" or found["up"] or found["arrays"]:
                raise Wrong(f"{kind}: {new.name} {found['words']}, while {old.name} has power")
            case.refused, case.orders = True, tuple(board.orders)
            if case.orders != (() if kind == "away" else ("ForceOff",)):
                raise Wrong(f"{kind}: the board was told {case.orders}")
        self.done(case, cut)

    def _fails(self, kind: str) -> None:
        """A failover fails, and says what it has to. Raises Wrong."""
        words = self.updraft("run", str(self.site.inventory), "storage_failover")
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=REFUSED, check=False, env=self.environment()
        )
        said = " ".join((done.stdout + done.stderr).split())
        missing = [text for text in (*NOT_PROVEN, SAID[kind]) if text not in said]
        if done.returncode == 0 or missing:
            raise Wrong(f"{kind}: exit code {done.returncode}, and it did not say {missing}: {said[-3000:]}")

    def by_itself(self) -> None:
        """The board obeys: it is switched off, and only then the other one serves. Raises Wrong."""
        with ExitStack() as stack:
            for name, board in self.boards.items():
                board.mood = "obeys"
                board.orders.clear()
                stack.enter_context(serving(board, self.addresses[name]))
            log = stack.enter_context(self.watching())
            old, new, case, cut = stack.enter_context(self.silent("by-itself"))
            wait(f"{old.name} is switched off", lambda: not old.running(), MOVED, every=0.2)
            case.off = round(time.time() - cut.moment, 1)
            found = wait(f"{new.name} serves", lambda: _served(new), MOVED)
            case.up = round(time.time() - cut.moment, 1)
            case.orders = tuple(self.boards[old.name].orders)
            if old.running() or case.orders != ("ForceOff",):
                raise Wrong(f"{new.name} {found['words']}, and the board of {old.name} was told {case.orders}")
            more = self.boards[new.name].orders
            if more:
                raise Wrong(f"the board of {new.name}, which took over, was told {more}")
            # It has ended the move then, and goes on.
            wait("the watch tells who serves", lambda: _moved(log.read_text(), old.name), MOVED)
        self.done(case, cut)

    @contextmanager
    def watching(self) -> Iterator[Path]:
        """`./updraft storage --watch` beside the block, and what it says; it ends by the signal that a person sends."""
        log = self.site.state / "fencing-watch.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                self.updraft("storage", str(self.site.inventory), "--watch"),
                stdout=output, stderr=subprocess.STDOUT, env=self.environment(), start_new_session=True,
            )  # fmt: skip
            try:
                yield log
                if process.poll() is not None:
                    raise Wrong(f"the watch ended with exit code {process.returncode}: {log.read_text()[-2000:]}")
            finally:
                _end(process)

    def healthy(self) -> None:
        """Both have power, and the mirror is whole. Raises Wrong."""
        for machine in self.lab.servers.values():
            self.signal(machine, signal.SIGCONT)
            if not machine.running():
                machine.start()
        for machine in self.lab.servers.values():
            machine.up()
        wait("it is healed", self._heal, WHOLE, every=10)
        self.lab.whole()

    def _heal(self) -> bool:
        words = self.updraft("run", str(self.site.inventory), "storage_heal")
        done = subprocess.run(words, capture_output=True, text=True, timeout=WHOLE, check=False)
        return done.returncode == 0

    def compare(self) -> None:
        """End the load and compare it; the pauses of the cases since it began are filled in. Raises Wrong."""
        cuts = list(self.lab.pending)
        self.lab.compare()
        for case, cut in zip(self.pending, cuts, strict=True):
            case.pause = cut.pause
        self.pending = []


def _mood(kind: str) -> Mood:
    return "stuck" if kind == "stuck" else "refuses"


def _moved(text: str, old: str) -> bool:
    """Say whether a watch told that the old one is gone, and that somebody serves."""
    lines = [line for line in text.splitlines() if line[:1].isdigit() and f"{old} does not answer" in line]
    return any("nobody serves" not in line for line in lines)


def _served(machine: Machine) -> dict[str, Any] | None:
    try:
        found = machine.mirror("status")
    except (Wrong, Refused):
        return None
    return found if found["role"] == "serving" and found["up"] else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here, and what it started."""
    for number, seconds in ((signal.SIGINT, 60), (signal.SIGTERM, 30), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Make the cases; what was found. Raises Wrong."""
    site, password = find_site(given.inventory, ROOT), secrets.token_urlsafe(16)
    lab = MirrorLab(given.inventory, given.mib, given.rate)
    found: dict[str, Any] = {"problem": "", "cases": [], "checked": {}}
    began = time.time()
    with fenced_site(site, password) as fenced:
        fencing = Fencing(fenced, lab, password)
        try:
            lab.prepare()
            lab.load()
            for kind in given.kinds:
                if kind == "by-itself":
                    fencing.by_itself()
                else:
                    fencing.refused(kind)
                print(f"{time.strftime('%H:%M:%S')} {fencing.cases[-1]}", flush=True)
            fencing.compare()
            found["checked"] = lab.checked()
        except (Wrong, Refused, Refusal, OSError, subprocess.SubprocessError) as error:
            found["problem"] = f"{type(error).__name__}: {error}"
        finally:
            found["problem"] += _restored(fencing)
            lab.tidy()
    found |= {"seconds": round(time.time() - began), "load": lab.totals}
    found["cases"] = [asdict(case) for case in fencing.cases]
    found["lost"] = lost(found)
    return found


def _restored(fencing: Fencing) -> str:
    """Bring it back to health, whatever happened; what could not be done."""
    try:
        fencing.healthy()
    except (Wrong, Refused, OSError, subprocess.SubprocessError) as error:
        return f" The mirror was not brought back to health: {error}"
    return ""


def main() -> int:
    """Exit code 0 when all went as it has to, 1 when not, 2 when it could not begin."""
    parser = argparse.ArgumentParser(description="Silent servers and their (fake) boards, on the lab of the storage.")
    parser.add_argument("--inventory", default=INVENTORY)
    kinds = [*SAID, "by-itself"]
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--mib", type=int, default=MIB, help="MiB of each of the two areas that are written to")
    parser.add_argument("--rate", type=int, default=RATE, help="writes a second")
    parser.add_argument("--report", type=Path, default=ROOT / ".updraft" / "fencing.json")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        found = run(given)
    except (Wrong, Refusal) as wrong:
        print(wrong)
        return 2
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    keep(given.report, found)
    for case in found["cases"]:
        ending = "refused" if case["refused"] else f"off after {case['off']} s, served after {case['up']} s"
        print(f"{case['kind']:10} {case['old']} silent: {ending}, pause {case['pause']:.1f} s")
    print(verdict(found, given.report))
    return 1 if bad(found) else 0


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
