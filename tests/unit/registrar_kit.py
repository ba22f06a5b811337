# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the registrar share: machines, a clock that can be moved, clients from any address."""

from __future__ import annotations

import base64
import dataclasses
import os
import struct
import time as real_time
from contextlib import contextmanager

from starlette.testclient import TestClient

from updraft.registrar import database
from updraft.registrar.app import make_app, make_boot_app
from updraft.registrar.models import Host
from updraft.registrar.registration import claim_of, describe
from updraft.registrar.schemas import Registration
from updraft.registrar.service import Service
from updraft.registrar.settings import Settings

PASSWORD = "correct-horse-battery"
TEST_ADDRESS = b"x-test-address"


def new_key() -> str:
    """A public host key."""
    blob = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + os.urandom(32)
    return "ssh-ed25519 " + base64.b64encode(blob).decode()


def machine(number: int, **other) -> dict:
    """What a machine tells of itself."""
    mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
    told = {
        "machine_id": f"{number:032x}",
        "serial": f"SN{number}",
        "uuid": f"11223344-5566-7788-99aa-{number:012x}",
        "macs": [mac],
        "boot_mac": mac,
        "firmware": "bios",
        "host_key": new_key(),
        "image": "2026.11",
        "boot_token": None,
        "hardware": {
            "vendor": "Dell Inc.",
            "product": "PowerEdge R650",
            "cpus": 64,
            "cpu_model": "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz",
            "memory_mib": 262144,
            "disks": [{"name": "nvme0n1", "size_gib": 894.3, "model": "MZ7L3960", "rotational": False, "serial": "x"}],
            "nics": [{"name": "eth0", "mac": mac, "speed_mbit": 25000, "link": True}],
        },
    }
    return {**told, **other}


def address(number: int) -> str:
    """The address of a machine."""
    return f"10.77.{number >> 8}.{number & 255}"


class Clock:
    """Stands in for the module `time` where the registrar reads it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time_ns(self) -> int:
        return real_time.time_ns() + int(self.ahead * 1e9)

    def __getattr__(self, name: str):
        return getattr(real_time, name)


class Site:
    """A registrar in this process."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.clock, self.settings = clock, settings
        self.service = Service(settings)
        self.client = TestClient(_from_anywhere(make_app(settings, self.service)), base_url="https://registrar:7777")
        self.boot_client = TestClient(make_boot_app(settings, self.service), base_url="http://127.0.0.1:7778")

    def call(self, method: str, path: str, *, at: str = "10.77.0.250", operator: bool = False, **more):
        """A request from an address."""
        more.setdefault("headers", {})["x-test-address"] = at
        if operator:
            more["auth"] = ("operator", PASSWORD)
        self.client.cookies.clear()
        return self.client.request(method, path, **more)

    def post(self, number: int, told: dict | None = None, at: str | None = None):
        """A machine registers."""
        return self.call("POST", "/v1/nodes", json=told or machine(number), at=at or address(number))

    def approve(self, code: str, name: str, pool: str = "community", **more):
        return self.call(
            "POST", "/v1/hosts/approve", json={"code": code, "name": name, "pool": pool, **more}, operator=True
        )

    def state(self, name: str, wanted: str):
        return self.call("POST", f"/v1/hosts/{name}/state", json={"state": wanted}, operator=True)

    def hosts(self) -> list[dict]:
        return self.all()["hosts"]

    def all(self) -> dict:
        answer = self.call("GET", "/v1/hosts", operator=True)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def host(self, name: str) -> dict:
        return self.call("GET", f"/v1/hosts/{name}", operator=True).json()

    def alarms(self) -> list[str]:
        return [alarm["kind"] for alarm in self.all()["alarms"]]

    def in_service(self, number: int, name: str) -> dict:
        """A machine, registered, approved, alive and in service. Returns what it told."""
        told = machine(number)
        answer = self.post(number, told)
        assert answer.status_code == 201, answer.text
        assert self.approve(answer.json()["code"], name).status_code == 200
        assert self.follow(answer.json()["id"], address(number)).json()["state"] == "ready"
        assert self.state(name, "in_service").status_code == 200
        return {**told, "id": answer.json()["id"]}

    def fill(self, numbers: range) -> None:
        """Put machines that are in service straight into the database, all in one write."""

        def add(session) -> None:
            for number in numbers:
                told = Registration.model_validate(machine(number))
                name = f"node{number}"
                times = {"first_seen": 1, "last_seen": 1, "silent_from": 1}
                host = Host(claim=claim_of(told), state="in_service", name=name, taken=name, roles="[]", **times)
                host.address = address(number)
                describe(host, told)
                session.add(host)

        self.service.database.write(add)

    def follow(self, handle: str, at: str = "10.77.0.1", query: str = ""):
        return self.call("GET", f"/v1/nodes/{handle}{query}", at=at)

    def boot(self, told: dict, at: str | None, **other) -> str:
        """The script for a machine; `at`: what the web server says of who asks."""
        query = {"mac": told["boot_mac"], "uuid": told["uuid"], "serial": told["serial"], **other}
        headers = {} if at is None else {"x-forwarded-for": at}
        answer = self.boot_client.get("/boot/ipxe", params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.text.startswith("#!ipxe\n")
        return answer.text

    def token(self, told: dict, at: str | None, **other) -> str:
        """The token in the script, or an empty text."""
        lines = [line for line in self.boot(told, at, **other).splitlines() if line.startswith("set updraft-token")]
        return lines[0].removeprefix("set updraft-token").strip() if lines else ""


def _from_anywhere(app):
    async def wrapped(scope, receive, send):
        if scope["type"] == "http":
            found = dict(scope["headers"]).get(TEST_ADDRESS)
            scope = {**scope, "client": (found.decode() if found else "10.77.0.250", 40000)}
        await app(scope, receive, send)

    return wrapped


def settings_for(folder, **other) -> Settings:
    """Settings for a test; rates are out of the way unless it is about them."""
    rates = {"rate_register": 10**6, "rate_poll": 10**6, "rate_operator": 10**6, "rate_boot": 10**6}
    plain = Settings(
        operator_password=PASSWORD,
        session_key="0123456789abcdef",
        database_file=str(folder / "registrar.sqlite"),
        pools=("community", "big"),
        known_roles=("compute", "gateway"),
        boot_url="http://10.77.0.10",
        cobbler_url="http://10.77.0.10/cblr/svc/op/ipxe",
    )
    return dataclasses.replace(plain, **{**rates, **other})


@contextmanager
def running(settings: Settings, clock: Clock | None = None):
    """A registrar that runs, with its clock."""
    clock = clock or Clock()
    before, database.time = database.time, clock
    try:
        site = Site(settings, clock)
        with site.client:
            yield site
    finally:
        database.time = before
