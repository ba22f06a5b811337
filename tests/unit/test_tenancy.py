# SPDX-License-Identifier: GPL-3.0-or-later
"""What tenants find: the wish, the plan against what is there, and the images of the model."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.filter import images as filters
from ansible_collections.updraft.cloud.plugins.module_utils import tenancy

TINY = {
    "name": "tiny",
    "content": "tiny:1",
    "format": "raw",
    "parts": True,
    "path": "/x/tiny",
    "properties": {"a": "b"},
}
GIVEN: dict[str, Any] = {
    "flavors": {"tiny": {"vcpus": 1, "memory_mib": 128, "disk_gib": 1, "properties": {}}},
    "images": [TINY],
    "provider": {
        "name": "provider",
        "physical": "provider",
        "mtu": 1500,
        "cidr": "10.77.2.0/24",
        "gateway": "10.77.2.1",
        "first": "10.77.2.100",
        "last": "10.77.2.179",
    },
    "projects": {"demo": {"user": "demo", "network": "192.168.77.0/24", "dns": [], "quota": {"instances": 10}}},
    "pools": {"general": ["node2", "node1"], "empty": []},
}


def given(**more: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GIVEN), **more}


def test_an_empty_cloud_gets_everything_in_an_order_that_works() -> None:
    actions = [str(action) for action in tenancy.whole_plan(tenancy.desired(given()), {})]
    assert actions == [
        "create flavor tiny",
        "create image tiny-kernel",
        "create image tiny-ramdisk",
        "create image tiny",
        "create project demo",
        "create user demo",
        "create quota demo",
        "create network provider",
        "create network demo",
        "create subnet provider",
        "create subnet demo",
        "create router demo",
        "create security group rule demo: icmp",
        "create security group rule demo: tcp 22",
        "create aggregate general",
    ]


def test_a_cloud_that_has_it_all_needs_nothing() -> None:
    wanted = tenancy.desired(given())
    there = copy.deepcopy(wanted)
    # What services add of their own does not count.
    there["image"]["tiny"]["properties"]["owner_specified"] = "x"
    there["aggregate"]["general"]["properties"]["availability_zone"] = "general"
    there["router"]["demo"]["subnets"].append("another")
    there["subnet"]["demo"]["gateway"] = "192.168.77.1"
    there["project"]["of a tenant"] = {"enabled": True}
    assert tenancy.whole_plan(wanted, there) == []


@pytest.mark.parametrize(
    ("kind", "name", "field", "value", "expected"),
    [
        ("flavor", "tiny", "vcpus", 2, "update flavor tiny"),
        ("image", "tiny", "content", "tiny:0", "update image tiny"),
        ("user", "demo", "password_works", False, "update user demo"),
        ("quota", "demo", "instances", 5, "update quota demo"),
        ("subnet", "provider", "pools", [], "update subnet provider"),
        ("router", "demo", "outside", "", "update router demo"),
        ("router", "demo", "subnets", [], "update router demo"),
        ("aggregate", "general", "hosts", ["node1"], "update aggregate general"),
    ],
)
def test_what_differs_is_changed_and_nothing_else(kind: str, name: str, field: str, value: Any, expected: str) -> None:
    wanted = tenancy.desired(given())
    there = copy.deepcopy(wanted)
    there[kind][name][field] = value
    actions = tenancy.whole_plan(wanted, there)
    assert [str(action) for action in actions] == [expected]
    assert list(actions[0].after or {}) == [field]


def test_a_project_without_a_network_gets_no_router_and_no_rules() -> None:
    wanted = tenancy.desired(given(projects={"demo": {"user": "demo"}}, provider=None))
    assert wanted["router"] == wanted["network"] == wanted["security group rule"] == wanted["quota"] == {}
    assert wanted["user"]["demo"]["member"] is True


def test_an_image_of_one_file_has_no_parts() -> None:
    wanted = tenancy.images([{"name": "debian", "content": "sha512:1", "format": "qcow2", "path": "/x"}])
    assert list(wanted) == ["debian"]
    assert "parts" not in wanted["debian"]


IMAGES: dict[str, dict[str, Any]] = {
    "tiny": {"source": "tiny", "properties": {"hw_rng_model": "virtio"}},
    "debian": {"source": "https://x/debian.qcow2", "checksum": "sha512:1", "min_disk_gib": 3},
    "own": {"source": "/srv/own.raw", "format": "raw"},
}


def test_images_of_the_model_are_identified_by_recipe_checksum_or_path() -> None:
    tiny, debian, own = filters.image_list(IMAGES, "/var/cache")
    assert tiny["parts"] is True
    assert tiny["content"].startswith("tiny:")
    assert "quiet" in tiny["properties"]["os_command_line"]
    assert tiny["properties"]["hw_rng_model"] == "virtio"
    assert (debian["content"], debian["format"], debian["min_disk_gib"]) == ("sha512:1", "qcow2", 3)
    assert (own["content"], own["format"]) == ("/srv/own.raw", "raw")
    assert own["path"].startswith("/var/cache/own-")


def test_each_lacking_image_comes_by_its_own_way() -> None:
    ways = filters.images_to_bring(["tiny-kernel", "tiny-ramdisk", "tiny", "debian", "own"], IMAGES, "/c")
    assert {way: [item["name"] for item in items] for way, items in ways.items()} == {
        "build": ["tiny"],
        "fetch": ["debian"],
        "local": ["own"],
    }
    assert ways["fetch"][0]["source"] == "https://x/debian.qcow2"
    assert filters.images_to_bring(["tiny-ramdisk"], IMAGES, "/c")["build"] != []
    assert filters.images_to_bring(["debian"], IMAGES, "/c")["build"] == []


def test_other_content_lies_under_another_path() -> None:
    before = filters.image_list(IMAGES, "/c")[1]["path"]
    after = filters.image_list({"debian": {**IMAGES["debian"], "checksum": "sha512:2"}}, "/c")[0]["path"]
    assert before != after
