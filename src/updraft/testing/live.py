# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks on a lab: it is built, it is the same the second time, it holds what was promised, it goes away."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from updraft.lab import awaited, lab_of
from updraft.labshell import NAMESPACES, ssh
from updraft.report import read_json
from updraft.site import ROOT, Site, find_site
from updraft.testing.base import Check, Context, Failed, Skipped
from updraft.vault import secrets_of

#: Prints where one of the patterns on its standard input is found on a machine.
SEEK = Path(__file__).with_name("seek.sh")

#: Values shorter than this are no secrets but names.
SECRET_LENGTH = 12


def site() -> Site:
    """The lab that is tested."""
    return find_site("lab", ROOT)


def nodes() -> list[str]:
    """Its machines."""
    return list(awaited(site()))


def on_node(node: str, script: str, *, data: str = "", limit: float = 120) -> str:
    """What a shell script prints on a machine of the lab."""
    words = [*ssh(site(), node), script]
    words[1:1] = ["-o", "BatchMode=yes"]
    try:
        run = subprocess.run(words, input=data, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{node}: no answer within {limit:.0f} s to: {script.splitlines()[0]}") from None
    if run.returncode:
        raise Failed(f"{node}: exit code {run.returncode}: {run.stderr.strip() or run.stdout.strip()}")
    return run.stdout


def updraft(context: Context, *words: str, limit: float, show: bool = False) -> str:
    """Run a command of ./updraft."""
    return context.command([str(context.root / "updraft"), *words], limit=limit, show=show)


def report() -> dict[str, Any]:
    """The report of the last run."""
    found = read_json(site().state / "report.json")
    if found is None:
        raise Failed("the run left no report.json")
    return found


def stage_seconds(found: dict[str, Any]) -> str:
    """A report's stages in a line."""
    return ", ".join(f"{stage['name']} {stage['seconds']:.0f} s" for stage in found["stages"])


def lab_up(context: Context) -> str:
    """From whatever is there to a proved cloud."""
    if os.geteuid() != 0:
        raise Skipped("only root can make the lab's networks and machines")
    updraft(context, "lab", "up", limit=3600, show=True)
    found = report()
    if not found["tenant"]:
        raise Failed("the run ended well, but no tenant's server is on record")
    return stage_seconds(found)


def lab_again(context: Context) -> str:
    """A second run changes nothing and restarts nothing; its seconds are told, not judged: a test is no stopwatch."""
    context.need("lab-up")
    before = {node: processes(node) for node in nodes()}
    updraft(context, "lab", "up", limit=600)
    found = report()
    if found["changed"]:
        changed = [host for host, counts in found["hosts"].items() if counts["changed"]]
        raise Failed(f"the second run changed something on {', '.join(changed)}; see {context.log}")
    seconds = next(stage["seconds"] for stage in found["stages"] if stage["name"] == "converge")
    restarted = [
        f"{node}: {unit}"
        for node, units in before.items()
        for unit, number in processes(node).items()
        if units.get(unit, number) != number
    ]
    if restarted:
        raise Failed(f"main processes that are not the same after the second run: {', '.join(restarted)}")
    return f"changed=0, converge {seconds:.0f} s, {sum(map(len, before.values()))} main processes as before"


def processes(node: str) -> dict[str, int]:
    """The main process of each running service of a machine (those that come and go with logins left out)."""
    text = on_node(node, "systemctl show --type=service --state=running --property=Id,MainPID '*'")
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    transient = re.compile(r"(user@|ssh@|getty@|serial-getty@|systemd-(hostnamed|timedated|localed|tmpfiles))")
    return {block["Id"]: int(block["MainPID"]) for block in blocks if not transient.match(block["Id"])}


def drift(context: Context) -> str:
    """Check mode finds no difference on the running cloud."""
    context.need("lab-up")
    # At -vvv, so that the records which `lab-secrets` reads hold all that Ansible can print.
    updraft(context, "drift", "lab", "--", "-vvv", limit=900)
    return "no difference"


def ports(context: Context) -> str:
    """What listens on each machine is what the ledger declares."""
    context.need("lab-up")
    updraft(context, "run", "lab", "ports", limit=600)
    return "what listens is what is declared"


def isolation(context: Context) -> str:
    """Servers of two tenants do not reach each other's private network, but what they should reach."""
    context.need("lab-up")
    updraft(context, "run", "lab", "verify_isolation", limit=1200)
    return "two tenants' guests reach their routers and floating addresses, and not each other's network"


def secrets(context: Context) -> str:
    """No secret stands where others can read it: files, command lines, journals, logs of the runs."""
    context.need("lab-up")
    values = secret_values()
    script = SEEK.read_text(encoding="utf-8")
    patterns = "\n".join(values.values()) + "\n"
    names = nodes()
    with ThreadPoolExecutor(max_workers=8) as pool:
        texts = list(pool.map(lambda node: on_node(node, script, data=patterns, limit=300), names))
    found = [f"{node}: {line}" for node, text in zip(names, texts, strict=True) for line in text.splitlines()]
    found += list(_artifacts_with(values))
    if found:
        raise Failed("secrets were found in:\n" + "\n".join(found))
    return f"{len(values)} secrets on {len(names)} machines"


def secret_values() -> dict[str, str]:
    """The lab's secrets by dotted name; each line of a key counts as one. Raises Refusal when they cannot be opened."""
    found = dict(_flat(secrets_of(site())))
    if not found:
        raise Failed("the lab has no secrets")
    return found


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of a tree. Of the CA's key one line in its middle stands for all; its certificate is public."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif name == "ca_key":
            lines = str(value).strip().splitlines()
            yield name, lines[len(lines) // 2]
        elif name != "ca_certificate" and len(str(value)) >= SECRET_LENGTH:
            yield prefix + name, str(value)


def _artifacts_with(values: dict[str, str]) -> Iterator[str]:
    """The records of runs that hold a secret."""
    for file in (site().state / "artifacts").rglob("*"):
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            yield from (f"{file}: {name}" for name, value in values.items() if value in text)


def status(context: Context) -> str:
    """`lab status` says that all machines answer."""
    context.need("lab-up")
    updraft(context, "lab", "status", limit=120)
    return "all machines answer"


def lab_down(context: Context) -> str:
    """Nothing of the lab is left, and what it did not make is."""
    return taken_down(context, "lab", ["lab-up"])


def taken_down(context: Context, inventory: str, checks: Sequence[str]) -> str:
    """Remove a lab, unless one of its checks (the first makes it) failed; nothing of it may be left."""
    lab = find_site(inventory, ROOT)
    verdicts = [context.verdicts.get(name) for name in checks]
    if verdicts[0] == "skipped" or not NAMESPACES.joinpath(str(lab_of(lab)["namespace"])).exists():
        raise Skipped("there is no such lab")
    if "failed" in verdicts:
        raise Skipped(f"the lab is left as it is, to be looked at: ./updraft lab --inventory {inventory} status")
    updraft(context, "lab", "--inventory", inventory, "down", limit=300, show=True)
    left = leftovers(lab)
    if left:
        raise Failed("lab down left behind:\n" + "\n".join(left))
    return "nothing is left"


def leftovers(lab: Site, proc: Path = Path("/proc")) -> list[str]:
    """What is still there of a lab: its namespaces, and processes that run from its state folder."""
    namespace = str(lab_of(lab)["namespace"])
    left = [f"namespace {path.name}" for path in NAMESPACES.glob(f"{namespace}*")]
    for entry in proc.glob("[0-9]*"):
        try:
            words = entry.joinpath("cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if f"{lab.state}/machines" in words:
            left.append(f"process {entry.name}: {words[:120]}")
    return left


FIRST = (
    Check("lab-up", "a cloud on this computer, and its proof by a tenant", lab_up),
    Check("lab-again", "the second run changes nothing and restarts nothing", lab_again),
)

#: After machines have come, gone and lost their power: all of it must have left the cloud as cloud.yml says.
LAST = (
    Check("lab-drift", "--check --diff on the running cloud shows no difference", drift),
    Check("lab-ports", "what listens on each machine is what is declared", ports),
    Check("lab-isolation", "two tenants cannot reach each other's private network", isolation, minutes=18),
    Check("lab-status", "lab status knows the machines", status),
    # Here the records of all runs are there.
    Check("lab-secrets", "no secret in files that others can read, command lines, journals, records", secrets),
    Check("lab-down", "lab down removes all that lab up made", lab_down),
)
