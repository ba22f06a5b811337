# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine that boots finds on the provisioning network, and what somebody hostile does not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

testinfra_hosts = ["ssh://provision1"]

HERE = Path(__file__).parent
SERVER = "10.78.20.10"
SPACE = "updraft-provision"
GUEST = "updraft-provision-guest"
KNOWN, OTHER, DISK = "52:54:00:c0:bb:01", "52:54:00:c0:bb:99", "52:54:00:c0:bb:03"
INSTALL = "52:54:00:c0:bb:04"
BIOS, UEFI = "0", "7"
SCRIPT = f"http://{SERVER}/cblr/svc/op/ipxe/mac/${{netX/mac}}"
CURL = ["curl", "--silent", "--max-time", "30"]


def run(*command: str, space: str = "", check: bool = True) -> str:
    """What a command on this computer prints, in a network namespace."""
    inside = ["nsenter", f"--net=/run/netns/{space}"] if space else []
    return subprocess.run([*inside, *command], check=check, capture_output=True, text=True, timeout=600).stdout


def get(path: str, *options: str) -> str:
    """What the server answers somebody on the provisioning network, and the status at the end."""
    return run(*CURL, "--write-out", "\n%{http_code}", *options, f"http://{SERVER}{path}", space=SPACE, check=False)


def status(path: str, *options: str) -> str:
    return get(path, *options).rpartition("\n")[2]


@pytest.fixture(scope="module")
def guest() -> Iterator[Callable[..., dict[str, Any]]]:
    """Asks for an address in a namespace with two cards: on the provisioning network, and on another of the server."""
    machine = f"{SPACE}-provision1"
    subprocess.run(["ip", "netns", "delete", GUEST], capture_output=True, check=False)
    run("ip", "netns", "add", GUEST)
    run("ip", "-n", SPACE, "link", "add", "guest-boot", "type", "veth", "peer", "name", "boot0", "netns", GUEST)
    run("ip", "-n", SPACE, "link", "set", "guest-boot", "master", "br-management", "up")
    run("ip", "-n", machine, "link", "add", "other0", "type", "veth", "peer", "name", "other1", "netns", GUEST)
    run("ip", "-n", machine, "address", "add", "10.78.23.10/24", "dev", "other0")
    run("ip", "-n", machine, "link", "set", "other0", "up")
    for card in ("boot0", "other1"):
        run("ip", "-n", GUEST, "link", "set", card, "up")

    def ask(card: str, mac: str, architecture: str, *more: str) -> dict[str, Any]:
        command = [sys.executable, str(HERE / "dhcp.py"), card, mac, architecture, *more]
        answer: dict[str, Any] = json.loads(run(*command, space=GUEST))
        return answer

    yield ask
    run("ip", "-n", machine, "link", "delete", "other0", check=False)
    run("ip", "netns", "delete", GUEST, check=False)


def test_a_known_machine_gets_its_address_and_an_unknown_one_another(guest: Callable[..., dict[str, Any]]) -> None:
    known = guest("boot0", KNOWN, BIOS, "ipxe")
    assert (known["address"], known["file"], known["server"]) == ("10.78.20.41", SCRIPT, SERVER)
    assert (known["router"], known["names"]) == ("", "")
    unknown = guest("boot0", OTHER, BIOS, "ipxe")
    assert 100 <= int(unknown["address"].rpartition(".")[2]) <= 149
    assert unknown["file"] == SCRIPT


@pytest.mark.parametrize(("architecture", "file"), [(BIOS, "undionly.kpxe"), (UEFI, "ipxe.efi"), ("9", "ipxe.efi")])
def test_other_firmware_gets_ipxe_once(
    host: Host, guest: Callable[..., dict[str, Any]], architecture: str, file: str, tmp_path: Path
) -> None:
    offer = guest("boot0", OTHER, architecture)
    assert (offer["file"], offer["next"]) == (file, SERVER)
    assert guest("boot0", OTHER, architecture, "ipxe")["file"] == SCRIPT
    got = tmp_path / file
    run(*CURL, "--output", str(got), f"tftp://{SERVER}/{file}", space=SPACE)
    assert hashlib.sha256(got.read_bytes()).hexdigest() == host.file(f"/usr/lib/ipxe/{file}").sha256sum


def test_no_address_is_given_on_another_network(host: Host, guest: Callable[..., dict[str, Any]]) -> None:
    assert guest("other1", OTHER, BIOS) == {}
    # It is not the firewall alone that keeps it silent there.
    assert "0.0.0.0%eth0:67" in host.check_output("ss -Hlnu sport = 67")


def test_tftp_serves_ipxe_only() -> None:
    for path in ("etc/passwd", "../../../etc/passwd", "/etc/cobbler/users.digest"):
        command = [*CURL, "--path-as-is", "--output", "/dev/null", "--write-out", "%{size_download}"]
        assert run(*command, f"tftp://{SERVER}/{path}", space=SPACE, check=False) in ("", "0")


def test_each_machine_gets_its_script() -> None:
    known = get(f"/cblr/svc/op/ipxe/mac/{KNOWN}")
    line = next(text for text in known.splitlines() if text.startswith("kernel "))
    assert known.startswith("#!ipxe\n")
    assert known.endswith("\n200")
    for part in ("/images/tiny/vmlinuz", "initrd=initrd.img", "updraft.profile=known", "updraft.system=bios1"):
        assert part in line
    # iPXE fills it in; the registrar's script sets it.
    assert "updraft.token=${updraft-token}" in line
    assert "initrd /images/tiny/initrd.img" in known
    unknown = get(f"/cblr/svc/op/ipxe/mac/{OTHER}")
    assert "updraft.profile=default" in unknown
    assert "updraft.system" not in unknown
    assert get("/cblr/svc/op/ipxe/profile/default").splitlines()[1:4] == unknown.splitlines()[1:4]
    assert "sanboot --no-describe --drive 0x80" in get(f"/cblr/svc/op/ipxe/mac/{DISK}")


def test_a_machine_that_is_installed_tries_its_disk_first() -> None:
    disk, network = get(f"/cblr/svc/op/ipxe/mac/{INSTALL}").split("\nkernel ", 1)
    assert "platform} pcbios && sanboot --no-describe --drive 0x80 ||" in disk
    assert r"platform} efi && sanboot --no-describe --drive 0 --extra \EFI\updraft\installed.json ||" in disk
    assert "updraft.install=/dev/vda" in network
    assert "sanboot" not in get(f"/cblr/svc/op/ipxe/mac/{KNOWN}")


def test_boot_files_come_by_http(host: Host) -> None:
    for file in ("vmlinuz", "initrd.img"):
        assert status(f"/images/tiny/{file}", "--head") == "200"
        size = run(
            *CURL,
            "--output",
            "/dev/null",
            "--write-out",
            "%{size_download}",
            f"http://{SERVER}/images/tiny/{file}",
            space=SPACE,
        )
        assert int(size) == host.file(f"/srv/updraft/images/tiny/{file}").size


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/images/",
        "/images/tiny/",
        "/images/../../../etc/passwd",
        "/images/%2e%2e/%2e%2e/%2e%2e/etc/cobbler/users.digest",
        "/cobbler_api",
        "/RPC2",
        "/cblr",
        "/cobbler",
        "/cobbler_track",
        f"/boot/ipxe?mac={KNOWN}",
        "/cblr/svc/op/nopxe/system/bios1",
        "/cblr/svc/op/trig/mode/post/system/bios1",
        "/cblr/svc/op/autoinstall/profile/default",
        "/cblr/svc/op/ks/profile/default",
        "/cblr/svc/op/list/what/systems",
        "/cblr/svc/op/settings",
        "/cblr/svc/op/puppet/hostname/bios1",
        "/cblr/svc/op/events/user/x",
        "/cblr/svc/op/look",
        "/cblr/svc/op/ipxe/system/bios1",
        "/cblr/svc/op/ipxe/mac/../../nopxe/system/bios1",
        "/cblr/svc/op/ipxe/mac/x%2fy",
        "/server-status",
    ],
)
def test_nothing_else_comes_by_http(path: str) -> None:
    answer, _, code = get(path, "--path-as-is").rpartition("\n")
    assert code in ("400", "403", "404"), answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
@pytest.mark.parametrize("path", ["/images/tiny/vmlinuz", f"/cblr/svc/op/ipxe/mac/{KNOWN}"])
def test_nothing_is_written_by_http(method: str, path: str) -> None:
    assert status(path, "--request", method, "--data", "x") in ("400", "403", "405")


def objects(host: Host) -> str:
    """Everything that cobblerd keeps and writes, as one text."""
    folders = "/var/lib/cobbler/collections /var/lib/cobbler/dhcp /var/lib/cobbler/snippets /var/lib/cobbler/templates"
    return host.check_output(f"find {folders} /etc/cobbler -type f -exec sha256sum {{}} + | sort")


@pytest.mark.parametrize("url", ["http://127.0.0.1:25151", f"https://{SERVER}:7779/cobbler_api"])
def test_no_method_does_anything_without_a_login(host: Host, url: str) -> None:
    before = objects(host)
    program = (HERE / "hostile.py").read_text()
    environment = "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"
    result = json.loads(host.check_output(f"{environment} /opt/cobbler/bin/python3 -c %s %s", program, url))
    assert result["past"] == []
    assert result["methods"] > 180
    assert result["attempts"] > 4000
    assert objects(host) == before
    assert not host.file("/var/log/cobbler/anamon").exists


def test_the_account_of_the_site_gets_in_by_tls() -> None:
    scenario = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
    command = ["ansible-playbook", "-i", str(scenario / "cloud.yml"), str(scenario / "api.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout


def test_the_api_wants_tls_and_little(connects: Callable[[str, int], bool]) -> None:
    # Only control and provisioning nodes may come.
    assert not connects(SERVER, 7779)
    assert not connects(SERVER, 25151)
    assert connects(SERVER, 80)


def test_only_what_is_declared_listens(host: Host) -> None:
    sockets = host.check_output("ss -Hlntu").splitlines()
    local = {line.split()[4] for line in sockets}
    assert {f"{SERVER}:80", f"{SERVER}:7779", f"{SERVER}:69", "0.0.0.0%eth0:67", "127.0.0.1:25151"} <= local
    ports = {address.rpartition(":")[2] for address in local if not address.startswith(("127.", "[::1]"))}
    assert ports <= {"22", "67", "69", "80", "7779", "123"}


def test_cobblerd_has_no_rights_and_no_default_account(host: Host) -> None:
    pid = host.check_output("systemctl show --value -p MainPID cobblerd")
    state = host.file(f"/proc/{pid}/status").content_string
    assert "CapEff:\t0000000000000000" in state
    assert "NoNewPrivs:\t1" in state
    assert host.check_output("ps -o user= -p %s", pid).strip() == "cobbler"
    digest = host.file("/etc/cobbler/users.digest")
    assert digest.mode == 0o640
    assert [line.split(":")[0] for line in digest.content_string.splitlines()] == ["updraft"]


def test_a_restart_keeps_all(host: Host) -> None:
    before, script = objects(host), get(f"/cblr/svc/op/ipxe/mac/{KNOWN}")
    assert host.run("systemctl restart cobblerd cobbler-dhcp cobbler-http tftpd-hpa").rc == 0
    end = time.monotonic() + 60
    while get(f"/cblr/svc/op/ipxe/mac/{KNOWN}") != script:
        assert time.monotonic() < end, "no script a minute after the restart"
        time.sleep(1)
    assert objects(host) == before
