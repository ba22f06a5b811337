# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent in the image of a node: what it gathers, on odd hardware too, and how it stays in touch."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from registrar_kit import new_key
from registrar_process import NAME, registrar

from updraft.registrar import codes
from updraft.registrar.schemas import Registration

SOURCE = Path(__file__).parents[2] / "roles/node_image/files/updraft-register"


@pytest.fixture(scope="module")
def agent():
    """The agent's file as a module."""
    loader = importlib.machinery.SourceFileLoader("updraft_register", str(SOURCE))
    spec = importlib.util.spec_from_loader("updraft_register", loader)
    found = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(found)
    sys.dont_write_bytecode = before
    return found


@pytest.fixture
def root(tmp_path):
    """A machine's file system."""
    write(tmp_path, "proc/cmdline", "boot=live fetch=http://10.0.0.1/images/2026.11-1/root.squashfs updraft.token=")
    write(tmp_path, "proc/meminfo", "MemTotal:       16315412 kB\nMemFree: 1 kB\n")
    write(tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC\n")
    write(tmp_path, "sys/class/dmi/id/product_serial", " SN  17 \n")
    write(tmp_path, "sys/class/dmi/id/product_uuid", "11223344-5566-7788-99AA-BBCCDDEEFF00\n")
    write(tmp_path, "sys/class/dmi/id/sys_vendor", "QEMU\x07\n")
    write(tmp_path, "etc/machine-id", "a" * 32 + "\n")
    write(tmp_path, "etc/ssh/ssh_host_ed25519_key.pub", new_key() + " root@node\n")
    for number, name in enumerate(("eth0", "eth1", "lo", "br0")):
        card = tmp_path / "sys/class/net" / name
        write(card, "address", f"52:54:00:00:00:0{number}\n" if name != "lo" else "00:00:00:00:00:00\n")
        write(card, "carrier", "1\n")
        write(card, "speed", "-1\n" if number else "10000\n")
        if name.startswith("eth"):
            (card / "device").mkdir()
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_same_code_on_both_sides(agent):
    for _ in range(200):
        key = new_key()
        assert agent.code_of(key) == codes.shown(codes.code_of(key))


def test_details(agent, root):
    told = agent.details(root, agent.command_line(root), "")
    assert Registration.model_validate(told)
    assert told["macs"] == ["52:54:00:00:00:00", "52:54:00:00:00:01"]
    assert (told["serial"], told["uuid"]) == ("SN 17", "11223344-5566-7788-99aa-bbccddeeff00")
    assert (told["image"], told["firmware"], told["boot_token"]) == ("2026.11-1", "bios", None)
    assert told["hardware"]["memory_mib"] == 15933 and told["hardware"]["cpu_model"] == "AMD EPYC"
    assert told["hardware"]["nics"][0]["speed_mbit"] == 10000 and told["hardware"]["nics"][1]["speed_mbit"] is None
    write(root, "proc/cmdline", f"BOOTIF=01-52-54-00-00-00-01 updraft.token={'a' * 32} updraft.address=10.0.0.1")
    told = agent.details(root, agent.command_line(root), "")
    assert told["boot_mac"] == "52:54:00:00:00:01" and told["boot_token"] == "a" * 32
    # What iPXE did not expand is no token.
    write(root, "proc/cmdline", "updraft.token=${updraft-token}")
    assert agent.details(root, agent.command_line(root), "")["boot_token"] is None


def test_odd_hardware(agent, root):
    """Whatever the files hold, or where they are not: no error, and what is told can be registered or has no card."""
    generator = random.Random(7)
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "ssh_host_ed25519_key.pub"]
    odd = (
        b"",
        b"\0",
        b"\xff\xfe\xfd",
        b"x" * 9000,
        b"\x1b[2J",
        b"-1",
        b"None",
        b"a: b: c\n" * 50,
        "\u202e\u2028é".encode(),
    )
    for _ in range(300):
        for path in generator.sample(files, 4):
            path.unlink(missing_ok=True)
            choice = generator.randrange(len(odd) + 2)
            if choice < len(odd):
                path.write_bytes(odd[choice])
            elif choice == len(odd):
                path.symlink_to("/nowhere")
        told = agent.details(root, agent.command_line(root), "")
        if told["boot_mac"]:
            Registration.model_validate(told)
    assert agent.details(root / "nothing", {}, "")["boot_mac"] == ""


def test_disks_of_any_lsblk(agent, monkeypatch):
    class Run:
        stdout = ""

    monkeypatch.setattr(agent.subprocess, "run", lambda *_, **__: Run)
    for text in ("", "[]", "{}", '{"blockdevices": null}', '{"blockdevices": [null, 1]}', '{"blockdevices": {"a": 1}}'):
        Run.stdout = text
        assert agent.disks() == []
    Run.stdout = """{"blockdevices": [
        {"name": "sda", "size": "1099511627776", "model": " X ", "rota": "1", "serial": null, "type": "disk"},
        {"name": "nvme0n1", "size": 1073741824, "model": null, "rota": false, "serial": "s", "type": "disk"},
        {"name": "zram0", "size": 1, "rota": false, "type": "disk"}, {"name": "sr0", "type": "rom"}]}"""
    first, second = agent.disks()
    assert first == {"name": "sda", "size_gib": 1024.0, "model": "X", "rotational": True, "serial": ""}
    assert (second["size_gib"], second["rotational"]) == (1.0, False)


def test_the_frame(agent, tmp_path):
    console = tmp_path / "console"
    console.touch()
    agent.show(["UPDRAFT", "4KX7-0QZM"], (str(console), str(tmp_path / "no/such")))
    lines = console.read_text().split()
    assert "4KX7-0QZM" in lines
    rows = [line for line in console.read_text().splitlines() if line]
    assert len({len(row) for row in rows}) == 1


class Runs:
    """An agent which works in a thread until the end of the test."""

    def __init__(self, module, root: Path, process) -> None:
        self.console = root / "console"
        self.console.touch()
        client = module.Client(f"https://{NAME}:{process.port}", "127.0.0.1", str(process.folder / "ca.pem"))
        self.agent = module.Agent(root, client, module.command_line(root), (str(self.console),))
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        while not self.ended.is_set():
            time.sleep(min(0.3, self.agent.step()))

    def shows(self, text: str, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while text not in self.console.read_text():
            assert time.monotonic() < until, self.console.read_text()
            time.sleep(0.05)


def test_from_code_to_service_through_restarts(agent, root, tmp_path):
    """The real agent with the real service: verified by name, connected by address; killed and started in between."""
    folder = tmp_path / "service"
    folder.mkdir()
    with registrar(folder, away_after=5) as process:
        runs = Runs(agent, root, process)
        code = agent.code_of(agent.host_key(root))
        runs.shows(code)
        assert [host["state"] for host in process.hosts()] == ["seen"]
        process.end(signal.SIGKILL)
        runs.shows("does not answer")
        process.start()
        wanted = {"code": code, "name": "node1", "pool": "community"}
        assert process.call("POST", "/v1/hosts/approve", wanted, operator=True)[0] == 200
        runs.shows("This machine is node1")
        assert process.hosts()[0]["state"] == "ready"
        # Its database is lost: it registers anew, by itself, once.
        process.end(signal.SIGKILL)
        for path in folder.glob("registrar.sqlite*"):
            path.unlink()
        process.start()
        until = time.monotonic() + 30
        while [host["state"] for host in process.hosts()] != ["seen"]:
            assert time.monotonic() < until
            time.sleep(0.1)
        runs.ended.set()
        process.end()
        runs.thread.join(10)


def test_a_wrong_authority_is_told_and_nothing_is_sent(agent, root, tmp_path):
    folder = tmp_path / "service"
    folder.mkdir()
    with registrar(folder) as process:
        client = agent.Client(f"https://other.test:{process.port}", "127.0.0.1", str(process.folder / "ca.pem"))
        console = root / "console"
        console.touch()
        assert agent.Agent(root, client, {}, (str(console),)).step() > 0
        assert "does not answer" in console.read_text() and "CERTIFICATE" in console.read_text().upper()
        assert process.hosts() == []


def test_refusals_are_shown(agent, root, tmp_path):
    console = root / "console"
    console.touch()

    class Refusing:
        address, port = "127.0.0.1", 1

        def call(self, *_, **__):
            raise agent.Answer(403, "a boot token of node1 was used a second time")

    runs = agent.Agent(root, Refusing(), {}, (str(console),))
    assert runs.step() == agent.LONGEST_PAUSE
    assert "used a second time" in console.read_text()


def test_it_needs_nothing_but_the_standard_library():
    text = SOURCE.read_text()
    names = {line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert names <= set(sys.stdlib_module_names)
    assert os.access(SOURCE, os.X_OK)
    assert len(text.splitlines()) < 400
