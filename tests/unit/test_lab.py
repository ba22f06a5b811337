# SPDX-License-Identifier: GPL-3.0-or-later
"""`lab up`: the order of its stages, when it proves the cloud, where it stops, and what it says at the end."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest

from updraft import lab
from updraft.display import PlainDisplay
from updraft.progress import Counts
from updraft.records import new_record
from updraft.report import StageResult, read_json
from updraft.runner import Session
from updraft.site import Refusal, Site, load_site

CLOUD = "name: lab\nnodes: {node1: {}}\nlab: {namespace: updraft-lab, machines: {node1: {kind: vm}}}\n"
ALL = ["computer", "images", "machines", "secrets", "converge", "proof"]


class Fake:
    """Stages that do nothing, but say how they went."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.changed: dict[str, int] = {}
        self.failing = ""
        monkeypatch.setattr(lab, "run_step", self.run)

    def run(self, session: Session, step: lab.Step) -> StageResult:
        self.made.append(step.name)
        if step.name == self.failing:
            return StageResult(step.name, "failed", 1, code=2, hosts={"node1": Counts(failed=1)})
        if step.name == "proof":
            (session.site.state / "proof.json").write_text(json.dumps({"server": {"name": "proof"}}))
        return StageResult(step.name, "ok", 1, hosts={"node1": Counts(ok=3, changed=self.changed.get(step.name, 0))})


@pytest.fixture
def session(tmp_path: Path) -> Session:
    inventory = tmp_path / "inventories" / "lab"
    inventory.mkdir(parents=True)
    (inventory / "cloud.yml").write_text(CLOUD)
    site = load_site(inventory, tmp_path)
    site.make_state()
    return Session(site, PlainDisplay(io.StringIO()), new_record(site.state / "artifacts", ["lab", "up"], None, []))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


def up(session: Session, fake: Fake) -> list[str]:
    """The stages that were made, with secrets among them."""
    fake.made = []

    def secrets(_site: Site) -> list[str]:
        fake.made.append("secrets")
        return []

    lab.up(session, "lab up", secrets)
    return fake.made


def test_the_first_run_does_all_and_the_second_proves_nothing_anew(session: Session, fake: Fake) -> None:
    fake.changed = {"machines": 1, "converge": 9}
    assert up(session, fake) == ALL
    fake.changed = {}
    assert up(session, fake) == ALL[:-1]
    report: dict[str, Any] = read_json(session.site.state / "report.json") or {}
    assert report["stages"][-1] == {
        "name": "proof",
        "status": "skipped",
        "seconds": 0.0,
        "reason": "nothing changed since the proof on record",
        "hosts": {},
    }
    assert (report["status"], report["changed"], report["tenant"]) == ("ok", 0, {"name": "proof"})


def test_without_services_there_is_nobody_to_prove_it(session: Session, fake: Fake) -> None:
    site = dataclasses.replace(session.site, cloud={**session.site.cloud, "services": []})
    assert up(dataclasses.replace(session, site=site), fake) == ALL[:-1]
    report: dict[str, Any] = read_json(site.state / "report.json") or {}
    assert (report["status"], report["stages"][-1]["reason"]) == ("ok", "a cloud without services has no tenants")


def test_a_change_is_proved(session: Session, fake: Fake) -> None:
    up(session, fake)
    fake.changed = {"converge": 1}
    assert up(session, fake) == ALL


def test_a_cut_run_is_proved_by_the_next_although_that_changes_nothing(session: Session, fake: Fake) -> None:
    up(session, fake)
    fake.failing = "converge"
    assert up(session, fake) == ALL[:-1]
    assert (read_json(session.site.state / "report.json") or {})["status"] == "failed"
    fake.failing = ""
    assert up(session, fake) == ALL


def test_a_failed_proof_is_made_again(session: Session, fake: Fake) -> None:
    fake.failing = "proof"
    up(session, fake)
    fake.failing = ""
    assert up(session, fake) == ALL


def test_down_takes_the_secrets_and_the_records_of_the_cloud(session: Session, fake: Fake) -> None:
    up(session, fake)
    session.site.secrets_file.parent.mkdir(parents=True)
    session.site.secrets_file.write_text("locked")
    lab.down(session)
    assert [path.name for path in session.site.inventory.iterdir()] == ["cloud.yml"]
    assert {path.name for path in session.site.state.iterdir()} == {"artifacts"}


def test_down_that_failed_leaves_what_is_known(session: Session, fake: Fake) -> None:
    up(session, fake)
    fake.failing = "down"
    assert lab.down(session).code == 2
    assert (session.site.state / "report.json").exists()


def test_a_site_without_machines_of_its_own_is_no_lab(session: Session) -> None:
    with pytest.raises(Refusal, match="is no lab"):
        lab.lab_of(Site(session.site.inventory, {"name": "rack"}, session.site.root))


def test_the_summary_names_all_that_a_person_needs(session: Session, fake: Fake) -> None:
    up(session, fake)
    proof = {
        "server": {"name": "proof", "project": "demo", "node": "node1", "floating_address": "10.77.2.101"},
        "credentials": "/root/demo.yaml",
    }
    (session.site.state / "proof.json").write_text(json.dumps(proof))
    cloud = {
        "nodes": {"node1": {"roles": ["compute", "gateway"], "addresses": {"management": "10.77.0.31"}}},
        "urls": {"identity": "https://api.lab:5000"},
        "endpoint": {"address": "10.77.0.10"},
    }
    text = lab.summary(session.site, cloud)
    for part in ("node1", "compute, gateway", "management 10.77.0.31", "https://api.lab:5000 (at 10.77.0.10)"):
        assert part in text
    assert "proof of project demo on node1 floating 10.77.2.101" in text
    assert "/root/demo.yaml" in text
    assert "converge" in text


def test_status_tells_each_machine_and_fails_when_one_is_down(session: Session) -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    assert lab.status(session.site, lambda: {"node1": "answers"}, display) == 0
    assert lab.status(session.site, lambda: {"node1": "down"}, display) == 3
    assert "last run: none on record" in stream.getvalue()
