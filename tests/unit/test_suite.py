# SPDX-License-Identifier: GPL-3.0-or-later
"""The test command itself: it counts, it fails when nothing was checked, and its comparisons find faults."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from updraft.site import ROOT, Refusal
from updraft.testing import live, static, storage, suite
from updraft.testing.base import Check, Context, Failed, Skipped, Verdict


def good(_context: Context) -> str:
    return "fine"


def bad(_context: Context) -> str:
    raise Failed("first line\nsecond line")


def absent(_context: Context) -> str:
    raise Skipped("no lab here")


def dependent(context: Context) -> str:
    context.need("bad")
    return "never"


def end(capsys: pytest.CaptureFixture[str], tmp_path: Path, *checks: Check) -> tuple[int, list[str]]:
    code = suite._run(checks, Context(ROOT, tmp_path))
    return code, capsys.readouterr().out.splitlines()


def test_all_are_made_and_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    checks = [Check("good", "", good), Check("bad", "", bad), Check("late", "", dependent), Check("no", "", absent)]
    code, lines = end(capsys, tmp_path, *checks)
    assert code == 1
    assert lines[-1] == "1 passed, 1 failed, 2 skipped"
    assert "failed: bad: first line" in lines
    assert "skipped: late: it builds on bad, which did not pass" in lines


def test_the_end_says_again_what_failed_and_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def shows(context: Context) -> str:
        return context.command(["sh", "-c", "seq 100; exit 1"], limit=60, show=True)

    code, lines = end(
        capsys, tmp_path, Check("a", "", absent), Check("b", "", bad), Check("c", "", absent), Check("d", "", shows)
    )
    assert code == 1
    last = lines[lines.index("skipped: a, c: no lab here") :]
    assert last[1:4] == ["failed: b: first line", "    second line", "failed: d: sh ended with exit code 1"]
    assert last[4:-1] == [f"    {number}" for number in range(101 - suite.LAST_LINES, 101)]


def test_nothing_made_is_a_failure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, lines = end(capsys, tmp_path, Check("no", "", absent))
    assert (code, lines[-1]) == (1, "0 passed, 0 failed, 1 skipped")


def test_good_is_good(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert end(capsys, tmp_path, Check("good", "", good))[0] == 0


def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(Refusal, match="no check 'nosuch': there are good"):
        suite.run(list_only=False, only=["nosuch"], every=[Check("good", "", good)])


def test_what_takes_long_is_made_when_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "_context", lambda: Context(ROOT, tmp_path))
    every = [Check("good", "", good), Check("slow", "", bad, long=True)]

    assert suite.run(list_only=False, only=[], every=every) == 0
    assert "skipped: slow: it takes long: --long makes it" in capsys.readouterr().out
    assert suite.run(list_only=False, only=[], long=True, every=every) == 1
    assert suite.run(list_only=False, only=["slow"], every=every) == 1


def test_names_are_unique() -> None:
    names = [check.name for check in suite.checks()]
    assert len(names) == len(set(names))


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    context = Context(ROOT, tmp_path, current="slow")
    with pytest.raises(Failed, match=r"took longer than 1 s\nbegun"):
        context.command(["sh", "-c", "echo begun; sleep 60"], limit=1)


def test_an_interrupt_ends_what_runs(tmp_path: Path) -> None:
    context = Context(ROOT, tmp_path, current="slow")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    threading.Timer(1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        context.command(["sh", "-c", "echo $$; exec sleep 600"], limit=60)
    signal.signal(signal.SIGINT, before)
    number = context.log.read_text().splitlines()[1]
    assert not Path(f"/proc/{number}").exists()


def test_a_command_that_fails_shows_its_end(tmp_path: Path) -> None:
    context = Context(ROOT, tmp_path, current="broken")
    with pytest.raises(Failed, match=r"exit code 3\nwhy"):
        context.command(["sh", "-c", "echo why; exit 3"], limit=10)
    assert context.log.read_text().endswith("why\n")


def role(folder: Path, specs: str, defaults: str) -> Path:
    made = folder / "storage"
    for name, text in (("meta/argument_specs.yml", specs), ("defaults/main.yml", defaults)):
        (made / name).parent.mkdir(parents=True)
        (made / name).write_text(text)
    return made


def test_specs_and_defaults_that_differ_are_named(tmp_path: Path) -> None:
    specs = "argument_specs: {main: {options: {storage_a: {}, storage_b: {required: true}, storage_c: {}, other: {}}}}"
    made = role(tmp_path, specs, "storage_a: 1\nstorage_b: 2\nstorage_d: 3\nother: 4\n")
    assert static.argument_faults(made) == [
        "storage: storage_d has a default and no spec",
        "storage: storage_c has a spec and no default",
        "storage: storage_b is required and has a default",
        "storage: other does not carry the role's name",
    ]


def test_locked_packages_of_other_systems_do_not_count(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(
        "a==1 \\\n    --hash=x\nb==2 ; sys_platform == 'win32' \\\nc==3 ; python_version < '4' \\\n# d==4\n"
    )
    assert list(static._locked(lock)) == [("a", "1"), ("c", "3")]


def test_modules_of_collections_are_seen(tmp_path: Path) -> None:
    tasks = tmp_path / "roles" / "x" / "tasks" / "main.yml"
    tasks.parent.mkdir(parents=True)
    tasks.write_text("- name: a\n  ansible.posix.sysctl:\n    name: b\n- community.general.modprobe: {name: c}\n")
    assert list(static._collections_used(tmp_path)) == ["ansible.posix", "community.general"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look everywhere")
def test_secrets_that_lie_open_are_found(tmp_path: Path) -> None:
    """The script that looks for secrets on the lab's machines finds a readable one, and only that."""
    patterns = "".join(f"{number:032x}\n" for number in (1, 2))
    readable, private = tmp_path / "open", tmp_path / "private"
    for folder in (tmp_path, *tmp_path.parents[:-2]):  # pytest's own folders are closed to others
        folder.chmod(0o755)
    readable.write_text(f"password = {1:032x}\n")
    private.write_text(f"password = {2:032x}\n")
    private.chmod(0o600)
    words = ["bash", str(live.SEEK), str(tmp_path)]
    run = subprocess.run(words, input=patterns, capture_output=True, text=True, check=True)
    assert f"file {readable}" in run.stdout.splitlines()
    assert str(private) not in run.stdout


def test_secret_values_leave_out_names_and_the_public_certificate() -> None:
    tree = {
        "ca_certificate": "public" * 9,
        "ca_key": "begin\nmiddle\nend",
        "chap": {"user": "updraft", "password": "x" * 16},
    }
    assert dict(live._flat(tree)) == {"ca_key": "middle", "chap.password": "x" * 16}


def _sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *found: dict[str, list[str]], changed: int = 0) -> str:
    """The check of a second run, where the nodes have these sessions before and after it."""
    told = list(found)
    monkeypatch.setattr(storage, "sessions", lambda _context, _inventory: told.pop(0))
    monkeypatch.setattr(storage, "updraft", lambda *_words, **_more: "")
    monkeypatch.setattr(storage, "found", lambda _lab, _name: {"changed": changed})
    return storage.second_run(Context(ROOT, tmp_path), "inventories/lab-mirror")


def test_a_second_run_keeps_the_sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one, other = {"node1": ["session1 LOGGED_IN a"]}, {"node1": ["session2 LOGGED_IN a"]}
    assert "sessions as before: node1 1" in _sessions(monkeypatch, tmp_path, one, one)
    with pytest.raises(Failed, match="sessions before the second run"):
        _sessions(monkeypatch, tmp_path, one, other)
    with pytest.raises(Failed, match="sessions before the second run"):
        _sessions(monkeypatch, tmp_path, {"node1": []}, {"node1": []})
    with pytest.raises(Failed, match="changed something"):
        _sessions(monkeypatch, tmp_path, one, one, changed=1)


def test_a_slow_computer_skips_what_it_has_no_time_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "_context", lambda: Context(ROOT, tmp_path))
    every = [
        Check("quick", "", good),
        Check("fits", "", good, minutes=suite.MINUTES - 1),
        Check("slow", "", bad, minutes=suite.MINUTES + 1),
    ]

    assert suite.run(list_only=False, only=[], every=every) == 0
    told = capsys.readouterr().out
    assert "skipped: slow: it may take 81 minutes, and this computer was too slow before" in told
    assert told.splitlines()[-1] == "2 passed, 0 failed, 1 skipped"
    assert suite.run(list_only=False, only=["slow"], every=every) == 1


@pytest.mark.parametrize(
    ("verdict", "reason"), [("skipped", "there is no such lab"), ("failed", "lab --inventory lab status")]
)
def test_only_a_lab_that_was_made_is_taken_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, reason: str
) -> None:
    tmp_path.joinpath("updraft-lab").touch()  # the namespace of another checkout's lab looks the same
    monkeypatch.setattr(live, "NAMESPACES", tmp_path)
    with pytest.raises(Skipped, match=reason):
        live.taken_down(Context(ROOT, tmp_path, {"lab-up": verdict}), "lab", ["lab-up"])
