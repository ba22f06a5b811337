# SPDX-License-Identifier: GPL-3.0-or-later
"""What every machine of a cloud carries."""

from __future__ import annotations

from collections.abc import Callable

from testinfra.host import Host

testinfra_hosts = ["ssh://host1", "ssh://host2"]

ADDRESSES = {"host1": "10.78.0.11", "host2": "10.78.0.12"}


def test_it_has_its_name(host: Host) -> None:
    assert host.check_output("hostname") in ADDRESSES
    assert host.check_output("hostname -f").endswith(".host.updraft.internal")


def test_it_knows_the_others_by_name(host: Host) -> None:
    for name, address in ADDRESSES.items():
        assert host.check_output("getent ahostsv4 %s", f"{name}.host.updraft.internal").split()[0] == address


def test_nothing_has_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --no-legend --plain") == ""


def test_it_trusts_the_sites_authority_and_has_a_certificate(host: Host) -> None:
    assert host.file("/usr/local/share/ca-certificates/updraft.crt").exists
    name = host.check_output("hostname -f")
    verify = host.run(
        "openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt -verify_hostname %s /etc/ovn/tls/tls.crt", name
    )
    assert verify.rc == 0, verify.stderr
    key = host.file("/etc/ovn/tls/tls.key")
    assert key.mode & 0o007 == 0


def test_its_address_is_networkds(host: Host) -> None:
    name = host.check_output("hostname")
    assert ADDRESSES[name] in host.interface("eth0").addresses
    assert "configured" in host.check_output("networkctl --no-legend list eth0")


def test_what_tasks_compiled_is_kept_by_root_alone(host: Host) -> None:
    folder = host.file("/var/cache/updraft/python")
    assert (folder.user, folder.mode) == ("root", 0o700)
    # A module and what it imports are some fifty files.
    assert len(folder.listdir()) > 50


def test_what_is_not_declared_is_closed(host: Host, connects: Callable[[str, int], bool]) -> None:
    address = ADDRESSES[host.check_output("hostname")]
    assert connects(address, 22)
    host.check_output("systemd-run --quiet --unit=undeclared --collect python3 -m http.server 8000")
    try:
        assert host.run("timeout 10 sh -c 'until nc -z 127.0.0.1 8000; do sleep 0.2; done'").rc == 0
        assert not connects(address, 8000)
    finally:
        host.run("systemctl stop undeclared")
