# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions about machines: what they answer, and that nothing else is ever done with them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.plugin_utils.model.query import about, answer, parse_query

HARDWARE = {
    "vendor": "QEMU",
    "cpus": 4,
    "memory_mib": 65200,
    "disks": [{"name": "sda", "size_gib": 100}, {"name": "sdb", "size_gib": 400}],
    "nics": [{"name": "eth0", "speed_mbit": 1000}, {"name": "eth1", "speed_mbit": 10000}],
}
MACHINE: dict[str, Any] = {
    "name": "node2",
    "pool": "community",
    "roles": ["compute"],
    "state": "ready",
    "hardware": about(HARDWARE),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hardware.memory_gib >= 64", True),
        ("hardware.memory_mib >= 65536", False),
        ("pool == 'community' and hardware.cpus == 4", True),
        ("pool == 'other' or not hardware.cpus > 4", True),
        ("4 <= hardware.cpus < 8", True),
        ("8 <= hardware.cpus < 16", False),
        ("pool in ['community', 'general']", True),
        ("pool not in ('general', )", True),
        ("'compute' in roles", True),
        ("'storage' in roles", False),
        ("'QE' in hardware.vendor", True),
        ("hardware.disk_gib == 500 and hardware.disk_count == 2", True),
        ("hardware.speed_mbit >= 10000 and hardware.nic_count == 2", True),
        ("hardware.cpus > -1", True),
        ("hardware.cpus > 1.5", True),
        ("hardware.cpus > '1'", False),
        ("hardware.product == 'x'", False),
        ("hardware.product != 'x'", False),
        ("hardware.product == None", True),
        ("firmware == 'uefi'", False),
    ],
)
def test_answers(text: str, expected: bool) -> None:
    assert answer(parse_query(text), MACHINE) is expected


def test_a_machine_that_never_registered_has_no_hardware() -> None:
    machine = {"name": "node1", "pool": "general", "hardware": about(None)}

    assert not answer("hardware.memory_gib >= 0", machine)
    assert not answer("hardware.memory_gib < 64", machine)
    assert answer("pool == 'general'", machine)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1", "'x'", "name", "hardware.cpus", "1 +", "a := 1", "lambda: 1 == 1", "[x for x in roles] == 1",
        "exec('1') == 1", "name.upper() == 'A'", "name.__class__ == 1", "hardware.__class__ == 1",
        "hardware['cpus'] == 4", "hardware.cpus.real == 4", "f'{name}' == 'a'", "name is None", "2 ** 99999999 == 1",
        "'a' * 99999999 == 1", "cpus == 4", "{} == {}", "{1} == {1}", "b'a' == b'a'", "... == 1", "*name == 1",
        "name == 1 if name else 2", "await name == 1", "~hardware.cpus == 1", "1j == 1", "name\n== 1\nname", "\0",
        "not " * 40 + "1 == 1", "(" * 300 + "1 == 1" + ")" * 300, "name == 'a' or " * 100 + "name == 'b'",
    ],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_query(text)

    assert all(isinstance(part, str) and part for part in error.value.args)
    assert len(error.value.args) == 2
