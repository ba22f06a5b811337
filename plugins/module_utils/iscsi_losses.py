# SPDX-License-Identifier: GPL-3.0-or-later
"""Until when this machine's iSCSI targets served it, as the kernel and iscsid wrote it down in the journal.

The kernel pings a target that says nothing. When no answer comes it says since when nothing came, in its own ticks:

    connection3:0: ping timeout of 5 secs expired, recv timeout 5, last rx 4354526811, last ping 4354531840, now ...
    connection3:0: detected conn error (1022)

From `last rx` on nobody was served, which is seconds earlier than the error. Errors of another kind (1020, closed by
the target) say nothing of a silence before: there the moment of the error counts. Times are this machine's, since 1970.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_sessions import LOGGED_IN, Session, split_portal

JOURNAL = [
    "journalctl", "--boot", "--quiet", "--no-pager", "--output=json", "--output-fields=MESSAGE",
    "--grep=connection ?[0-9]+:[0-9]+", "_TRANSPORT=kernel", "+", "SYSLOG_IDENTIFIER=iscsid",
]  # fmt: skip
JOURNAL_SECONDS = 60
#: Ticks in a second that kernels are built with.
TICKS = (100, 250, 300, 1000)
#: Seconds in which what the kernel said is in the journal.
WRITTEN = 3.0
#: Seconds between the kernel's word of a silence and the error that follows from it.
FOLLOWS = 2.0

_PING = re.compile(
    r"\bconnection(\d+):\d+: ping timeout of (\d+) secs expired, .*last rx (\d+), last ping (\d+), now (\d+)"
)
_ERROR = re.compile(
    r"\bconnection(\d+):\d+: detected conn error|Kernel reported iSCSI connection (\d+):\d+ error", re.IGNORECASE
)
_AGAIN = re.compile(r"\bconnection(\d+):\d+ is operational after recovery", re.IGNORECASE)
_LOGIN = re.compile(
    r"\bconnection(\d+):\d+ to \[target: ([^,]+), portal: (.+),(\d+)\] through \[.*\] is (operational now|shutdown)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the journal, and when it was written."""

    moment: float
    text: str


@dataclass(slots=True)
class History:
    """What became of a connection. `until`: when it was served last, None while it is; `target` and `address` are
    known where the journal has its login. `operational`: whether it has been, by the journal."""

    until: float | None = None
    operational: bool = False
    target: str = ""
    address: str = ""
    silent: tuple[float, float] | None = None

    def lost(self, moment: float) -> None:
        """Take in an error. Of several in a row the first one counts: those after it are of attempts to come back."""
        if self.until is not None:
            return
        told = self.silent is not None and moment - self.silent[0] <= FOLLOWS
        self.until = self.silent[1] if told and self.silent is not None else moment


@dataclass(frozen=True, slots=True)
class Loss:
    """A session, or one that was logged out. `until`: as in History; None and not `served`: nothing is known."""

    target: str
    portal: str
    state: str
    served: bool
    until: float | None


def entries(text: str) -> list[Line]:
    """Read what journalctl wrote as JSON, a line each."""
    found = []
    for row in text.splitlines():
        try:
            entry = json.loads(row)
            message, moment = entry["MESSAGE"], int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(message, str):
            found.append(Line(moment, message))
    return found


def silence(limit: int, last_rx: int, last_ping: int, now: int) -> float:
    """The seconds for which nothing came, out of the kernel's ticks.

    How many make a second is seen by the ping, which was out for `limit` seconds at least. A timer that came late may
    look like more ticks: the silence is then told too short, never too long.
    """
    each = max((ticks for ticks in TICKS if ticks * limit <= now - last_ping), default=TICKS[-1])
    return max(0.0, (now - last_rx) / each)


def histories(lines: Iterable[Line]) -> dict[int, History]:
    """What became of each connection, by the number of its session, from the lines in their order."""
    found: dict[int, History] = {}
    for line in lines:
        _take(found, line)
    return found


def _take(found: dict[int, History], line: Line) -> None:
    if match := _PING.search(line.text):
        number, *ticks = map(int, match.groups())
        found.setdefault(number, History()).silent = line.moment, line.moment - silence(*ticks)
    elif match := _ERROR.search(line.text):
        found.setdefault(int(match.group(1) or match.group(2)), History()).lost(line.moment)
    elif match := _AGAIN.search(line.text):
        history = found.setdefault(int(match.group(1)), History())
        history.until, history.operational = None, True
    elif match := _LOGIN.search(line.text):
        number, target, address, how = int(match.group(1)), match.group(2), match.group(3).strip("[]"), match.group(5)
        before = found.pop(number, History())
        # A number is used again after a logout: what was before then is of another session.
        if how.lower() != "shutdown":
            found[number] = History(None, True, target, address)
        elif before.operational:
            found[number] = History(line.moment if before.until is None else before.until, True, target, address)


def losses(live: Sequence[Session], found: Mapping[int, History], addresses: Collection[str]) -> list[Loss]:
    """Until when the targets at these addresses served: each session that is there, and the last that was closed."""
    told = []
    for session in live:
        if session.address in addresses:
            served = session.state == LOGGED_IN
            history = found.get(session.number, History())
            told.append(Loss(session.target, session.portal, session.state, served, None if served else history.until))
    there = {session.number for session in live}
    gone = [one for number, one in found.items() if number not in there and one.address in addresses]
    ended = [(one.until, one) for one in gone if one.until is not None]
    if ended:
        until, last = max(ended, key=lambda pair: pair[0])
        told.append(Loss(last.target, last.address, "gone", False, until))
    return told


def addresses_of(portals: Iterable[str]) -> set[str]:
    """The addresses of portals, which are `address` or `address:port`."""
    return {split_portal(portal)[0] for portal in portals}


def read_journal() -> list[Line]:
    """What kernel and iscsid wrote about connections since this machine was started. Raises DisksError."""
    try:
        done = subprocess.run(JOURNAL, capture_output=True, text=True, timeout=JOURNAL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DisksError(f"the journal cannot be read: {error}") from None
    # Nothing found is an exit code of its own, without a word.
    if done.returncode and done.stderr.strip():
        raise DisksError(f"the journal cannot be read: {done.stderr.strip()}")
    return entries(done.stdout)


def wait_for_loss(
    look: Callable[[], list[Session]],
    addresses: Collection[str],
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Session]:
    """Look at the sessions until none at these addresses is served, `seconds` at most; what was seen last."""
    end = time.monotonic() + seconds
    while True:
        live = look()
        served = any(one.address in addresses and one.state == LOGGED_IN for one in live)
        if not served or time.monotonic() >= end:
            return live
        sleep(0.5)


def ask(
    addresses: Collection[str],
    seconds: float,
    look: Callable[[], list[Session]],
    read: Callable[[], list[Line]] = read_journal,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Loss]:
    """What is known when nobody is served any more, or after `seconds`. Raises DisksError."""
    live = wait_for_loss(look, addresses, seconds, sleep)
    end = time.monotonic() + WRITTEN
    while True:
        found = losses(live, histories(read()), addresses)
        if all(one.served or one.until is not None for one in found) or time.monotonic() >= end:
            return found
        sleep(0.5)
