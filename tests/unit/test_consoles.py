# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a lab's consoles when a run failed."""

from __future__ import annotations

import os
from pathlib import Path

from updraft.consoles import STARTED, told
from updraft.site import Site

PANIC = """[    1.0] harmless
[  812.4] BUG: unable to handle page fault for address: ffffb0e2c0a3f000
[  812.5] RIP: 0010:svm_vcpu_run+0x1
[  812.9] Kernel panic - not syncing: Fatal exception in interrupt
"""


def site(folder: Path, **consoles: str) -> Site:
    """A lab whose machines said this."""
    made = Site(folder, {"name": "lab"}, folder)
    for name, text in consoles.items():
        file = made.state / "machines" / name / "console.log"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    return made


def test_the_kernel_that_gave_up_is_shown_from_its_first_word_on(tmp_path: Path) -> None:
    lines = told(site(tmp_path, node1=PANIC, node2="all is well\n"), 0.0)
    assert lines[0].startswith("node1: its kernel complained (")
    assert lines[2:] == [f"  {line}" for line in PANIC.splitlines()[1:]]


def test_a_machine_that_started_again_by_itself(tmp_path: Path) -> None:
    lines = told(site(tmp_path, node1=f"{STARTED}\nABCD-EFGH\n{STARTED}\nABCD-EFGH\n", node2=STARTED), 0.0)
    assert [line.split(" (")[0] for line in lines] == ["node1: started 2 times since it was switched on"]


def test_what_was_said_before_the_run_is_not_told(tmp_path: Path) -> None:
    made = site(tmp_path, node1=PANIC)
    os.utime(made.state / "machines" / "node1" / "console.log", (1000, 1000))
    assert told(made, 2000.0) == []


def test_what_a_machine_said_last_that_cannot_be_reached(tmp_path: Path) -> None:
    made = site(tmp_path, node1="".join(f"line {number}\n" for number in range(40)), node2="all is well\n")
    os.utime(made.state / "machines" / "node1" / "console.log", (1000, 1000))
    lines = told(made, 2000.0, {"node1"})
    assert lines[0].startswith("node1 could not be reached; its console ends with (")
    assert lines[1:] == [f"  line {number}" for number in range(25, 40)]
