# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether KVM is usable: what the output of the probe's guest means, and the record of the answer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import kvm, kvm_record, machine_facts

CPUINFO = "processor : 0\nflags\t\t: fpu {} sse2\nbugs : svm_leak\n"


@pytest.mark.parametrize(("flag", "module"), [("svm", "kvm_amd"), ("vmx", "kvm_intel"), ("x", None)])
def test_the_module_follows_from_the_processor(flag: str, module: str | None) -> None:
    assert kvm.kernel_module(CPUINFO.format(flag)) == module


@pytest.mark.parametrize(
    ("output", "ended", "limit", "usable", "reason"),
    [
        (f"...\n{kvm.MARK}\n", False, 9, True, "a guest started"),
        ("KVM internal error. Suberror: 1\nextra data", False, 9, False, "KVM internal error. Suberror: 1"),
        ("Could not access KVM kernel module: Permission denied\n", True, 9, False, "Permission denied"),
        ("qemu: no such machine\n", True, 9, False, "no such machine"),
        ("SeaBIOS", False, 0, False, "in time"),
        ("", True, 9, False, "no output"),
    ],
)
def test_what_the_output_means(output: str, ended: bool, limit: float, usable: bool, reason: str) -> None:
    answer = kvm.judge(output, ended, limit)
    assert answer is not None
    assert answer.usable is usable
    assert reason in answer.reason
    assert answer.virtualization == ("kvm" if usable else "qemu")


def test_a_guest_on_its_way_is_waited_for() -> None:
    assert kvm.judge("SeaBIOS", False, 5) is None


def test_a_guest_that_hangs_is_ended_at_the_limit() -> None:
    answer = kvm.run_probe([sys.executable, "-c", "import time; time.sleep(60)"], 0.5)
    assert not answer.usable
    assert answer.seconds < 60


def test_the_record_holds_for_the_same_kernel_only(tmp_path: Path) -> None:
    record = tmp_path / "run/kvm.json"
    kvm_record.write_cache(record, "6.12", kvm_record.Answer(True, "yes", 3.5))
    assert kvm_record.read_cache(record, "6.12") == kvm_record.Answer(True, "yes", 3.5)
    assert kvm_record.read_cache(record, "6.13") is None
    assert machine_facts.virtualization(record, "6.12") == "kvm"
    assert machine_facts.virtualization(record, "6.13") == ""
    record.write_text("cut off")
    assert kvm_record.read_cache(record, "6.12") is None
