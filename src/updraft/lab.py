# SPDX-License-Identifier: GPL-3.0-or-later
"""`./updraft lab up`: a cloud on this one computer, stage by stage, each of which can be cut and run again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.plugin_utils.model.connection import REGISTERED_HOSTS
from ansible_collections.updraft.cloud.plugins.plugin_utils.registry import CACHE, RECORD, last
from updraft.display import PlainDisplay, duration
from updraft.report import StageResult, build_report, read_json, write_private, write_report
from updraft.runner import Session, Stage, run_stage
from updraft.site import Refusal, Site


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of `lab up`: a playbook, or for `secrets` what is done here."""

    name: str
    playbook: str | None = None
    warn: float = 120.0
    limit: float = 1200.0


#: A machine that is installed on its disk shows its code only after that.
NODES = Step("nodes", "playbooks/lab/nodes.yml", warn=300.0, limit=1800.0)
STEPS = (
    Step("computer", "playbooks/lab/computer.yml"),
    Step("images", "playbooks/lab/images.yml", warn=300.0, limit=1800.0),
    Step("machines", "playbooks/lab/machines.yml"),
    Step("secrets"),
    Step("provision", "playbooks/provision.yml"),
    NODES,
    Step("converge", "playbooks/site.yml"),
    Step("proof", "playbooks/verify.yml", warn=300.0),
)
POWER = Step("power", "playbooks/lab/power.yml", warn=300.0, limit=1800.0)
DOWN = Step("down", "playbooks/lab/down.yml")

#: What is kept about a cloud in its state folder, beside the records of runs.
STATE = ("report.json", "proof.json", "proven.json", "clouds.yaml", RECORD, CACHE, REGISTERED_HOSTS, "rollout.json")


def lab_of(site: Site) -> dict[str, Any]:
    """The `lab` section of a site's cloud.yml; Refusal when it has none."""
    lab = site.cloud.get("lab")
    if not isinstance(lab, dict):
        raise Refusal(f"site '{site.name}' is no lab: its cloud.yml has no section `lab`")
    return lab


def fingerprint(site: Site) -> str:
    """What a proof holds for: this cloud.yml, at this place."""
    return hashlib.sha256(site.cloud_file.read_bytes()).hexdigest()


class Proof:
    """Whether the cloud as it is now has been proved: decided by what is on record, not by this run alone.

    `proven.json` is removed before anything may change and written after a proof. So a run that was
    cut after a change leaves no record, and the next one proves the cloud although it changes nothing.
    """

    def __init__(self, site: Site) -> None:
        self._file = site.state / "proven.json"
        self._print = fingerprint(site)
        self._record = read_json(self._file)

    def suspend(self) -> None:
        """The cloud may change from here on."""
        self._file.unlink(missing_ok=True)

    def needed(self, changed: int) -> str | None:
        """Why the proof has to be made; None when the one on record still holds."""
        if changed:
            return f"{changed} tasks changed something"
        if self._record is None:
            return "no proof is on record"
        if self._record.get("model") != self._print:
            return "cloud.yml is another one than at the last proof"
        return None

    def keep(self) -> None:
        """The proof was made, or the one on record holds: nothing changed."""
        when = (self._record or {}).get("proven") or datetime.now(UTC).isoformat(timespec="seconds")
        write_private(self._file, json.dumps({"model": self._print, "proven": when}) + "\n")

    def made(self) -> None:
        """The proof was made now."""
        self._record = None
        self.keep()


def up(session: Session, command: str, make_secrets: Callable[[Site], Sequence[str]]) -> list[StageResult]:
    """Build, or bring up to date, the whole lab; how each stage went, up to the first that failed.

    The report is written after every stage, so that it is there however the run ends.
    """
    site = session.site
    started = datetime.now(UTC)
    results: list[StageResult] = []
    proof = Proof(site)
    for step in STEPS:
        results.append(_step(session, step, results, proof, make_secrets))
        write_report(site.state / "report.json", build_report(site.name, command, started, results, tenant(site)))
        if results[-1].status not in ("ok", "skipped"):
            break
    return results


def _step(
    session: Session,
    step: Step,
    before: Sequence[StageResult],
    proof: Proof,
    make_secrets: Callable[[Site], Sequence[str]],
) -> StageResult:
    """Do one stage."""
    if step.name == "secrets":
        return _secrets(session, make_secrets)
    if step.name in ("provision", "nodes", "proof") and (reason := _no_need(session.site, step.name)):
        session.display.line(f"{step.name}: skipped, {reason}")
        return StageResult(step.name, "skipped", reason=reason)
    if step.name == "proof":
        reason = proof.needed(sum(stage.changed for stage in before if stage.name in ("machines", "converge")))
        if reason is None:
            proof.keep()
            session.display.line("proof: skipped, nothing changed since the last one")
            return StageResult("proof", "skipped", reason="nothing changed since the proof on record")
        session.display.line(f"proof: {reason}")
    if step.name == "machines":
        proof.suspend()
    result = run_step(session, step)
    if step.name == "proof" and result.status == "ok":
        proof.made()
    return result


def _no_need(site: Site, step: str) -> str | None:
    """Why nothing has to boot by network, be made ready for it, or be proved as a tenant; None when it has."""
    if step == "proof":
        return "a cloud without services has no tenants" if site.cloud.get("services") == [] else None
    if not bare_machines(site):
        return "no machine of the lab boots by network"
    if step == "provision" and (site.state / RECORD).exists():
        return "what machines boot from is there, and is looked after with the others"
    return None


def awaited(site: Site) -> dict[str, Any]:
    """The machines of a lab, without those that are spare and have not become nodes."""
    machines: dict[str, Any] = lab_of(site).get("machines", {})
    known = registered(site)
    return {name: one for name, one in machines.items() if name in known or not one.get("spare")}


def registered(site: Site) -> dict[str, str]:
    """The addresses of the machines that were approved, by name, from the registrar's last answer."""
    return {one.name: one.address for one in last(site.state)}


def bare_machines(site: Site) -> list[str]:
    """The machines of a lab that boot by network, but the spare ones."""
    machines: dict[str, Any] = lab_of(site).get("machines", {})
    return [name for name, one in machines.items() if one.get("kind") == "bare" and not one.get("spare")]


def spare(site: Site, name: str | None) -> str:
    """The spare machine of a lab that has this name, or the first that is not a node yet."""
    machines: dict[str, Any] = lab_of(site).get("machines", {})
    spares = [one for one, machine in machines.items() if machine.get("spare")]
    if name is not None:
        if name not in spares:
            raise Refusal(f"the lab has no spare machine '{name}'; it has {', '.join(spares) or 'none'}")
        return name
    known = registered(site)
    free = [one for one in spares if one not in known]
    if not free:
        raise Refusal("the lab has no spare machine left: write one below lab.machines, with kind: bare, spare: true")
    return free[0]


def switch_on(session: Session, name: str) -> StageResult:
    """Switch a bare machine on and approve it."""
    return run_step(session, NODES, "--extra-vars", json.dumps({"lab_bare": [name]}))


def power(session: Session, name: str, how: str) -> StageResult:
    """Switch a bare machine `on` or `off`, or `reset` it."""
    return run_step(session, POWER, "--extra-vars", json.dumps({"lab_bare": [name], "lab_power": how}))


def run_step(session: Session, step: Step, *arguments: str) -> StageResult:
    """Run one stage's playbook."""
    site = session.site
    local = str(step.playbook).startswith("playbooks/lab/")
    stage = Stage(
        step.name,
        site.root / str(step.playbook),
        arguments,
        hosts="this computer" if local else site.nodes,
        warn=step.warn,
        limit=step.limit,
        # What makes and removes the machines does not ask the registrar, which runs on one of them.
        environment={"UPDRAFT_REGISTRAR": "off"} if local else {},
    )
    return run_stage(session, stage)


def _secrets(session: Session, make_secrets: Callable[[Site], Sequence[str]]) -> StageResult:
    """Make what is missing of the lab's secrets; their names are told, never their values."""
    began = time.monotonic()
    added = make_secrets(session.site)
    session.display.line(f"secrets: {len(added)} made" if added else "secrets: all there")
    return StageResult("secrets", "ok", time.monotonic() - began)


def down(session: Session) -> StageResult:
    """Remove the lab's machines and networks, its secrets and what is on record about them.

    The cache of images and the records of runs stay.
    """
    site = session.site
    Proof(site).suspend()
    result = run_step(session, DOWN)
    if result.status == "ok":
        for file in (*(site.state / name for name in STATE), site.secrets_file):
            file.unlink(missing_ok=True)
        for folder in (site.secrets_file.parent, site.secrets_file.parent.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return result


def tenant(site: Site) -> dict[str, Any] | None:
    """The tenant's server that was last proved, from verify.yml's proof.json."""
    found = (read_json(site.state / "proof.json") or {}).get("server")
    return found if isinstance(found, dict) else None


def summary(site: Site, cloud: dict[str, Any]) -> str:
    """What was built, for the person who waited for it. `cloud` is the model's."""
    report = read_json(site.state / "report.json") or {}
    proof = read_json(site.state / "proof.json") or {}
    lines = [f"The cloud '{site.name}' is up.", "", "nodes"]
    for name, node in cloud["nodes"].items():
        addresses = ", ".join(f"{network} {address}" for network, address in node["addresses"].items())
        lines.append(f"  {name:10} {', '.join(node['roles']):32} {addresses}")
    if identity := cloud["urls"].get("identity"):
        lines += ["", f"API          {identity} (at {cloud['endpoint']['address']})"]
    if credentials := proof.get("credentials"):
        lines.append(f"credentials  {credentials}")
    if server := tenant(site):
        lines.append(f"tenant's VM  {_server(server)}: proved, then removed")
    lines += ["", "time per stage"]
    lines += [f"  {stage['name']:10} {_seconds(stage):>12}" for stage in report.get("stages", [])]
    lines += [
        f"  {'in all':10} {duration(report.get('seconds', 0)):>12}",
        "",
        f"report       {_report(site)}",
    ]
    return "\n".join(lines)


def _server(server: dict[str, Any]) -> str:
    """The tenant's server in a line, from what verify.yml said of it."""
    words = [str(server.get("name", "?"))]
    known = (
        ("project", "of project"),
        ("node", "on"),
        ("fixed_address", "at"),
        ("floating_address", "floating"),
    )
    words += [f"{label} {server[key]}" for key, label in known if server.get(key)]
    return " ".join(words)


def _seconds(stage: dict[str, Any]) -> str:
    return "skipped" if stage["status"] == "skipped" else duration(stage["seconds"])


def _report(site: Site) -> Path:
    file = site.state / "report.json"
    return file.relative_to(site.root) if file.is_relative_to(site.root) else file


def status(site: Site, probe: Callable[[], dict[str, str]], display: PlainDisplay) -> int:
    """Tell what of the lab runs; 0 when each of its machines answers, 3 otherwise."""
    machines = awaited(site)
    states = probe()
    for name, machine in machines.items():
        display.line(f"{name:10} {machine.get('kind', '?'):10} {states.get(name, 'unknown')}")
    report = read_json(site.state / "report.json")
    if report:
        display.line(f"last run: {report['command']}: {report['status']}, ended {report['ended']}")
    else:
        display.line("last run: none on record")
    if server := tenant(site):
        display.line(f"last proof: {_server(server)}")
    return 0 if machines and all(states.get(name) == "answers" for name in machines) else 3
