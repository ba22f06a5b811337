# SPDX-License-Identifier: GPL-3.0-or-later
"""A site with a real registrar, on a loopback network of its own, and machines that register there."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.certificates import Wanted, make_request
from ansible_collections.updraft.cloud.plugins.module_utils.registrar_client import Registrar, Unreachable, patiently
from ansible_collections.updraft.cloud.plugins.plugin_utils.ca import Authority, make_authority
from updraft.site import Site, load_site

ROOT = Path(__file__).parents[2]
PASSWORD = "a-password-of-the-tests"
CLOUD = """
plugin: updraft.cloud.cloud
name: joining
domain: joining.example.org
networks:
  management: {{cidr: {net}.0/24, interface: eno1, dhcp: {net}.128-{net}.191}}
  storage: {{cidr: 10.0.1.0/24, interface: eth1}}
  provider: {{cidr: 10.0.2.0/24, interface: eth2, gateway: 10.0.2.1, floating: 10.0.2.100-10.0.2.179}}
nodes:
  control1: {{roles: [control, database, messaging, provisioning], address: {net}.10}}
  storage1: {{roles: [storage], address: {net}.20, disks: [/dev/sdb]}}
  gate1: {{roles: [gateway], address: {net}.30}}
  node9: {{roles: [compute], address: {net}.39, pool: general, boot: network, mac: '52:54:00:00:00:39', serial: NINE}}
pools: [general, community]
provisioning: {{unreachable: {unreachable}}}
smart_pools: {{big: hardware.memory_gib >= 64, community-ones: pool == 'community'}}
"""


@dataclass(slots=True)
class RealSite:
    """The site, its CA, and the process of its registrar."""

    folder: Path
    net: str
    ca: str
    ca_key: str
    process: subprocess.Popen[bytes] | None = None
    handles: dict[int, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "inventories" / "joining" / "cloud.yml"

    @property
    def address(self) -> str:
        return f"{self.net}.10"

    @property
    def url(self) -> str:
        return "https://control1.joining.example.org:7777"

    @property
    def secrets(self) -> dict[str, Any]:
        return {"registrar_operator_password": PASSWORD, "ca_certificate": self.ca}

    @property
    def site(self) -> Site:
        return load_site(self.file.parent, self.folder)

    def write(self, unreachable: str = "error") -> None:
        """Write cloud.yml."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(CLOUD.format(net=self.net, unreachable=unreachable))

    def client(self, **more: Any) -> Registrar:
        """The operator's client."""
        given = {"password": PASSWORD, "ca": self.ca, "address": self.address, **more}
        return Registrar(self.url, given.pop("password"), **given)

    def start(self) -> None:
        """Start the registrar and wait until it answers."""
        settings = self.folder / "settings.ini"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])}
        words = [sys.executable, "-m", "updraft.registrar", "--settings", str(settings)]
        log = (self.folder / "registrar.log").open("ab")
        self.process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        try:
            patiently(lambda: self.client().listing(), 30, every=0.1)
        except Unreachable as error:
            raise AssertionError((self.folder / "registrar.log").read_text()) from error

    def stop(self) -> None:
        """End the registrar."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def register(self, number: int, *, memory_mib: int = 2048, mac: str | None = None, serial: str = "") -> str:
        """Let a machine register from the address with this host part; the code that it shows."""
        mac = mac or f"52:54:00:00:01:{number:02x}"
        body = {
            "machine_id": f"{number:032x}",
            "serial": serial or f"SERIAL{number}",
            "uuid": f"00000000-0000-4000-8000-{number:012x}",
            "macs": [mac],
            "boot_mac": mac,
            "firmware": "uefi",
            "host_key": host_key(number),
            "image": "1",
            "boot_token": None,
            "hardware": {
                "vendor": "QEMU",
                "cpus": 4,
                "memory_mib": memory_mib,
                "disks": [{"name": "sda", "size_gib": 100}],
                "nics": [{"name": "eth0", "mac": mac, "speed_mbit": 1000, "link": True}],
            },
        }
        link = http.client.HTTPSConnection(
            self.address,
            7777,
            context=ssl.create_default_context(cadata=self.ca),
            source_address=(f"{self.net}.{number}", 0),
        )
        link.request("POST", "/v1/nodes", json.dumps(body), {"Content-Type": "application/json"})
        answer = link.getresponse()
        told = json.loads(answer.read())
        assert answer.status in (200, 201), told
        # It goes on to wait, which is the sign of life that makes an approved one ready.
        link.request("GET", f"/v1/nodes/{told['id']}?wait=0")
        link.getresponse().read()
        link.close()
        self.handles[number] = told["id"]
        return str(told["code"])

    def wake(self, number: int) -> None:
        """Let a machine ask how it stands."""
        context = ssl.create_default_context(cadata=self.ca)
        link = http.client.HTTPSConnection(
            self.address, 7777, context=context, source_address=(f"{self.net}.{number}", 0)
        )
        link.request("GET", f"/v1/nodes/{self.handles[number]}?wait=0")
        link.getresponse().read()
        link.close()


def host_key(number: int) -> str:
    """An ed25519 host key's public line, different for each machine."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + number.to_bytes(32, "big")
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


def make(folder: Path) -> RealSite:
    """A site whose registrar has not been started yet."""
    number = os.getpid()
    ca, key = make_authority("Updraft site joining")
    made = RealSite(folder, f"127.{50 + number % 150}.{number // 150 % 250}", ca, key)
    made.write()
    (folder / "ansible.cfg").write_text("[defaults]\n")
    tls = folder / "tls"
    request = make_request(Wanted(str(tls), "root", "root", ("control1.joining.example.org",), (made.address,)))
    signed = Authority(ca, key).sign(request, ["control1.joining.example.org"], [made.address], 1)
    (tls / "tls.crt").write_text(signed)
    settings = {
        "operator_password": PASSWORD,
        "session_key": "a-session-key-of-the-tests",
        "address": made.address,
        "boot_address": made.address,
        "certificate": str(tls / "tls.crt"),
        "key": str(tls / ".tls.key.pending"),
        "database_file": str(folder / "registrar.sqlite"),
        "pools": '["general", "community"]',
        "away_after": "3600",
        "rate_register": "100000",
        "rate_operator": "100000",
    }
    file = folder / "settings.ini"
    file.write_text("[registrar]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    file.chmod(0o600)
    return made


def until(what: Any, seconds: float = 10.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not become so"
        time.sleep(0.05)
