# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill a run with SIGKILL at random moments, run again each time, and compare the end with that of an uncut run.

    .updraft/venv/bin/python tests/lab/cut.py --cuts 10        (with a lab that is up)

On machines made anew ``site.yml`` runs uncut, and what came of it is fingerprinted. The machines are made anew once
more, ``site.yml`` is started and killed ``--cuts`` times at random moments, then runs to its end. Both fingerprints
must be the same, and one more run must change nothing. (A lab that has had guests has traces of them, so that the
one that is up cannot be what is compared with.) Prints each moment, the task that was cut, and the differences;
exit code 1 when there are any. ``--seed`` repeats a series. Takes about half an hour.
"""

from __future__ import annotations

import argparse
import difflib
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from fingerprint import fingerprint

from updraft.lab import STATE
from updraft.site import find_site

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".updraft" / "venv" / "bin"
ENVIRONMENT = {**os.environ, "PATH": f"{VENV}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"}
# What makes and removes the machines does not ask the registrar, which runs on one of them.
WITHOUT_REGISTRAR = {"UPDRAFT_REGISTRAR": "off"}


def play(playbook: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a playbook on the lab in a process group of its own, its output added to ``log``."""
    words = [str(VENV / "ansible-playbook"), "-i", "inventories/lab", playbook]
    environment = ENVIRONMENT | (WITHOUT_REGISTRAR if playbook.startswith("playbooks/lab/") else {})
    with log.open("ab") as output:
        return subprocess.Popen(
            words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
        )


def finish(playbook: str, log: Path) -> str:
    """Run a playbook to its end and return what it printed; leave with its last lines when it fails."""
    start = log.stat().st_size if log.exists() else 0
    code = play(playbook, log).wait(timeout=2400)
    text = log.read_bytes()[start:].decode(errors="replace")
    if code:
        sys.exit(f"{playbook} failed with {code}; the end of {log}:\n" + "\n".join(text.splitlines()[-60:]))
    return text


def cut(log: Path, seconds: float) -> str | None:
    """Start the site and kill it, with all its workers, after ``seconds``; the task that was cut, None if it ended."""
    start = log.stat().st_size if log.exists() else 0
    process = play("playbooks/site.yml", log)
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        tasks = re.findall(r"^TASK \[(.*)\]", log.read_bytes()[start:].decode(errors="replace"), re.MULTILINE)
        return tasks[-1] if tasks else "(before the first task)"
    if code:
        sys.exit(f"the run failed with {code} before it was cut; see {log}")
    return None


def series(cuts: int, longest: float, log: Path) -> None:
    """Cut ``cuts`` runs, each after a random time of at most ``longest`` seconds; a run that ends first is no cut."""
    done = 0
    while done < cuts:
        seconds = random.uniform(1.0, longest)
        task = cut(log, seconds)
        if task is None:
            longest = max(seconds * 0.8, 5.0)
            continue
        done += 1
        print(f"cut {done:2} after {seconds:5.1f} s in: {task}", flush=True)


def converged(log: Path) -> list[str]:
    """Run the site to its end and once more; the recap's lines of the second run that tell of a change."""
    began = time.monotonic()
    finish("playbooks/site.yml", log)
    print(f"a run to the end took {time.monotonic() - began:.0f} s", flush=True)
    return changes(finish("playbooks/site.yml", log))


def new_machines(log: Path) -> None:
    """Throw the machines away and make them anew."""
    finish("playbooks/lab/down.yml", log)
    for name in STATE:
        (find_site("lab").state / name).unlink(missing_ok=True)
    finish("playbooks/lab/machines.yml", log)
    finish("playbooks/provision.yml", log)
    finish("playbooks/lab/nodes.yml", log)


def changes(text: str) -> list[str]:
    """The lines of a recap that tell of a change."""
    return [line for line in text.splitlines() if re.search(r"\bchanged=[1-9]", line)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--longest", type=float, default=120.0, help="seconds after which a run is cut at the latest")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--hosts", default="control1,storage1,node1")
    chosen = parser.parse_args()
    random.seed(chosen.seed)
    print(f"seed {chosen.seed}", flush=True)

    site = find_site("lab")
    state = site.state
    log = state / "cut.log"
    log.unlink(missing_ok=True)
    hosts = chosen.hosts.split(",")
    new_machines(log)
    differences = converged(log)
    uncut = fingerprint(site, hosts, hosts[0])
    new_machines(log)
    series(chosen.cuts, chosen.longest, log)
    differences += converged(log)
    again = fingerprint(site, hosts, hosts[0])
    (state / "uncut.txt").write_text("\n".join(uncut) + "\n")
    (state / "cut.txt").write_text("\n".join(again) + "\n")
    differences += [
        line
        for line in difflib.unified_diff(uncut, again, "uncut", "cut", n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
    print("\n".join(differences) or f"the same end state in {len(uncut)} facts, and the next run changes nothing")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
