# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks on machines of the lab that boot by network: one that nobody approved, one that joins and leaves, one that
loses its power and comes back. What they boot from is checked in boots.py."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.lab_bare import CODE
from updraft.display import duration
from updraft.hosts import client_of
from updraft.lab import lab_of
from updraft.labshell import NAMESPACES, ssh
from updraft.testing.base import Check, Context, Failed, tail
from updraft.testing.live import nodes, on_node, secret_values, site, updraft
from updraft.vault import secrets_of

#: The machine of the lab that serves, and the one that is switched on by these checks only.
NODE, SPARE = "node1", "node2"

#: Prints each file with a pattern that is not of the image: the machine's memory has the rest. And its command line.
OWN_FILES = r"""
patterns=$(mktemp /dev/shm/.seek.XXXXXX); trap 'rm -f "$patterns"' EXIT; cat >"$patterns"
grep -qFf "$patterns" /proc/cmdline && echo "kernel's command line"
find /run /dev/shm -path /run/live/rootfs -prune -o -type f -size -16M ! -path "$patterns" -print0 |
  xargs -0 -r grep -lFf "$patterns" 2>/dev/null
exit 0
"""

#: What of the control host a machine may talk to that has only booted: the boot server, the image as a disk, and the
#: registrar.
OPEN_TO_ALL = {80, 3261, 7777}
#: And what it may not: API, database, bus, OVN, libvirt, Cobbler.
CLOSED = (3306, 5672, 6641, 6642, 16514, 25151, 7778)


#: The whole GiB of disk that a node offers, as placement counts them. By whole name or by its first part: libvirt's.
OFFERED = """
SELECT CAST(FLOOR((i.total - i.reserved) * i.allocation_ratio) AS INTEGER) FROM inventories i
JOIN resource_providers p ON p.id = i.resource_provider_id
JOIN resource_classes c ON c.id = i.resource_class_id
WHERE c.name = 'DISK_GB' AND SUBSTRING_INDEX(p.name, '.', 1) = '{}'
"""

#: Made-up machines that register at once, and for how long they live.
CROWD, CROWD_SECONDS = 10, 180


def hosts(context: Context) -> list[dict[str, Any]]:
    """The machines that registered, as `./updraft hosts` has them."""
    found: list[dict[str, Any]] = json.loads(updraft(context, "hosts", "lab", "--json", limit=60))["hosts"]
    return found


def host(context: Context, name: str) -> dict[str, Any]:
    """The one that has this name now; a retired machine had it."""
    return next((one for one in hosts(context) if one["name"] == name and one["state"] != "retired"), {})


def wait(what: str, look: Callable[[], Any], limit: float) -> Any:
    """What `look` finds once it finds something."""
    end = time.monotonic() + limit
    while not (found := look()):
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {duration(limit)}")
        time.sleep(3)
    return found


def switched_on(context: Context, name: str, limit: float) -> dict[str, Any]:
    """A bare machine once it waits: as the registrar lists the code that its console shows."""
    updraft(context, "lab", "power", name, "on", limit=limit)
    code = CODE.findall((site().state / "machines" / name / "console.log").read_text(errors="replace"))[-1]
    found: list[dict[str, Any]] = wait(
        f"{code} in the list", lambda: [one for one in hosts(context) if one["code"] == code], 60
    )
    return found[0]


def stranger(context: Context) -> str:
    """A machine that nobody approved gets nothing: no secret, no name, no way to a service, no run of Ansible."""
    context.need("lab-up")
    began = time.monotonic()
    found = switched_on(context, SPARE, 600)
    seen = time.monotonic() - began
    if found["state"] != "seen" or found["name"]:
        raise Failed(f"the registrar has it as {found['state']}, by the name {found['name']}")
    values = secret_values()
    patterns = "\n".join(values.values()) + "\n"
    held = on_stranger(found["address"], OWN_FILES, patterns) + _in_image(context, found["address"], patterns)
    if held.strip():
        raise Failed(f"a machine that nobody approved holds secrets in:\n{held}")
    _closed(found["address"])
    listed = context.command(["ansible-inventory", "-i", "inventories/lab", "--list"], limit=120)
    if found["address"] in listed or SPARE in json.loads(listed[listed.index("{") :])["_meta"]["hostvars"]:
        raise Failed("the inventory knows a machine that nobody approved")
    _refused(context, ("approve", "-i", "lab", "0000-0000", "--name", SPARE), "no machine waits with the code")
    _refused(context, ("approve", "-i", "lab", found["code"], "--name", NODE), NODE)
    updraft(context, "lab", "power", SPARE, "off", limit=120)
    return f"power-on to seen in {seen:.0f} s; none of {len(values)} secrets, {len(CLOSED)} ports closed"


def on_stranger(address: str, script: str, data: str = "") -> str:
    """What a script prints on a machine whose host key is not known to anybody yet."""
    options = (f"HostName={address}", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
    words = ["ssh", "-F", str(site().state / "ssh_config"), *(word for one in options for word in ("-o", one))]
    words += [SPARE, script]
    run = subprocess.run(words, input=data, capture_output=True, text=True, timeout=300, check=False)
    if run.returncode:
        raise Failed(f"{address}: exit code {run.returncode}: {run.stderr.strip() or run.stdout.strip()}")
    return run.stdout


def _in_image(context: Context, address: str, patterns: str) -> str:
    """The files of the image that hold a pattern: fetched as the machine fetched it, and unpacked here."""
    source = re.search(r"fetch=(\S+)", on_stranger(address, "cat /proc/cmdline"))
    if source is None:
        raise Failed(f"{address} has no fetch= on its kernel's command line")
    with tempfile.TemporaryDirectory(prefix="updraft-image-", dir=context.logs) as folder:
        image, root, secret = (Path(folder) / name for name in ("image", "root", "patterns"))
        secret.write_text(patterns)  # the folder lets nobody else in
        inside = ["nsenter", f"--net={NAMESPACES / str(lab_of(site())['namespace'])}"]
        context.command([*inside, "curl", "-sSf", "-o", str(image), source[1]], limit=120)
        context.command(["unsquashfs", "-quiet", "-no-progress", "-dest", str(root), str(image)], limit=300)
        return context.command(["grep", "-rlF", "-D", "skip", "-f", str(secret), str(root)], limit=300, codes=(0, 1))


def _closed(address: str) -> None:
    """From there the services of the cloud cannot be reached, and what all may use can."""
    server = client_of(site()).address
    script = (
        f'for port in {" ".join(map(str, (*OPEN_TO_ALL, *CLOSED)))}; do timeout 3 bash -c "</dev/tcp/{server}/$port"'
    )
    found = set(map(int, on_stranger(address, f"{script} 2>/dev/null && echo $port; done; true").split()))
    if found != OPEN_TO_ALL:
        raise Failed(f"it reaches the ports {sorted(found)} of {server}, and is to reach {sorted(OPEN_TO_ALL)}")


def _refused(context: Context, words: tuple[str, ...], reason: str) -> None:
    """A command that has to be refused, with this reason."""
    text = context.command([str(context.root / "updraft"), *words], limit=60, codes=(2,))
    if reason not in text:
        raise Failed(f"{' '.join(words)}: refused, and the reason does not say '{reason}': {text}")


def joining(context: Context) -> str:
    """One more machine becomes a node, and leaves again; `lab-drift` finds no trace of it with the others."""
    context.need("lab-stranger")
    took = joined(context, SPARE)
    gib = disk_offered(SPARE)
    if gib:
        raise Failed(f"{SPARE} has no disk, and nova offers {gib} GiB of it to instances")
    left(context, SPARE)
    return f"approved and in service in {took:.0f} s; it offered no disk; retired"


def joined(context: Context, name: str) -> float:
    """A spare machine of the lab, once it is a node that nova counts on; the seconds until it was in service."""
    began = time.monotonic()
    updraft(context, "lab", "add-node", name, limit=1500, show=True)
    took = time.monotonic() - began
    if (state := host(context, name).get("state")) != "in_service":
        raise Failed(f"{name} is {state} after its rollout")
    wait(f"nova counts on {name}", lambda: computes(name), 180)
    return took


def left(context: Context, name: str) -> None:
    """A node is retired and switched off, and the inventory has forgotten it."""
    updraft(context, "retire", "-i", "lab", name, limit=900, show=True)
    updraft(context, "lab", "power", name, "off", limit=120)
    if name in context.command(["ansible-inventory", "-i", "inventories/lab", "--graph"], limit=120):
        raise Failed(f"the inventory knows {name} although it is retired")


def control() -> str:
    """The control host."""
    return next(name for name in nodes() if name.startswith("control"))


def computes(name: str) -> bool:
    """Whether nova's compute service there is up."""
    command = f"openstack --os-cloud admin compute service list --service nova-compute --host {name} -f value -c State"
    return on_node(control(), command).split() == ["up"]


def disk_offered(name: str) -> int:
    """How many GiB of disk a node offers to instances."""

    def look() -> list[str]:
        return on_node(control(), "mariadb --batch --skip-column-names placement", data=OFFERED.format(name)).split()

    # nova-compute tells within a minute of its start.
    (gib,) = wait(f"placement knows the disk of {name}", look, 180)
    return int(gib)


def registrations(context: Context) -> str:
    """Ten machines register while registrar, Cobbler and then the whole control host are restarted: none is lost."""
    context.need("lab-up")
    server = control()
    crowd = _crowd(context)
    time.sleep(10)
    on_node(server, "systemctl restart cobblerd.service updraft-registrar.service")
    time.sleep(10)
    _reboot(server)
    updraft(context, "run", "lab", "lab/machines", limit=400)
    text, _ = crowd.communicate(timeout=CROWD_SECONDS + 60)
    states: dict[str, str] = json.loads(text)
    listed = [one for one in hosts(context) if one["serial"].startswith("CROWD-")]
    if len(states) != CROWD or set(states.values()) != {"seen"}:
        raise Failed(f"of {CROWD} machines these have a conversation: {states}")
    if sorted(one["code"] for one in listed) != sorted(states):
        raise Failed(f"the registrar knows {sorted(one['code'] for one in listed)}, there are {sorted(states)}")
    wait("the cloud answers again", lambda: _answers(server), 300)
    return f"{CROWD} machines registered, each once, while {server} was restarted"


def _reboot(server: str) -> None:
    """Have the control host, a container, go down for a reboot; what starts it again is `lab/machines`."""
    console = site().state / "machines" / server / "console.log"
    ended = "Exiting container."
    before = console.read_text(errors="replace").count(ended)
    subprocess.run([*ssh(site(), server), "systemctl --no-block reboot"], capture_output=True, timeout=30, check=False)
    wait(f"{server} is down", lambda: console.read_text(errors="replace").count(ended) > before, 120)


def _crowd(context: Context) -> subprocess.Popen[str]:
    """Made-up machines in the lab's network, as many as CROWD, for CROWD_SECONDS."""
    authority = context.logs / "crowd-ca.pem"
    authority.write_text(str(secrets_of(site())["ca_certificate"]))
    registrar = client_of(site())
    words = ["nsenter", f"--net={NAMESPACES / lab_of(site())['namespace']}", sys.executable, "-m"]
    words += ["updraft.testing.crowd", registrar.url, registrar.address, str(authority), str(CROWD), str(CROWD_SECONDS)]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def _answers(server: str) -> bool:
    """Whether the API and all of its services are there."""
    script = (
        "openstack --os-cloud admin compute service list -f value -c State && openstack --os-cloud admin image list"
    )
    try:
        return "down" not in on_node(server, script).split()
    except Failed:
        return False


def power_cut(context: Context) -> str:
    """A node loses its power; it comes back, proves itself, is converged, and its volume boots a server."""
    context.need("lab-up")
    updraft(context, "run", "lab", "verify_guest", "--", "-e", "verify_guest=made", limit=1200)
    before = host(context, NODE)
    with watching(context):
        began = time.monotonic()
        updraft(context, "lab", "power", NODE, "reset", limit=600)
        parts = {"code": time.monotonic() - began}
        wait(f"{NODE} proves itself", lambda: host(context, NODE)["host_key"] != before["host_key"], 180)
        parts["proved"] = time.monotonic() - began
        wait(f"{NODE} is in service again", lambda: host(context, NODE)["state"] == "in_service", 1800)
        parts["in service"] = time.monotonic() - began
    updraft(context, "run", "lab", "verify_guest", "--", "-e", "verify_guest=renewed", limit=900)
    parts["its server answers"] = time.monotonic() - began
    updraft(context, "run", "lab", "verify_guest", "--", "-e", "verify_guest=removed", limit=600)
    return ", ".join(f"{name} after {seconds:.0f} s" for name, seconds in parts.items())


@contextmanager
def watching(context: Context) -> Iterator[None]:
    """`rollout --watch` beside what is done; what fails meanwhile ends with what the rollout said."""
    words = [str(context.root / "updraft"), "rollout", "lab", "--watch"]
    file = context.logs / f"{context.current}-watch.log"
    with file.open("w") as log:
        process = subprocess.Popen(words, cwd=context.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    except Failed as failed:
        raise Failed(f"{failed}\n{tail(file.read_text(errors='replace'))}") from failed
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()


CHECKS = (
    Check("lab-stranger", "a machine that nobody approved gets nothing (UEFI)", stranger),
    Check("lab-join", "it is approved, rolled out, and retired again", joining, long=True),
    Check(
        "lab-restart",
        "ten machines register while the control host is restarted: none lost, none doubled",
        registrations,
        long=True,
    ),
    Check(
        "lab-return",
        "a node whose power is cut comes back and runs a server from its volume again",
        power_cut,
        minutes=42,
    ),
)
