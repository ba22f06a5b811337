# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks really run, on this computer: progress, failure in full, a hang, an interruption, an orphan."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from updraft.display import PlainDisplay
from updraft.records import new_record
from updraft.report import StageResult
from updraft.runner import HUNG, INTERRUPTED, MARKER, Session, Stage, end_orphans, orphans, run_stage
from updraft.site import Site

PLAY = """\
- name: Try
  hosts: all
  gather_facts: false
  tasks:
    - name: Change
      ansible.builtin.copy:
        content: "there\\n"
        dest: "{{ playbook_dir }}/{{ inventory_hostname }}"
        mode: "0600"
    - name: Fail
      ansible.builtin.fail:
        msg: "{{ inventory_hostname }} has no disk"
      when: inventory_hostname == "two"
    - name: Wait
      ansible.builtin.command: "sleep {{ pause | default(0) }}"
      changed_when: false
"""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    (tmp_path / "ansible.cfg").write_text("[defaults]\ninterpreter_python = /usr/bin/python3\n")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {one: {}, two: {}}, vars: {ansible_connection: local}}\n")
    (tmp_path / "try.yml").write_text(PLAY)
    site = Site(tmp_path / "hosts.yml", {"name": "test"}, tmp_path)
    site.make_state()
    record = new_record(site.state / "artifacts", ["run", "test"], str(tmp_path / "try.yml"), [])
    return Session(site, PlainDisplay(io.StringIO()), record)


def play(session: Session, *arguments: str, limit: float = 60) -> StageResult:
    return run_stage(session, Stage("try", session.site.root / "try.yml", arguments, warn=1, limit=limit))


def shown(session: Session) -> str:
    assert isinstance(session.display, PlainDisplay)
    stream = session.display._stream
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_a_failure_is_counted_told_and_kept(session: Session) -> None:
    result = play(session)
    assert (result.status, result.code) == ("failed", 2)
    assert (result.hosts["one"].changed, result.hosts["one"].failed) == (1, 0)
    assert (result.hosts["two"].changed, result.hosts["two"].failed) == (1, 1)
    assert [(failure.host, failure.message) for failure in result.failures] == [("two", "two has no disk")]
    assert "one: Change: changed" in shown(session)
    assert (Path(str(result.artifacts)) / "stdout").is_file()
    again = play(session, "--limit", "one")
    assert (again.status, again.changed, again.artifacts) == ("ok", 0, str(session.record.folder / "try-2"))


def test_what_ansible_itself_refuses_is_told(session: Session) -> None:
    result = play(session, "--limit", "nobody")
    assert result.status == "failed"
    assert "nobody" in str(result.reason)


def test_a_hang_is_said_and_ended(session: Session) -> None:
    began = time.monotonic()
    result = play(session, "--limit", "one", "-e", "pause=600", limit=8)
    assert (result.status, result.code) == ("hung", HUNG)
    assert time.monotonic() - began < 600
    assert "try: nothing ended for" in shown(session)
    assert "waiting for one: Wait" in shown(session)
    assert orphans(session.site.state) == []


def test_a_signal_ends_the_playbook_in_order(session: Session) -> None:
    threading.Timer(5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with session.signals():
        result = play(session, "--limit", "one", "-e", "pause=600")
    assert (result.status, result.code) == ("interrupted", INTERRUPTED)
    assert orphans(session.site.state) == []


def test_an_orphan_of_this_site_is_ended_and_nothing_else(session: Session, tmp_path: Path) -> None:
    script = tmp_path / "ansible-playbook"
    script.write_text("#!/bin/sh\nsleep 600\n")
    script.chmod(0o755)
    ours = subprocess.Popen([str(script)], env={**os.environ, MARKER: str(session.site.state)})
    machine = subprocess.Popen(["sleep", "600"], env={**os.environ, MARKER: str(session.site.state)})
    others = subprocess.Popen([str(script)], env={**os.environ, MARKER: "/elsewhere"})
    try:
        time.sleep(0.2)
        assert orphans(session.site.state) == [ours.pid]
        threading.Timer(0.5, ours.wait).start()
        assert end_orphans(session.site.state) == [ours.pid]
        assert ours.wait(5) != 0
        assert machine.poll() is None
        assert others.poll() is None
    finally:
        for process in (machine, others):
            process.kill()
            process.wait()
