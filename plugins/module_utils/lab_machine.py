# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts, stops and removes the machines of a lab, all of them side by side."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.lab_bare import BareMachine, wait_for_codes
from ansible_collections.updraft.cloud.plugins.module_utils.lab_container import Container
from ansible_collections.updraft.cloud.plugins.module_utils.lab_cpio import Entry
from ansible_collections.updraft.cloud.plugins.module_utils.lab_host import owner, refuse_foreign
from ansible_collections.updraft.cloud.plugins.module_utils.lab_image import Cache
from ansible_collections.updraft.cloud.plugins.module_utils.lab_qemu import VirtualMachine
from ansible_collections.updraft.cloud.plugins.module_utils.lab_recipe import recipe
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import LabError, Machine, Site
from ansible_collections.updraft.cloud.plugins.module_utils.lab_ssh import (
    USER_KEY,
    ensure_keys,
    host_key,
    keys_exist,
    login,
    remove_keys,
)

CONSOLE_LINES = 25
ASK_AGAIN_SECONDS = 1.0

Driver = Container | VirtualMachine


def driver(site: Site, machine: Machine) -> Driver:
    """Return what handles machines of this kind."""
    if machine.kind == "container":
        return Container(site, machine)
    if machine.kind == "vm":
        return VirtualMachine(site, machine)
    if machine.kind == "bare":
        return BareMachine(site, machine)
    raise LabError(f"lab.machines.{machine.name}.kind: '{machine.kind}' is not known; write container, vm or bare")


def seed(site: Site, machine: Machine) -> list[Entry]:
    """Return the files which make an image this machine: its name, keys, identity and management address."""
    public = (site.state / f"{USER_KEY}.pub").read_bytes()
    key = host_key(site, machine)
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{machine.fqdn}.{key.with_name(key.name + '.pub').read_text()}").hex
    entries = [
        Entry("/etc/hostname", f"{machine.name}\n".encode()),
        Entry("/etc/machine-id", f"{identity}\n".encode(), 0o444),
        Entry("/etc/ssh/ssh_host_ed25519_key", key.read_bytes(), 0o600),
        Entry("/etc/ssh/ssh_host_ed25519_key.pub", key.with_name(f"{key.name}.pub").read_bytes()),
        Entry("/root/.ssh", None, 0o700),
        Entry("/root/.ssh/authorized_keys", public, 0o600),
    ]
    return entries + network_files(machine)


def network_files(machine: Machine) -> list[Entry]:
    """Return what systemd-networkd needs so that the management address answers; the rest is the network role's."""
    return [
        Entry(
            f"/etc/systemd/network/10-updraft-{link.interface}.network",
            f"[Match]\nName={link.interface}\n\n[Network]\nAddress={link.address}\nLinkLocalAddressing=no\n".encode(),
        )
        for link in machine.links
        if link.network == "management" and link.address
    ]


def started(site: Site, *, limit: float, check: bool) -> dict[str, Any]:
    """Start what does not run and wait until every machine lets us in; returns what changed, per machine.

    Bare machines are not among them: they wait for a network that can start them (see `powered`).
    """
    refuse_foreign(site)
    lost = orphans(site)
    idle = [machine for machine in site.prepared if machine in lost or not driver(site, machine).running()]
    if check:
        return {"changed": bool(idle), "started": [machine.name for machine in idle]}
    for machine in lost:
        driver(site, machine).remove()
    changed = ensure_keys(site)
    warnings = outdated(site, [machine for machine in site.prepared if machine not in idle])
    cache = Cache(site.cache)
    images = {machine.name: cache.image(recipe(machine.kind, machine.packages)) for machine in idle}
    for machine in idle:
        if not images[machine.name].path.is_dir():
            raise LabError(f"the image {images[machine.name].name} of {machine.name} has not been built")

    def start(machine: Machine) -> float:
        if machine in idle:
            driver(site, machine).start(images[machine.name], seed(site, machine))
        return wait_for_login(site, machine, limit)

    seconds = _side_by_side(start, site.prepared)
    return {
        "changed": changed or bool(idle),
        "started": [machine.name for machine in idle],
        "seconds": seconds,
        "warnings": warnings,
    }


def orphans(site: Site) -> list[Machine]:
    """Return what is left under the names of this lab of another one, whose checkout was removed."""
    handlers = {machine: driver(site, machine) for machine in site.machines}
    return [one for one, handler in handlers.items() if not handler.state.exists() and handler.exists()]


def powered(site: Site, names: Sequence[str], how: str, *, limit: float, check: bool) -> dict[str, Any]:
    """Switch bare machines on, cut their power, or both (`how`: on, off, reset); wait for the codes of what starts.

    names: which of the bare machines; none: all but the spare ones. Returns `codes` by name: what their consoles show.
    """
    refuse_foreign(site)
    bare = [machine for machine in site.machines if machine.kind == "bare"]
    machines = [machine for machine in bare if (machine.name in names if names else not machine.spare)]
    unknown = set(names) - {machine.name for machine in machines}
    if unknown:
        raise LabError(f"the lab has no bare machine {', '.join(sorted(unknown))}")
    chosen = [BareMachine(site, machine) for machine in machines]
    on = [one for one in chosen if one.running()]
    if check:
        return {"changed": how == "reset" or (len(on) < len(chosen) if how == "on" else bool(on)), "codes": {}}
    changed = [one.cut_power() for one in on] if how in ("off", "reset") else []
    if how != "off":
        changed += [one.power_on() for one in chosen]
    codes = {} if how == "off" else wait_for_codes(site, machines, limit)
    return {"changed": any(changed), "codes": codes}


def outdated(site: Site, machines: Sequence[Machine]) -> list[str]:
    """Return a sentence for each machine which was made from another image than it would be made from now."""
    warnings = []
    for machine in machines:
        wanted = recipe(machine.kind, machine.packages).name
        made_from = (site.machine_state(machine) / "image").read_text().strip()
        if made_from != wanted:
            warnings.append(
                f"{machine.name} was made from an older image ({made_from}): packages of {wanted} may be missing"
            )
    return warnings


def stopped(site: Site, *, check: bool) -> dict[str, Any]:
    """Shut down what runs; disks and networks stay."""
    refuse_foreign(site)
    busy = [machine for machine in site.machines if driver(site, machine).running()]
    if not check:
        bare = [BareMachine(site, machine) for machine in busy if machine.kind == "bare"]
        for one in bare:
            one.cut_power()
        _side_by_side(lambda machine: driver(site, machine).stop(), [one for one in busy if one.kind != "bare"])
    return {"changed": bool(busy), "stopped": [machine.name for machine in busy]}


def absent(site: Site, *, check: bool) -> dict[str, Any]:
    """End the machines at once and remove all of them."""
    refuse_foreign(site)
    present = [machine for machine in (*site.machines, *forgotten(site)) if driver(site, machine).exists()]
    keys = keys_exist(site)
    if not check:
        _side_by_side(lambda machine: driver(site, machine).remove(), present)
        remove_keys(site)
        shutil.rmtree(site.state / "machines", ignore_errors=True)
    return {"changed": bool(present) or keys, "removed": [machine.name for machine in present]}


def forgotten(site: Site) -> list[Machine]:
    """Return machines which this lab made and which its cloud.yml no longer names."""
    known = {machine.name for machine in site.machines}
    found = {path.name for path in (site.state / "machines").glob("*/") if path.name not in known}
    if owner(site) == str(site.state):
        found |= {path.name for path in site.runtime.glob("[!.]*/") if path.name not in known}

    def stub(name: str) -> Machine:
        virtual = any((site.state / "machines" / name).glob("*.qcow2")) or (site.runtime / name / "pid").exists()
        kind = "vm" if virtual else "container"
        return Machine(name, name, kind, 0, 0, "", (), (), ())

    return [stub(name) for name in sorted(found)]


def status(site: Site) -> list[dict[str, Any]]:
    """Return what there is of each machine, without changing anything."""
    rows = []
    for machine in site.machines:
        handler = driver(site, machine)
        running = handler.running()
        reachable = running and login(site, machine, "true", limit=10).returncode == 0
        address = next((link.address for link in machine.links if link.network == "management"), None)
        state = "running" if running else "stopped" if handler.exists() else "absent"
        rows.append(
            {
                "name": machine.name,
                "kind": machine.kind,
                "address": address.split("/")[0] if address else None,
                "memory_mib": machine.memory_mib,
                "state": state,
                "reachable": reachable,
                "console": str(handler.console),
            }
        )
    return rows


def wait_for_login(site: Site, machine: Machine, limit: float) -> float:
    """Wait until a command runs on the machine over SSH; return the seconds, or raise LabError with its console."""
    begin = time.monotonic()
    handler = driver(site, machine)
    while True:
        answer = login(site, machine, "true")
        if answer.returncode == 0:
            return round(time.monotonic() - begin, 1)
        waited = time.monotonic() - begin
        dead = not handler.running()
        if dead or waited > limit:
            reason = "has stopped" if dead else f"does not let us in over SSH after {waited:.0f} s"
            raise LabError(f"{machine.name} {reason}: {answer.stderr.strip()}\n{console_tail(handler)}")
        time.sleep(ASK_AGAIN_SECONDS)


def console_tail(handler: Driver) -> str:
    """Return the last lines of a machine's console, for a message."""
    try:
        lines = handler.console.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return f"{handler.console} is not there: the machine has never started"
    return f"the end of {handler.console}:\n" + "\n".join(lines[-CONSOLE_LINES:])


def _side_by_side(work: Callable[[Machine], Any], machines: Sequence[Machine]) -> Mapping[str, Any]:
    """Do the work for all machines at once; when some fail, all failures are told together."""
    if not machines:
        return {}
    failures: list[str] = []
    results: dict[str, Any] = {}
    with ThreadPoolExecutor(len(machines)) as pool:
        for machine, future in [(machine, pool.submit(work, machine)) for machine in machines]:
            try:
                results[machine.name] = future.result()
            except LabError as error:
                failures.append(str(error))
    if failures:
        raise LabError("\n".join(failures))
    return results
