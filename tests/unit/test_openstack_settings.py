# SPDX-License-Identifier: GPL-3.0-or-later
"""What the services are told of volumes, by the templates of the role openstack with its own defaults."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROLE = Path(__file__).parents[2] / "roles" / "openstack"
PASSWORDS = {"cinder": "secret", "nova": "secret"}


def rendered(template: str, components: list[str], **inputs: Any) -> str:
    """The file by the role's own defaults. A name that nothing defines is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"), undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    given = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    passwords = {f"openstack_{kind}_passwords": PASSWORDS for kind in ("user", "database", "messaging")}
    fixed = {"ansible_managed": "Managed", "openstack_url": "https://api.example.org", "components": components}
    return environment.get_template(template).render({**given, **fixed, **passwords, **inputs})


def settings(template: str, components: list[str], **inputs: Any) -> configparser.RawConfigParser:
    """The file as the service reads it."""
    found = configparser.RawConfigParser(strict=True)
    found.read_string(rendered(template, components, **inputs))
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


def rootwrap(folder: Path, host: str, code: int, *command: str) -> tuple[int, str]:
    """Exit code of cinder's rootwrap over a rootwrap that is not real, and what it asked of a mirror that is not."""
    package, asked = folder / "oslo_rootwrap", folder / "asked"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    # As the real one: it takes its arguments off, runs the command, and ends the process.
    package.joinpath("cmd.py").write_text(f"import sys\n\ndef main():\n    del sys.argv[:2]\n    sys.exit({code})\n")
    mirror = folder / "updraft-mirror"
    mirror.write_text(f'#!/bin/sh\necho "$@" >>{asked}\necho "{{}}"\nexit 3\n')
    mirror.chmod(0o755)
    text = rendered("cinder/cinder-rootwrap.j2", ["cinder.volume"], openstack_volume_host=host)
    script = folder / "cinder-rootwrap"
    script.write_text(text.replace("/usr/local/sbin/updraft-mirror", str(mirror)))
    asked.write_text("")
    words = [sys.executable, str(script), "/etc/cinder/rootwrap.conf", *command]
    run = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert (run.stdout, run.stderr) == ("", "")
    return run.returncode, asked.read_text().strip()


@pytest.mark.parametrize(
    ("host", "code", "command", "found"),
    [
        # The mirror failed, and cinder is told so.
        ("mirror", 0, ("cinder-rtstool", "save"), (3, "save-targets")),
        ("mirror", 1, ("cinder-rtstool", "save"), (1, "")),
        ("mirror", 0, ("cinder-rtstool", "get-targets"), (0, "")),
        ("mirror", 0, ("lvs",), (0, "")),
        ("", 0, ("cinder-rtstool", "save"), (0, "")),
    ],
)
def test_a_target_of_cinder_is_saved_when_the_mirror_has_it(
    tmp_path: Path, host: str, code: int, command: tuple[str, ...], found: tuple[int, str]
) -> None:
    assert rootwrap(tmp_path, host, code, *command) == found


@pytest.mark.parametrize("gib", [1, 2, 500, 9999])
def test_a_machine_without_a_disk_offers_none_to_instances(gib: int) -> None:
    """Placement's capacity is the whole part of total * ratio. Nova takes a ratio of 0 for one that is not set."""
    ratios = [
        settings("nova/nova.conf.j2", ["nova.compute"], openstack_instance_disks=disks)["DEFAULT"][
            "disk_allocation_ratio"
        ]
        for disks in (False, True)
    ]

    assert float(ratios[0]) > 0
    assert [int(gib * float(ratio)) for ratio in ratios] == [0, gib]


def test_only_a_machine_that_runs_instances_says_what_disks_it_has_for_them() -> None:
    assert "disk_allocation_ratio" not in settings("nova/nova.conf.j2", ["nova.api"])["DEFAULT"]


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
