# SPDX-License-Identifier: GPL-3.0-or-later
"""Which site a command means, and that two commands do not work on one at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from updraft.cli import main
from updraft.lab import Proof
from updraft.records import new_record, prune, unfinished
from updraft.site import Refusal, Site, find_site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inventory = tmp_path / "inventories" / "rack"
    inventory.mkdir(parents=True)
    (inventory / "cloud.yml").write_text("name: rack\n")
    return tmp_path


@pytest.mark.parametrize("text", ["rack", "inventories/rack", "inventories/rack/cloud.yml"])
def test_a_site_is_found_by_name_folder_and_file(root: Path, text: str) -> None:
    site = find_site(text, root)
    assert (site.name, site.state) == ("rack", root / ".updraft" / "rack")


@pytest.mark.parametrize("text", ["name: ../etc", "name: 3", "[]", "name: {", "", "name: Rack"])
def test_a_cloud_without_a_usable_name_is_refused(root: Path, text: str) -> None:
    (root / "inventories/rack/cloud.yml").write_text(text)
    with pytest.raises(Refusal, match=r"cloud\.yml"):
        find_site("rack", root)


def test_an_unknown_inventory_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "no/such/place"]) == 2
    assert "no inventory 'no/such/place'" in capsys.readouterr().err


def test_a_site_is_held_by_one_command(root: Path) -> None:
    site = find_site("rack", root)
    with site.lock(), pytest.raises(Refusal, match="another run"), site.lock():
        pass
    with site.lock():
        assert site.state.stat().st_mode & 0o777 == 0o700


def test_resume_takes_the_last_run_unless_it_ended_well(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="nothing to resume"):
        unfinished(tmp_path)
    cut = new_record(tmp_path, ["run", "rack"], "playbooks/site.yml", ["--limit", "a b"])
    assert unfinished(tmp_path) == cut
    (cut.folder / "site-1").mkdir()
    assert cut.attempt("site").name == "site-2"
    cut.status = "ok"
    cut.save()
    with pytest.raises(Refusal, match="nothing to resume"):
        unfinished(tmp_path)


def test_only_the_oldest_records_are_removed(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"2026010{number}T000000Z").mkdir()
    prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20260103T000000Z", "20260104T000000Z"]


def test_a_proof_holds_until_something_changes(root: Path) -> None:
    site = find_site("rack", root)
    site.make_state()
    first = Proof(site)
    assert first.needed(0) == "no proof is on record"
    first.made()
    assert Proof(site).needed(0) is None
    assert Proof(site).needed(2) == "2 tasks changed something"
    (root / "inventories/rack/cloud.yml").write_text("name: rack\nservices: []\n")
    assert "another one" in str(Proof(Site(site.inventory, site.cloud, root)).needed(0))


def test_a_cut_run_leaves_no_proof(root: Path) -> None:
    site = find_site("rack", root)
    site.make_state()
    Proof(site).made()
    Proof(site).suspend()
    assert Proof(site).needed(0) == "no proof is on record"
