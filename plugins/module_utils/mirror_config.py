# SPDX-License-Identifier: GPL-3.0-or-later
"""What a storage server is told about its mirror: /etc/updraft/mirror.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = Path("/etc/updraft/mirror.json")
#: In the name of every target which Updraft makes.
OWN = ":updraft."


class ConfigError(ValueError):
    """The file lacks something; the text says what."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other server of the mirror."""

    name: str
    initiator: str
    target: str
    address: str
    management: str


@dataclass(frozen=True, slots=True)
class Address:
    """An address on which the volumes are served; it is on one server at a time."""

    address: str
    prefix: int
    interface: str

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A thin volume that the model wants."""

    name: str
    size_gib: int


@dataclass(frozen=True, slots=True)
class Config:
    """One server's part of the mirror. Pair i of `disks` and of the peer's disks is array i."""

    self_name: str
    first: bool
    initiator: str
    disks: tuple[str, ...]
    arrays: tuple[str, ...]
    leg_target: str
    leg_address: str
    peer: Peer
    chap: Mapping[str, str]
    group: str
    thin_pool: str = ""
    service: tuple[Address, ...] = ()
    volumes: tuple[Wanted, ...] = ()
    targets: tuple[Mapping[str, Any], ...] = ()
    units: tuple[str, ...] = ()
    wipe: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """Targets whose name starts so are Updraft's."""
        head, mark, _ = self.leg_target.partition(OWN)
        return head + mark


def load(path: Path = CONFIG) -> Config:
    """Read the file. Raises ConfigError."""
    try:
        return parse(json.loads(path.read_text()))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): the role storage_mirror writes it") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse(data: Mapping[str, Any]) -> Config:
    """Return the configuration. Raises ConfigError with every problem."""
    try:
        config = Config(
            self_name=data["self"],
            first=bool(data["first"]),
            initiator=data["initiator"],
            disks=tuple(data["disks"]),
            arrays=tuple(data["arrays"]),
            leg_target=data["leg"]["target"],
            leg_address=data["leg"]["address"],
            peer=Peer(**{key: data["peer"][key] for key in Peer.__dataclass_fields__}),
            chap=dict(data["chap"]),
            group=data["group"],
            thin_pool=data.get("thin_pool") or "",
            service=tuple(Address(i["address"], int(i["prefix"]), i["interface"]) for i in data.get("service") or ()),
            volumes=tuple(Wanted(item["name"], int(item["size_gib"])) for item in data.get("volumes") or ()),
            targets=tuple(data.get("targets") or ()),
            units=tuple(data.get("units") or ()),
            wipe=tuple(data.get("wipe") or ()),
        )
    except (KeyError, TypeError) as error:
        raise ConfigError(f"the key {error} is missing or has the wrong form") from None
    problems = _problems(config)
    if problems:
        raise ConfigError("; ".join(problems))
    return config


def _problems(config: Config) -> Sequence[str]:
    problems = []
    if not config.disks or len(config.disks) != len(config.arrays):
        problems.append(f"{len(config.disks)} disks for {len(config.arrays)} arrays: one disk each is needed")
    if OWN not in config.leg_target:
        problems.append(f"the target's name {config.leg_target} does not hold '{OWN}'")
    missing = [key for key in ("user", "password", "mutual_user", "mutual_password") if not config.chap.get(key)]
    if missing:
        problems.append(f"chap lacks {', '.join(missing)}: a leg is never exported without mutual CHAP")
    if config.peer.address == config.leg_address or config.peer.initiator == config.initiator:
        problems.append("the peer has this server's own address or initiator name")
    return problems
