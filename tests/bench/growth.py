# SPDX-License-Identifier: GPL-3.0-or-later
"""How what something costs grows with the number of machines."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

#: For ten times as many: between what grows with their number, and what grows with its square.
GROWTH = 30


def seconds(*works: Callable[[], object]) -> list[float]:
    """Processor time of each, the best of five. They take turns: what slows the computer for a while slows them all."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(5):
        for work, times in zip(works, taken, strict=True):
            gc.collect()  # what the one before left is not counted here
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
    return [min(times) for times in taken]
