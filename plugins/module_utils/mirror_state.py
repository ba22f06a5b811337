# SPDX-License-Identifier: GPL-3.0-or-later
"""What a storage server remembers of its part in the mirror, kept so that a power cut leaves the old or the new."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

FOLDER = Path("/var/lib/updraft/mirror")
ROLES = ("new", "leg", "serving")


class StateError(RuntimeError):
    """The file is there but says nothing usable. It is never replaced by a guess."""


@dataclass(frozen=True, slots=True)
class State:
    """The role, and the number of changes of who serves.

    Of a leg: `complete` as the serving side told it last; `boot` the start of this computer for which that holds;
    `connected` whether the serving side was logged in when last seen, `lost_at` (unix time) when it went, `closed`
    whether it said before that it writes nothing more. Of the serving side: `alone_since`.
    """

    role: str = "new"
    generation: int = 0
    complete: bool = False
    boot: str = ""
    connected: bool = False
    lost_at: float | None = None
    closed: bool = False
    alone_since: float | None = None

    def leg(self, generation: int, boot: str, *, complete: bool) -> State:
        """Return the state of a fresh leg."""
        return State("leg", generation, complete, boot)

    def serving(self, generation: int) -> State:
        """Return the state of the one that serves."""
        return State("serving", generation, alone_since=self.alone_since if self.role == "serving" else None)

    def with_(self, **changes: object) -> State:
        """Return it with these fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


class Store:
    """The file of the state."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Name the folder; it is made on the first write."""
        self.path = folder / "state.json"

    def read(self) -> State:
        """Return the state; `new` where there is none. Raises StateError."""
        try:
            data = json.loads(self.path.read_text())
            known = {item.name for item in fields(State)}
            state = State(**{key: value for key, value in data.items() if key in known})
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise StateError(f"{self.path} cannot be read: {error}. Look who serves before you touch it") from None
        if state.role not in ROLES or not isinstance(state.generation, int):
            raise StateError(f"{self.path}: role {state.role!r}, generation {state.generation!r} is not known")
        return state

    def write(self, state: State) -> None:
        """Replace the file; it is on the disk when this returns."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, json.dumps(asdict(state), sort_keys=True).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
