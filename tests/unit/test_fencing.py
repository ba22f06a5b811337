# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of fencing: its fake board as community.general sees it, and the second inventory of the lab."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.community.general.plugins.module_utils.redfish_utils import RedfishUtils

sys.path.insert(0, str(Path(__file__).parents[1] / "drill"))

import fencing
from fake_redfish import Board, Mood, serving
from machines import Wrong

from updraft import vault
from updraft.site import ROOT, Site, find_site


class Switch:
    """A machine that is on or off."""

    name = "storage1"

    def __init__(self) -> None:
        self.on = True

    def running(self) -> bool:
        return self.on

    def cut(self) -> None:
        self.on = False

    def start(self) -> None:
        self.on = True


@contextmanager
def client(board: Board, password: str = "secret") -> Iterator[RedfishUtils]:
    """community.general's own client at a board."""
    with serving(board, "127.0.0.1", 0) as port:
        module = SimpleNamespace(params={"validate_certs": False, "ciphers": None, "ca_path": None})
        login = {"user": "admin", "pswd": password, "token": None}
        yield RedfishUtils(login, f"https://127.0.0.1:{port}", 10, module, data_modification=True)


def board(mood: Mood = "obeys") -> Board:
    found = Board(Switch(), "admin", "secret")
    found.mood = mood
    return found


def power(found: RedfishUtils) -> str:
    """PowerState, asked for as playbooks/tasks/power_off.yml does."""
    answer = found.get_multi_system_inventory()
    return str(answer["entries"][0][1]["PowerState"])


def test_it_switches_off_and_on_and_says_so() -> None:
    one = board()
    with client(one) as found:
        assert found._find_systems_resource()["ret"]
        assert power(found) == "On"
        assert found.manage_system_power("PowerForceOff") == {"ret": True, "changed": True}
        assert (power(found), one.machine.running(), one.orders) == ("Off", False, ["ForceOff"])
        assert not found.manage_system_power("PowerForceOff")["changed"]
        assert found.manage_system_power("PowerOn")["changed"]
        assert (power(found), one.orders) == ("On", ["ForceOff", "On"])


def test_one_that_is_stuck_stays_on() -> None:
    one = board("stuck")
    with client(one) as found:
        found._find_systems_resource()
        assert found.manage_system_power("PowerForceOff")["ret"]
        assert (power(found), one.orders) == ("On", ["ForceOff"])


def test_one_that_refuses_says_why() -> None:
    with client(board("refuses")) as found:
        found._find_systems_resource()
        answer = found.manage_system_power("PowerForceOff")
        assert not answer["ret"]
        assert "the power controller does not answer" in answer["msg"]
        assert power(found) == "On"


def test_nobody_comes_in_without_the_password() -> None:
    one = board()
    with client(one, "wrong") as found:
        answer = found._find_systems_resource()
        assert not answer["ret"]
        assert "HTTP Error 401" in answer["msg"]
    assert (one.orders, one.machine.running()) == ([], True)


class TestInventory:
    """The lab's site, with boards."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        shutil.copytree(ROOT / "inventories" / "lab-storage", tmp_path / "inventory")
        (tmp_path / "ansible.cfg").touch()
        (tmp_path / "tools").mkdir()
        (tmp_path / "tools" / "vault-password").write_text("#!/bin/sh\necho secret\n")
        (tmp_path / "tools" / "vault-password").chmod(0o755)
        found = find_site(str(tmp_path / "inventory"), tmp_path)
        found.make_state()
        vault.write_secrets(found, {"chap": {"user": "updraft"}})
        return found

    def test_it_is_the_same_site_with_boards(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fencing, "ROOT", site.root)
        with fencing.fenced_site(site, "board's") as fenced:
            assert (fenced.state, fenced.inventory) == (site.state, site.state / "fenced")
            assert fencing.addresses(fenced) == {"storage1": "127.78.0.121", "storage2": "127.78.0.122"}
            assert fenced.cloud["volumes"]["mirror"]["failover"] == "by_itself"
            secrets = vault.secrets_of(fenced)
            assert secrets == {"chap": {"user": "updraft"}, "power": {"storage1": "board's", "storage2": "board's"}}
            assert "board's" not in fenced.secrets_file.read_text()
        assert not (site.state / "fenced").exists()
        assert fencing.addresses(site) == {}

    def test_another_cloud_is_refused(self) -> None:
        nodes: dict[str, Any] = {name: {"roles": ["storage"]} for name in ("storage1", "storage2")}
        with pytest.raises(Wrong, match="whose storage servers are one range"):
            fencing.fenced_cloud({"nodes": nodes, "volumes": {"mirror": {}}})


def test_a_watch_has_moved_it_when_somebody_serves() -> None:
    before = "2026-11-22T00:00:00+00:00 storage1 does not answer; nobody serves the volumes: ..."
    after = "2026-11-22T00:01:00+00:00 storage1 does not answer; storage2: volumes0 is on this server alone"
    assert not fencing._moved(f"{before}\n[   3 s] storage1 does not answer\n", "storage1")
    assert fencing._moved(f"{before}\n{after}\n", "storage1")
