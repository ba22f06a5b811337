# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage pools of libvirt: the names of volumes, and what is defined."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import storage_pools
from ansible_collections.updraft.cloud.plugins.module_utils.storage_pools import PoolsError, desired, plan, volumes
from ansible_collections.updraft.cloud.plugins.plugin_utils.pools import names, rules, sessions, wwid

TARGET = "iqn.2026-11.org.example:updraft.pool.vms.web"
POOLS: list[dict[str, Any]] = [
    {
        "name": "vms",
        "portals": ["10.0.1.9", "10.0.2.9"],
        "volumes": [
            {"name": "web", "target": TARGET},
            {"name": "db", "target": "iqn.2026-11.org.example:updraft.pool.vms.db"},
        ],
    }
]


class TestNames:
    """The world-wide name of a LUN is known before there is a LUN."""

    def test_as_lio_makes_it_of_the_serial(self) -> None:
        assert len(wwid(TARGET, "pool-vms-web")) == 33
        assert wwid(TARGET, "pool-vms-web").startswith("36001405")
        assert wwid(TARGET, "pool-vms-web") != wwid(TARGET, "pool-vms-db")

    def test_one_link_for_all_paths(self) -> None:
        text = rules(POOLS, multipath=True)
        assert f'ENV{{DM_UUID}}=="mpath-{wwid(TARGET, "pool-vms-web")}", SYMLINK+="updraft/vms/web"' in text
        assert 'KERNEL=="sd*"' not in text

    def test_a_link_for_the_only_path(self) -> None:
        assert 'KERNEL=="sd*", ENV{ID_SERIAL}=="36001405' in rules(POOLS, multipath=False)

    def test_sessions_for_each_portal_with_both_passwords(self) -> None:
        chap = {"user": "u", "password": "p", "mutual_user": "m", "mutual_password": "q"}
        one, other = sessions(POOLS, chap, {"a": "b"})
        assert other["target"].endswith(".vms.db")
        assert (one["target"], one["portals"], one["startup"]) == (TARGET, ["10.0.1.9", "10.0.2.9"], "automatic")
        assert (one["password"], one["mutual_password"], one["settings"]) == ("p", "q", {"a": "b"})


class TestPlan:
    """What libvirt is told."""

    WANTED = desired(names(POOLS))

    def test_a_new_pool_and_then_nothing(self) -> None:
        assert [str(action) for action in plan(self.WANTED, {})] == ["create storage pool vms"]
        assert plan(self.WANTED, self.WANTED) == []

    def test_a_volume_that_it_does_not_list_yet(self) -> None:
        (action,) = plan(self.WANTED, {"vms": {**self.WANTED["vms"], "volumes": ["db"]}})
        assert action.after == {"volumes": ["db", "web"]}

    def test_one_that_is_not_wanted_goes_and_others_stay(self) -> None:
        others = {
            "old": {"path": "/dev/updraft/old", "active": True, "autostart": True, "volumes": []},
            "default": {"path": "/var/lib/libvirt/images", "active": True, "autostart": True, "volumes": []},
        }
        assert [str(action) for action in plan({}, others)] == ["delete storage pool old"]

    def test_the_list_of_volumes(self) -> None:
        assert volumes(" web   /dev/updraft/vms/web\n db    /dev/updraft/vms/db\n") == ["db", "web"]
        assert volumes("\n") == []


def test_a_volume_that_does_not_appear_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_pools.subprocess, "run", lambda *_, **__: None)
    with pytest.raises(PoolsError, match=r"/dev/updraft/none/x did not appear: see `iscsiadm -m session`"):
        storage_pools.await_links(["/dev/updraft/none/x"], seconds=0)
