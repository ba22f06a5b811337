# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.units: the plan from states and stamps, and the probes against real listeners."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import units, units_ready, units_run
from ansible_collections.updraft.cloud.plugins.module_utils.units import Status, Unit, plan

RUNS = Status(load="loaded", active="active", sub="running", file="enabled", type="notify")
STAMP = {"definition": {"/usr/lib/systemd/system/a.service": "1"}, "depends": {"/etc/a": "2"}}


def status(**changes: Any) -> Status:
    fields = {name: getattr(RUNS, name) for name in Status.__dataclass_fields__}
    return Status(**{**fields, **changes})


def unit(**given: Any) -> Unit:
    return Unit.of({"name": "a", "depends": ["/etc/a"], **given})


def stamp(**changes: str) -> dict[str, dict[str, str]]:
    return {part: {path: changes.get(part, value) for path, value in files.items()} for part, files in STAMP.items()}


@pytest.mark.parametrize(
    ("now", "before", "operations"),
    [
        pytest.param(RUNS, STAMP, (), id="as wanted"),
        pytest.param(status(active="inactive"), STAMP, ("start",), id="stopped"),
        pytest.param(status(active="failed"), STAMP, ("start",), id="failed"),
        pytest.param(status(active="deactivating"), STAMP, ("start",), id="stopping"),
        pytest.param(status(active="activating", sub="auto-restart"), STAMP, (), id="restarting by itself"),
        pytest.param(RUNS, None, ("restart",), id="never started from here"),
        pytest.param(RUNS, stamp(depends="other"), ("restart",), id="configuration changed"),
        pytest.param(RUNS, stamp(definition="other"), ("restart",), id="unit file changed"),
        pytest.param(RUNS, {"definition": STAMP["definition"], "depends": {}}, ("restart",), id="new dependency"),
        pytest.param(status(stale=True), STAMP, ("restart",), id="daemon-reload is due"),
        pytest.param(status(file="disabled"), STAMP, ("enable",), id="disabled"),
        pytest.param(status(file="static"), STAMP, (), id="static"),
        pytest.param(status(file=""), STAMP, (), id="without a unit file"),
        pytest.param(
            status(file="masked", load="masked", active="inactive"), None, ("unmask", "enable", "start"), id="masked"
        ),
        pytest.param(Status(), None, ("enable", "start"), id="does not exist yet"),
    ],
)
def test_a_unit_that_is_to_run(now: Status, before: Any, operations: tuple[str, ...]) -> None:
    assert plan(unit(), now, STAMP, before).operations == operations


def test_reload_is_for_configuration_only() -> None:
    assert plan(unit(reload=True), RUNS, STAMP, stamp(depends="x")).operations == ("reload",)
    assert plan(unit(reload=True), RUNS, STAMP, stamp(definition="x")).operations == ("restart",)
    assert plan(unit(reload=True), RUNS, STAMP, None).operations == ("restart",)


@pytest.mark.parametrize(
    ("given", "now", "operations"),
    [
        ({}, RUNS, ("disable", "stop")),
        ({}, status(active="inactive", file="disabled"), ()),
        ({}, status(active="failed", file="disabled"), ()),
        ({}, Status(), ()),
        ({"enabled": True}, RUNS, ("stop",)),
        ({"masked": True}, RUNS, ("mask", "stop")),
        ({"masked": True}, Status(), ("mask",)),
        ({"masked": True}, status(active="inactive", file="masked"), ()),
    ],
)
def test_a_unit_that_is_not_to_run(given: dict[str, Any], now: Status, operations: tuple[str, ...]) -> None:
    assert plan(unit(state="stopped", **given), now, STAMP, None).operations == operations


def test_a_oneshot_runs_again_when_its_content_differs() -> None:
    done = status(type="oneshot", active="inactive")
    assert plan(unit(), done, STAMP, STAMP).operations == ()
    assert plan(unit(), done, STAMP, stamp(depends="x")).operations == ("restart",)
    assert plan(unit(), done, STAMP, None).operations == ("start",)
    assert plan(unit(), status(type="oneshot", active="failed", result="exit-code"), STAMP, STAMP).operations == (
        "start",
    )


@pytest.mark.parametrize(
    ("coming", "operations"),
    [
        (["/etc/a/x.conf"], ("restart",)),
        (["/etc/a"], ("restart",)),
        (["/etc/ab"], ()),
        (["/etc/systemd/system/a.service.d/x.conf"], ("restart",)),
        (["/etc/systemd/system/b.service"], ()),
    ],
)
def test_check_mode_counts_what_earlier_tasks_would_change(coming: list[str], operations: tuple[str, ...]) -> None:
    assert plan(unit(), RUNS, STAMP, STAMP, coming).operations == operations


def test_the_reason_names_the_path() -> None:
    assert plan(unit(), RUNS, STAMP, stamp(depends="x")).reason == "changed: /etc/a"


def test_a_masked_unit_cannot_be_started() -> None:
    with pytest.raises(ValueError, match="a masked unit cannot be started"):
        unit(masked=True)


@pytest.mark.parametrize(
    ("name", "full"),
    [("a", "a.service"), ("a.timer", "a.timer"), ("a@x.y", "a@x.y.service"), ("dbus.socket", "dbus.socket")],
)
def test_a_name_without_a_type_is_a_service(name: str, full: str) -> None:
    assert units.with_suffix(name) == full


def test_what_systemd_shows_is_read_in_order() -> None:
    text = (
        "Type=notify\nRemainAfterExit=no\nNRestarts=2\nResult=success\nLoadState=loaded\nActiveState=active\n"
        "SubState=running\nUnitFileState=enabled\nJob=17\nNeedDaemonReload=yes\n\n"
        "LoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\nNeedDaemonReload=no\n"
    )
    shown = units.parse_show(text, ["a.service", "b.timer"])
    assert shown["a.service"] == status(job=True, stale=True, restarts=2)
    assert not shown["b.timer"].exists
    with pytest.raises(ValueError, match="2 units of 3"):
        units.parse_show(text, ["a", "b", "c"])


class TestStamps:
    """Content, and nothing but content, makes a stamp."""

    def test_definition_is_found_as_systemd_does(self, tmp_path: Path) -> None:
        for path in (
            "usr/lib/systemd/system/a@.service",
            "etc/systemd/system/a@.service",
            "etc/systemd/system/a@.service.d/20-x.conf",
            "usr/lib/systemd/system/a@.service.d/20-x.conf",
            "usr/lib/systemd/system/a@1.service.d/10-y.conf",
            "etc/systemd/system/a@1.service.d/notes.txt",
        ):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(path)
        assert units.definition("a@1.service", str(tmp_path)) == [
            "/etc/systemd/system/a@.service",
            "/usr/lib/systemd/system/a@1.service.d/10-y.conf",
            "/etc/systemd/system/a@.service.d/20-x.conf",
        ]

    def test_content_counts_and_times_do_not(self, tmp_path: Path) -> None:
        (tmp_path / "etc/a/sub").mkdir(parents=True)
        (tmp_path / "etc/a/sub/x").write_text("1")
        (tmp_path / "etc/a/.x.updraft").write_text("waiting")
        first = units.fingerprints(["/etc/a", "/etc/gone"], str(tmp_path))
        assert sorted(first) == ["/etc/a/sub/x", "/etc/gone"]
        (tmp_path / "etc/a/sub/x").write_text("1")
        (tmp_path / "etc/a/sub/x").chmod(0o600)
        assert units.fingerprints(["/etc/a", "/etc/gone"], str(tmp_path)) == first
        (tmp_path / "etc/a/sub/x").write_text("2")
        assert units.fingerprints(["/etc/a", "/etc/gone"], str(tmp_path)) != first

    def test_lists_of_two_roles_leave_each_other_s_paths(self, tmp_path: Path) -> None:
        """Else each list would find the other's stamp, and restart the unit at every run."""
        (tmp_path / "etc/a").mkdir(parents=True)
        for name in ("etc/a/x", "etc/a/y", "etc/hook"):
            (tmp_path / name).write_text("1")
        first, second = unit(), unit(depends=["/etc/hook"])
        before = None
        for one in (first, second):
            before = units.stamp_of(one, before, str(tmp_path))
        for one in (first, second):
            now = units.stamp_of(one, before, str(tmp_path))
            assert plan(one, RUNS, now, before).operations == ()

        (tmp_path / "etc/hook").write_text("2")
        assert plan(first, RUNS, units.stamp_of(first, before, str(tmp_path)), before).operations == ()
        step = plan(second, RUNS, units.stamp_of(second, before, str(tmp_path)), before)
        assert (step.operations, step.reason) == (("restart",), "changed: /etc/hook")
        (tmp_path / "etc/a/y").unlink()
        step = plan(first, RUNS, units.stamp_of(first, before, str(tmp_path)), before)
        assert (step.operations, step.reason) == (("restart",), "changed: /etc/a/y")

    def test_a_stamp_is_kept_and_a_broken_one_counts_as_none(self, tmp_path: Path) -> None:
        folder = str(tmp_path / "stamps")
        assert units.read_stamp("a.service", folder) is None
        units.write_stamp("a.service", STAMP, folder)
        assert units.read_stamp("a.service", folder) == STAMP
        assert (tmp_path / "stamps").stat().st_mode & 0o777 == 0o700
        (tmp_path / "stamps/a.service.json").write_text("{half")
        assert units.read_stamp("a.service", folder) is None
        units.drop_stamp("a.service", folder)
        units.drop_stamp("a.service", folder)
        assert list((tmp_path / "stamps").iterdir()) == []


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/").split("?")[0] or 200))
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


class TestProbes:
    """Each kind of readiness, against the real thing."""

    def test_tcp(self, web: str, closed: str) -> None:
        assert units_ready.probe({"tcp": web}) == ""
        assert "refused" in units_ready.probe({"tcp": closed})
        assert "write host:port" in units_ready.probe({"tcp": "5000"})

    def test_http(self, web: str, closed: str) -> None:
        assert units_ready.probe({"http": f"http://{web}/"}) == ""
        assert units_ready.probe({"http": f"http://{web}/300?a=b", "status": [200, 300]}) == ""
        assert units_ready.probe({"http": f"http://{web}/503"}) == f"http://{web}/503: answered 503"
        assert "refused" in units_ready.probe({"http": f"http://{closed}/"})
        assert units_ready.probe({"http": f"https://{web}/"}) != ""

    def test_path(self, tmp_path: Path) -> None:
        assert units_ready.probe({"path": str(tmp_path)}) == ""
        assert "does not exist" in units_ready.probe({"path": f"{tmp_path}/x"})

    def test_command(self) -> None:
        assert units_ready.probe({"command": ["true"]}) == ""
        assert units_ready.probe({"command": ["sh", "-c", "echo no >&2; exit 3"]}) == (
            "`sh -c echo no >&2; exit 3` gave 3: no"
        )
        assert "did not end within 0 s" in units_ready.probe_command(["sleep", "5"], 0.1)
        assert "No such file" in units_ready.probe({"command": ["no-such-program-here"]})

    def test_all_of_several_have_to_hold(self, web: str, tmp_path: Path) -> None:
        assert units_ready.probe({"tcp": web, "path": str(tmp_path), "command": ["true"]}) == ""
        assert units_ready.probe({"tcp": web, "path": f"{tmp_path}/x", "command": ["true"]}) != ""

    def test_what_is_waited_for_is_told_in_words(self) -> None:
        assert units_ready.describe({"tcp": "a:1", "path": "/x"}) == "a listener on a:1 and /x to exist"
        assert units_ready.describe({"http": "http://a", "status": [200, 300]}) == "200 or 300 from http://a"
        assert units_ready.describe({}) == "it to be active"


def test_the_end_of_a_log_is_shown(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"line {n}\n" for n in range(100)))
    assert units_run.tail(f"{tmp_path}/log").splitlines() == [f"line {n}" for n in range(75, 100)]
    assert units_run.tail(f"{tmp_path}/none") == "(No such file or directory)"


def test_old_init_scripts_are_left_alone() -> None:
    # Each that is enabled, too, makes systemd read all its units again.
    assert units_run.call("sh", "-c", "echo $SYSTEMCTL_SKIP_SYSV") == (0, "1\n", "")


def test_definitions_are_read_again_once_and_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(units_run, "call", lambda *words, **_: called.append(words) or (0, "", ""))
    steps = [
        units.Step(units.Unit("a.service"), ("unmask", "enable", "start")),
        units.Step(units.Unit("b.service", state="stopped", masked=True), ("stop", "mask")),
    ]
    units_run.act(steps)
    words = [" ".join(one) for one in called]
    assert words.count("systemctl daemon-reload") == 1
    assert all("--no-reload" in line for line in words if " enable " in line or "mask " in line)
    assert words.index("systemctl daemon-reload") < words.index("systemctl start --no-block a.service")


def test_stale_definitions_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(units_run, "call", lambda *words, **_: called.append(words) or (0, "", ""))
    units_run.act([], stale=True)
    assert called == [("systemctl", "daemon-reload")]


def test_the_diff_has_a_line_for_each_unit_that_something_is_done_to() -> None:
    steps = [
        plan(unit(), RUNS, STAMP, stamp(depends="x")),
        plan(unit(), RUNS, STAMP, STAMP),
        plan(unit(), status(file="disabled"), STAMP, STAMP),
    ]
    assert units_run.diff_of(steps) == {
        "prepared": "a.service: restart (changed: /etc/a)\na.service: enable\n",
    }


def test_what_goes_with_http_alone_is_no_readiness_by_itself() -> None:
    assert unit(ready={"tcp": None, "http": None, "status": [200], "command": None}).ready == {}


DISABLED = status(file="disabled")


@pytest.mark.parametrize(
    ("now", "before", "operations"),
    [
        pytest.param(DISABLED, STAMP, (), id="runs"),
        pytest.param(status(active="inactive", file="disabled"), None, (), id="was never started"),
        pytest.param(status(active="inactive", file="disabled"), stamp(depends="other"), (), id="does not run"),
        pytest.param(status(active="failed", file="disabled"), STAMP, (), id="failed"),
        pytest.param(status(active="deactivating", file="disabled"), STAMP, (), id="is being stopped"),
        pytest.param(DISABLED, stamp(depends="other"), ("restart",), id="configuration changed"),
        pytest.param(DISABLED, None, ("restart",), id="nobody knows what it was started with"),
        pytest.param(status(active="inactive"), None, ("disable",), id="its package enabled it"),
    ],
)
def test_a_unit_that_somebody_else_starts_and_stops(now: Status, before: Any, operations: tuple[str, ...]) -> None:
    assert plan(unit(state="kept"), now, STAMP, before).operations == operations


@pytest.mark.parametrize(
    ("operations", "now", "outcome"),
    [
        pytest.param((), {"active": "inactive"}, "as wanted", id="does not run"),
        pytest.param((), {"active": "failed"}, "as wanted", id="failed, which is for its master to mend"),
        pytest.param((), {}, "as wanted", id="runs"),
        pytest.param(("restart",), {"active": "inactive"}, "as wanted", id="stopped meanwhile"),
        pytest.param(("restart",), {"active": "failed", "result": "exit-code"}, "failed", id="its settings"),
        pytest.param(("restart",), {"active": "activating"}, "waits", id="starts"),
    ],
)  # fmt: skip
def test_what_is_awaited_of_a_unit_that_somebody_else_starts(
    monkeypatch: pytest.MonkeyPatch, operations: tuple[str, ...], now: dict[str, Any], outcome: str
) -> None:
    kept = unit(state="kept", ready={"path": "/is/not/there"} if now.get("active") == "inactive" else None)
    monkeypatch.setattr(units_run, "show", lambda names: {name: status(file="disabled", **now) for name in names})
    watch = units_run.Watch([units.Step(kept, operations)])

    done = watch.look()

    assert (done == [kept], bool(watch.failed), bool(watch.waiting)) == {
        "as wanted": (True, False, False),
        "failed": (False, True, True),
        "waits": (False, False, True),
    }[outcome]


def test_a_masked_unit_cannot_be_left_to_somebody_else() -> None:
    with pytest.raises(ValueError, match="a masked unit cannot be started"):
        unit(state="kept", masked=True)


def test_what_a_path_or_a_timer_starts_has_to_be_known_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert units_run.triggered(["a.path", "b.timer", "b.service", "c.socket", "d.service"]) == [
        "a.service",
        "c.service",
    ]
    told = {"a.path": "no", "a.service": "yes"}
    called: list[str] = []

    def call(*words: str, **_: object) -> tuple[int, str, str]:
        called.append(" ".join(words[:2]))
        names = words[words.index("--") + 1 :] if "--" in words else ()
        text = "LoadState=loaded\nActiveState=active\nSubState=waiting\nUnitFileState=enabled\nNeedDaemonReload="
        return 0, "\n\n".join(f"{text}{told[name]}\n" for name in names), ""

    monkeypatch.setattr(units_run, "call", call)
    unit = units.Unit("a.path")
    monkeypatch.setattr(units, "read_stamp", lambda _name: units.stamp_of(unit))
    steps = units_run.reconcile([unit], timeout=5, coming=(), check=False)
    assert [step.operations for step in steps] == [()]
    assert called.count("systemctl daemon-reload") == 1
