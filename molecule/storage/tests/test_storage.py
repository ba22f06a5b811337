# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage server: its volume group, thin pool and target, with Debian's own kernel."""

from __future__ import annotations

from collections.abc import Callable

from testinfra.host import Host

testinfra_hosts = ["ssh://storage1"]

TARGET = "/sys/kernel/config/target/iscsi/iqn.2026-11.internal.updraft.storage:updraft.storage1/tpgt_1"


def test_the_group_is_on_its_disk_and_has_a_thin_pool(host: Host) -> None:
    assert host.check_output("pvs --noheadings -o pv_name,vg_name").split() == ["/dev/vdb", "cinder-volumes"]
    attributes = host.check_output("lvs --noheadings -o lv_attr cinder-volumes/cinder-volumes-pool")
    assert attributes.strip().startswith("t")


def test_a_volume_can_be_made_and_written(host: Host) -> None:
    host.check_output("lvcreate -q -V 64M --thin -n trial cinder-volumes/cinder-volumes-pool")
    try:
        host.check_output("dd if=/dev/zero of=/dev/cinder-volumes/trial bs=1M count=8 oflag=direct")
    finally:
        host.check_output("lvremove -q -y cinder-volumes/trial")


def test_the_target_is_served_with_chap(host: Host) -> None:
    assert host.file(f"{TARGET}/enable").content_string.strip() == "1"
    acl = f"{TARGET}/acls/iqn.2026-11.internal.updraft.storage:initiator"
    assert host.file(f"{acl}/auth/userid").content_string.strip() == "updraft"
    assert host.check_output("cat /sys/kernel/config/target/core/iblock_*/leg/udev_path") == "/dev/vdc"


def test_it_listens_on_the_storage_network_alone(host: Host, connects: Callable[[str, int], bool]) -> None:
    assert host.socket("tcp://10.78.5.20:3260").is_listening
    assert not host.socket("tcp://10.78.4.20:3260").is_listening
    assert not connects("10.78.4.20", 3260)


def test_the_password_is_nowhere_open(host: Host) -> None:
    found = host.run("grep -rls only-for-test /etc /var/log /var/lib/updraft")
    open_files = [name for name in found.stdout.split() if host.file(name).mode & 0o077]
    assert open_files == []
    assert "only-for-test" not in host.check_output("journalctl --no-pager -b")


def test_nothing_has_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
