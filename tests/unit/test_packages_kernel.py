# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of updraft.cloud.packages and updraft.cloud.kernel, and the policy that holds services back."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import kernel, packages
from ansible_collections.updraft.cloud.plugins.module_utils.kernel import Running

TOLD = """chrony amd64 installed 4.6-1
libc6 i386 not-installed
libc6 amd64 installed 2.41
nova-api all half-configured 31.0
gone all config-files 1.0
"""


def test_statuses_take_the_best_architecture() -> None:
    found = packages.statuses(TOLD)
    assert found["libc6"] == "installed" and found["nova-api"] == "half-configured" and found["gone"] == "config-files"


def test_only_what_is_missing_or_unfinished_is_planned() -> None:
    todo = packages.plan(["chrony", "nova-api", "gone", "new", "new"], packages.statuses(TOLD))
    assert todo.install == ("gone", "new", "nova-api")
    assert todo.unfinished == ("nova-api",)
    assert todo
    assert not packages.plan(["chrony"], {"chrony": "installed", "gone": "config-files"})


def test_a_policy_left_by_a_cut_run_is_work() -> None:
    assert packages.plan([], {}, policy_left=True)


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "POLICY", str(path))
    return path


def test_services_are_held_back_while_packages_come(policy: Path) -> None:
    with packages.held_back():
        assert "exit 101" in policy.read_text() and policy.stat().st_mode & 0o111
        assert packages.policy_left()
    assert not policy.exists()


def test_services_are_let_go_after_a_failure(policy: Path) -> None:
    with pytest.raises(RuntimeError), packages.held_back():
        raise RuntimeError
    assert not policy.exists()


def test_a_policy_of_the_operator_comes_back_also_after_a_cut(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 0\n")
    held = packages.held_back()
    held.__enter__()
    # The run is cut here; the next one begins anew and ends well.
    with packages.held_back():
        assert packages.policy_left()
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_the_running_kernel_is_compared_with_what_is_wanted() -> None:
    now = Running(
        "old", frozenset({"dm_mod"}), {"net.core.somaxconn": "4096", "net.ipv4.tcp_rmem": "1 2 3", "a.b": None}
    )
    settings = {"net.core.somaxconn": 4096, "net.ipv4.tcp_rmem": "1\t2\t3", "a.b": True}
    found = [str(action) for action in kernel.plan("new", ["dm-mod", "openvswitch"], settings, now)]
    assert found == ["update name new", "create module openvswitch", "update setting a.b"]
    assert kernel.plan(None, [], {}, now) == []


def test_settings_whose_parts_hold_dots_are_written_with_slashes() -> None:
    assert kernel.path_of("net.ipv4.ip_forward") == "/proc/sys/net/ipv4/ip_forward"
    assert kernel.path_of("net/ipv4/conf/eno1.20/rp_filter") == "/proc/sys/net/ipv4/conf/eno1.20/rp_filter"
