# SPDX-License-Identifier: GPL-3.0-or-later
"""How what something costs grows with the number of machines."""

from __future__ import annotations

import time
from collections.abc import Callable

#: For ten times as many: between what grows with their number, and what grows with its square.
GROWTH = 20


def seconds(work: Callable[[], object]) -> float:
    """Processor time, the best of three: what else the computer does is not what is measured."""
    taken = []
    for _ in range(3):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)
