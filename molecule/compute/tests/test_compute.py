# SPDX-License-Identifier: GPL-3.0-or-later
"""A hypervisor: libvirt answers by TLS only, consoles want certificates, the initiator has its name, a guest runs."""

from __future__ import annotations

import json

from testinfra.host import Host

testinfra_hosts = ["ssh://node1"]

ADDRESS = "10.78.8.31"
GUEST = """<domain type='{kind}'>
  <name>trial</name><memory unit='MiB'>192</memory><vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type></os>
  <devices><graphics type='vnc' listen='{address}' autoport='yes'/></devices>
</domain>"""


def test_libvirt_answers_by_tls_with_the_certificate_of_the_node(host: Host) -> None:
    assert "QEMU" in host.check_output(f"virsh --connect qemu+tls://{ADDRESS}/system version")


def test_libvirt_refuses_a_client_without_a_certificate(host: Host) -> None:
    answer = host.run(f"virsh --connect 'qemu+tls://{ADDRESS}/system?pkipath=/nowhere' version")
    assert answer.rc != 0


def test_nothing_listens_without_tls(host: Host) -> None:
    assert host.socket(f"tcp://{ADDRESS}:16514").is_listening
    assert not host.socket("tcp://0.0.0.0:16514").is_listening
    assert "16509" not in host.check_output("ss -Hltn")


def test_local_libvirt_is_for_its_group_only(host: Host) -> None:
    socket = host.file("/run/libvirt/libvirt-sock")
    assert (socket.group, socket.mode & 0o777) == ("libvirt", 0o660)


def test_a_guest_starts_and_its_console_wants_a_certificate(host: Host) -> None:
    works = json.loads(host.check_output("cat /run/updraft/kvm.json"))["usable"]
    text = GUEST.format(kind="kvm" if works else "qemu", address=ADDRESS)
    host.check_output("echo %s > /run/trial.xml", text)
    host.check_output("virsh create /run/trial.xml")
    try:
        assert host.socket(f"tcp://{ADDRESS}:5900").is_listening
        command = host.check_output("tr '\\0' ' ' < /proc/$(cat /run/libvirt/qemu/trial.pid)/cmdline")
        assert '"verify-peer":true' in command.replace(" ", "")
    finally:
        host.check_output("virsh destroy trial")


def test_the_initiator_has_the_name_of_the_node(host: Host) -> None:
    name = host.file("/etc/iscsi/initiatorname.iscsi")
    assert name.content_string == "InitiatorName=iqn.2026-11.internal.updraft.compute:node1\n"
    assert name.mode & 0o777 == 0o600


def test_nothing_has_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
