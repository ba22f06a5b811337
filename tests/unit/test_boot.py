# SPDX-License-Identifier: GPL-3.0-or-later
"""What Cobbler is told to boot follows from the model's systems."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.updraft.cloud.plugins.filter.boot import FilterModule
from ansible_collections.updraft.cloud.plugins.module_utils.cobbler import wanted
from ansible_collections.updraft.cloud.plugins.plugin_utils import boot

NEW, OLD, OLDER = "3f9c0a7be214", "0123456789ab", "aaaaaaaaaaaa"
OPTIONS = "boot=live fetch=http://10.0.0.10/images/{version}/root.squashfs quiet\n"


def system(name: str, number: int, image: str | None = None, install: str | None = None) -> dict[str, Any]:
    address, mac = f"10.0.0.{number}", f"52:54:00:00:00:{number}"
    return {"name": name, "mac": mac, "address": address, "firmware": None, "image": image, "install": install}


def objects(*systems: dict[str, Any], versions: tuple[str, ...] = (NEW, OLD)) -> dict[str, list[dict[str, Any]]]:
    return boot.objects(systems, NEW, "node", OPTIONS, versions)


def test_without_machines_there_is_the_newest_image_for_whoever_comes() -> None:
    options = f"boot=live fetch=http://10.0.0.10/images/{NEW}/root.squashfs quiet"
    assert objects() == {
        "distros": [{"name": NEW, "kernel_options": options}],
        "profiles": [{"name": "node", "distro": NEW}],
        "systems": [],
    }


def test_a_machine_that_names_a_version_has_a_profile_of_it() -> None:
    found = objects(system("node1", 31), system("node2", 32, OLD), system("node3", 33, OLD))

    assert [distro["name"] for distro in found["distros"]] == sorted([NEW, OLD])
    assert f"/images/{OLD}/root.squashfs" in found["distros"][0]["kernel_options"]
    assert found["profiles"] == [{"name": "node", "distro": NEW}, {"name": f"node-{OLD}", "distro": OLD}]
    assert [one["profile"] for one in found["systems"]] == ["node", f"node-{OLD}", f"node-{OLD}"]


def test_a_machine_that_names_the_newest_stays_there_when_a_newer_one_comes() -> None:
    found = objects(system("node1", 31, NEW))

    assert len(found["distros"]) == 1
    assert found["systems"][0]["profile"] == f"node-{NEW}"


def test_a_machine_is_told_which_disk_it_is_installed_on() -> None:
    diskless, installed = objects(system("node1", 31), system("node2", 32, install="/dev/vda"))["systems"]

    assert diskless == {"name": "node1", "mac": "52:54:00:00:00:31", "ip": "10.0.0.31", "profile": "node"}
    assert installed["kernel_options"] == "updraft.install=/dev/vda"


def test_a_machine_is_told_where_its_root_is() -> None:
    small, both = objects(
        {**system("node1", 31), "root": "iscsi"}, {**system("node2", 32, None, "/dev/vda"), "root": "memory"}
    )["systems"]

    assert small["kernel_options"] == "updraft.root=iscsi"
    assert both["kernel_options"] == "updraft.install=/dev/vda updraft.root=memory"


def test_cobbler_takes_it() -> None:
    found = objects(system("node1", 31, OLD, "/dev/vda"))
    distros = [{**distro, "kernel": "/k", "initrd": "/i"} for distro in found["distros"]]

    made = wanted(distros, found["profiles"], found["systems"])

    assert made["system"]["node1"]["kernel_options"] == {"updraft.install": "/dev/vda"}
    assert set(made["profile"]) == {"node", f"node-{OLD}"}


def test_a_version_that_is_not_there_is_refused_with_those_that_are() -> None:
    filters = FilterModule().filters()
    systems = [system("node1", 31, OLDER), system("node2", 32, OLDER)]

    with pytest.raises(AnsibleFilterError) as refused:
        filters["boot_objects"](systems, version=NEW, profile="node", kernel_options=OPTIONS, versions=[NEW, OLD])

    text = str(refused.value)
    assert f"provisioning.images.node1: version {OLDER} of the image is not on the server; provisioning." in text
    assert f"There are: {OLD}, {NEW}. Write one of them, or remove the line" in text


def test_what_is_not_known_yet_is_not_checked() -> None:
    assert objects(system("node1", 31, OLDER), versions=())["systems"][0]["profile"] == f"node-{OLDER}"
