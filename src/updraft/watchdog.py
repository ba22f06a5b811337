# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a run that works from one that hangs. Pure: times come from the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["fine", "warn", "expired"]


@dataclass(slots=True)
class Watchdog:
    """Measures the silence of a run: no task began or ended anywhere.

    One task may be silent for long on purpose (an image is built, a cloud is proved), so the
    warning only says what is being waited for; `limit` is what ends the run.
    """

    warn: float  # seconds of silence until the first warning
    limit: float  # seconds of silence until the run is ended
    heard: float = 0.0
    warned: float = 0.0

    def touch(self, now: float) -> None:
        """Something happened."""
        self.heard = now
        self.warned = 0.0

    def silence(self, now: float) -> float:
        """Seconds since something happened."""
        return now - self.heard

    def check(self, now: float) -> Verdict:
        """`expired` past the limit; `warn` once at the first warning and again each time the silence doubled."""
        silent = self.silence(now)
        if silent >= self.limit:
            return "expired"
        if silent >= max(self.warn, 2 * self.warned):
            self.warned = silent
            return "warn"
        return "fine"
