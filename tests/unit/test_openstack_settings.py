# SPDX-License-Identifier: GPL-3.0-or-later
"""What the services are told of volumes, by the templates of the role openstack with its own defaults."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROLE = Path(__file__).parents[2] / "roles" / "openstack"
PASSWORDS = {"cinder": "secret", "nova": "secret"}


def settings(template: str, components: list[str], **inputs: Any) -> configparser.RawConfigParser:
    """The file as the service reads it. A name that nothing defines is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"), undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    given = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    passwords = {f"openstack_{kind}_passwords": PASSWORDS for kind in ("user", "database", "messaging")}
    fixed = {"ansible_managed": "Managed", "openstack_url": "https://api.example.org", "components": components}
    text = environment.get_template(template).render({**given, **fixed, **passwords, **inputs})
    found = configparser.RawConfigParser(strict=True)
    found.read_string(text)
    return found


def cinder(component: str, **inputs: Any) -> configparser.RawConfigParser:
    return settings("cinder/cinder.conf.j2", [f"cinder.{component}"], **inputs)


def test_without_a_mirror_a_machine_has_a_volume_service_of_its_own() -> None:
    found = cinder("volume", openstack_host="storage1", openstack_storage_address="10.0.1.21")

    assert found["DEFAULT"]["host"] == "storage1"
    assert found.get("lvm", "target_ip_address") == "10.0.1.21"
    # Sections show what stands in DEFAULT, too: only what is written in [lvm] itself counts.
    own = set(found["lvm"]) - set(found["DEFAULT"])
    assert own.isdisjoint({"backend_host", "target_secondary_ip_addresses"})


def test_on_a_mirror_both_legs_have_the_same_name_and_the_addresses_of_the_one_that_serves() -> None:
    mirror = {
        "openstack_volume_host": "mirror",
        "openstack_storage_address": "10.0.1.9",
        "openstack_storage_addresses_more": ["10.0.2.9"],
    }
    one, other = (cinder("volume", openstack_host=name, **mirror) for name in ("storage1", "storage2"))

    assert one["lvm"]["backend_host"] == "mirror"
    assert one["lvm"]["target_secondary_ip_addresses"] == "10.0.2.9"
    assert {key: value for key, value in one["lvm"].items() if key != "host"} == {
        key: value for key, value in other["lvm"].items() if key != "host"
    }


@pytest.mark.parametrize("multipath", [False, True])
def test_a_backup_node_has_a_file_store_and_no_volumes(multipath: bool) -> None:
    found = cinder("backup", openstack_multipath=multipath)
    default = found["DEFAULT"]

    assert default["backup_driver"] == "cinder.backup.drivers.posix.PosixBackupDriver"
    assert default["backup_posix_path"] == "/var/lib/cinder/backups"
    # It is read into memory at once, and has to be a multiple of what is checked for changes.
    assert int(default["backup_file_size"]) <= 1 << 26
    assert int(default["backup_file_size"]) % 32768 == 0
    assert ("use_multipath_for_image_xfer" in default) is multipath
    assert "lvm" not in found
    assert "enabled_backends" not in default
    assert "backup_driver" not in cinder("volume")["DEFAULT"]


@pytest.mark.parametrize("multipath", [False, True])
def test_nova_insists_on_multipath_where_there_is_one(multipath: bool) -> None:
    found = settings("nova/nova.conf.j2", ["nova.compute"], openstack_multipath=multipath)

    assert found.getboolean("libvirt", "volume_use_multipath") is multipath
    assert found.getboolean("libvirt", "volume_enforce_multipath", fallback=False) is multipath
    assert found.getboolean("service_user", "send_service_user_token")


def test_sessions_that_services_make_give_up_a_silent_path_in_seconds_and_the_device_waits() -> None:
    text = (ROLE.parent / "iscsi_initiator/templates/iscsid.conf.j2").read_text()
    found = dict(line.split(" = ") for line in text.splitlines() if " = " in line and not line.startswith("#"))

    seconds = {name.rpartition(".")[2]: value for name, value in found.items() if ".timeo." in name}
    assert seconds == {
        "noop_out_interval": "2",
        "noop_out_timeout": "3",
        "replacement_timeout": "5",
        "login_timeout": "5",
        "logout_timeout": "15",
    }
    assert "queue" in (ROLE.parent / "iscsi_initiator/templates/multipath.conf.j2").read_text()
