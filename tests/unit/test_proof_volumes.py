# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of copies of volumes: what is asked of the service, what is read, how it is judged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import tenant, tenant_volumes, volume_content
from ansible_collections.updraft.cloud.plugins.module_utils.openstack_api import ApiError
from ansible_collections.updraft.cloud.plugins.plugin_utils import proof, proof_volumes

NAME = "proof-volumes"


class FakeCinder:
    """A volume service in memory: a volume stays while it has snapshots, as with the real one."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, dict[str, Any]]] = {"volumes": {}, "snapshots": {}, "backups": {}}
        self.asked: list[tuple[str, Any]] = []
        self.fails: dict[str, dict[str, Any]] = {}

    def get(self, _service: str, path: str) -> Any:
        kinds, _, rest = path.strip("/").partition("/")
        if kinds.startswith("messages"):
            return {"messages": [{"user_message": "no space"}]}
        if rest == "detail":
            return {kinds: list(self.things[kinds].values())}
        thing = self.things[kinds][rest]
        thing["status"] = {"creating": "available", "restoring": "available"}.get(thing["status"], thing["status"])
        return {kinds.removesuffix("s"): dict(thing)}

    def post(self, _service: str, path: str, body: Mapping[str, Any]) -> Any:
        self.asked.append((path, body))
        kinds, *rest = path.strip("/").split("/")
        if rest:
            self.things[kinds][rest[0]]["status"] = "restoring"
            return {}
        kind = kinds.removesuffix("s")
        number = f"{kind}-{len(self.asked)}"
        made = {"id": number, "status": "creating", "size": 1, **body[kind], **self.fails.get(kind, {})}
        self.things[kinds][number] = made
        return {kind: made}

    def delete(self, _service: str, path: str) -> None:
        kinds, number = path.strip("/").split("/")
        if kinds == "volumes" and any(item["volume_id"] == number for item in self.things["snapshots"].values()):
            raise ApiError("has snapshots", 400)
        self.things[kinds].pop(number, None)


@pytest.fixture(autouse=True)
def _nobody_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant, "EVERY_SECONDS", 0.0)


def made_by(cinder: Any) -> tuple[str, str, str]:
    source = tenant_volumes.volume(cinder, NAME, 1, 5)
    taken = tenant_volumes.snapshot(cinder, f"{NAME}-snapshot", source, 5)
    clone = tenant_volumes.volume(cinder, f"{NAME}-clone", 1, 5, source_volid=source)
    return source, taken, clone


def test_a_backup_is_restored_to_a_new_volume() -> None:
    cinder: Any = FakeCinder()
    source, _, _ = made_by(cinder)
    cinder.asked.clear()

    backup = tenant_volumes.backup(cinder, f"{NAME}-backup", source, 5)
    restored = tenant_volumes.restore(cinder, f"{NAME}-restored", backup, 5)

    assert restored != source
    assert cinder.asked == [
        ("/backups", {"backup": {"name": f"{NAME}-backup", "volume_id": source}}),
        ("/volumes", {"volume": {"name": f"{NAME}-restored", "size": 1}}),
        (f"/backups/{backup['id']}/restore", {"restore": {"volume_id": restored}}),
    ]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"status": "error", "fail_reason": "the file store is full"}, "in state error: the file store is full"),
        ({"status": "error"}, "in state error: no space"),
        ({"status": "backing-up"}, "not within 0 s; seen last: backup backup-4 is backing-up"),
    ],
)
def test_what_fails_says_why(fault: dict[str, Any], text: str) -> None:
    cinder: Any = FakeCinder()
    source, _, _ = made_by(cinder)
    cinder.fails["backup"] = fault

    with pytest.raises(tenant.TenantError, match=text):
        tenant_volumes.backup(cinder, NAME, source, 0)


def test_all_of_it_goes_in_the_order_in_which_it_can_and_what_others_have_stays() -> None:
    cinder: Any = FakeCinder()
    made_by(cinder)
    other = tenant_volumes.volume(cinder, "database", 1, 5)

    removed = tenant_volumes.remove(cinder, NAME, 5)

    assert {text.rsplit(" ", 1)[0] for text in removed} == {
        f"volume {NAME}", f"snapshot {NAME}-snapshot", f"volume {NAME}-clone",
    }  # fmt: skip
    assert [list(items) for items in cinder.things.values()] == [[other], [], []]
    assert tenant_volumes.remove(cinder, NAME, 5) == []


def test_what_does_not_go_is_told_with_the_reason() -> None:
    cinder: Any = FakeCinder()
    source = tenant_volumes.volume(cinder, NAME, 1, 5)
    tenant_volumes.snapshot(cinder, "somebody-else", source, 5)

    with pytest.raises(tenant.TenantError, match=f"volume {source} is available \\(has snapshots\\)"):
        tenant_volumes.remove(cinder, NAME, 0)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "dev/volumes"
    folder.mkdir(parents=True)
    yield folder


def test_content_is_read_whole_and_where_it_is(group: Path, tmp_path: Path) -> None:
    data = b"content" * 500_000
    (group / "volume-one").write_bytes(data)

    found = volume_content.checksums("volumes", ["one", "elsewhere"], str(tmp_path))

    assert found == {"one": hashlib.sha256(data).hexdigest()}


def test_a_mark_changes_the_last_block_alone_and_follows_from_its_text(group: Path) -> None:
    path = group / "volume-one"
    path.write_bytes(b"image" + bytes(3 << 20))

    volume_content.mark(str(path), "before")
    first = path.read_bytes()
    volume_content.mark(str(path), "after")
    second = path.read_bytes()
    volume_content.mark(str(path), "before")

    assert len(first) == len(second) == 5 + (3 << 20)
    assert first[: -volume_content.BLOCK] == second[: -volume_content.BLOCK]
    assert first != second
    assert path.read_bytes() == first


def test_a_mark_is_not_written_where_there_is_no_device(group: Path) -> None:
    with pytest.raises(volume_content.InUseError, match="volume-one is in use, and is not written to"):
        volume_content.mark(str(group / "volume-one"), "before")


OLD, NEW = "a" * 64, "b" * 64


def seen(**more: Any) -> dict[str, Any]:
    """What a proof sees that goes well, on a mirror: the other leg has no device."""

    def read(**checksums: str) -> list[dict[str, Any]]:
        return [{"item": "storage1", "checksums": checksums}, {"item": "storage2", "checksums": {}}]

    return {
        "volume": "v",
        "copies": {"snapshot": "s", "from_snapshot": "f", "clone": "c"},
        "backup": {"backup": {"id": "b", "container": "b/b/b"}, "restored": "r"},
        "before": proof_volumes.content(read(v=OLD)),
        "after": proof_volumes.content(read(v=NEW, f=OLD, c=OLD)),
        "restored": proof_volumes.content(read(r=NEW)),
        "files": proof_volumes.files([{"item": "control1", "files": [{"path": "/b/1"}, {"path": "/b/2"}]}]),
        "seconds": [{"volume": 70.0}, {"clone": 3.5}],
        **more,
    }


def test_a_proof_that_goes_well() -> None:
    found = proof_volumes.record(seen())

    assert [check["name"] for check in found["checks"]] == [
        "volume", "volume changed", "volume from snapshot", "clone", "restored backup", "backup",
    ]  # fmt: skip
    assert all(check["ok"] for check in found["checks"]), proof.story(found)
    assert found["seconds"] == {"volume": 70.0, "clone": 3.5}
    assert "ok  backup: b/b/b: 2 files on control1" in proof.story(found)


def test_without_a_backup_node_there_is_no_word_of_backups() -> None:
    found = proof_volumes.record(seen(backup={}, restored={}, files={}))

    assert [check["name"] for check in found["checks"]][-1] == "clone"


@pytest.mark.parametrize(
    ("change", "name", "text"),
    [
        ({"after": {"v": {"x": NEW}, "f": {"x": NEW}, "c": {"x": OLD}}}, "volume from snapshot", "what the volume had"),
        ({"after": {"v": {"x": NEW}, "f": {"x": OLD}, "c": {"x": NEW}}}, "clone", "not what the volume had"),
        ({"after": {"v": {"x": OLD}, "f": {"x": OLD}, "c": {"x": OLD}}}, "volume changed", "sha256 aaaa"),
        ({"before": {}}, "volume", "v: on no node"),
        ({"before": {"v": {"x": OLD, "y": OLD}}}, "volume", "on x and sha256 aaaaaaaaaaaaaaaa on y"),
        ({"restored": {"r": {"x": OLD}}}, "restored backup", "not what the volume had"),
        ({"files": {"control1": []}}, "backup", "0 files on no node"),
        ({"files": {"storage1": ["/b/1"]}}, "backup", "1 files on storage1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(change: dict[str, Any], name: str, text: str) -> None:
    wrong = [check for check in proof_volumes.record(seen(**change))["checks"] if not check["ok"]]

    assert name in [check["name"] for check in wrong]
    assert any(text in check["detail"] for check in wrong)
