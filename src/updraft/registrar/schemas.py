# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be sent. Everything has a limit, and nothing holds control characters: it is shown to people."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from . import codes

MAC = r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$"
NAME = r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
WORD = r"^[a-z][a-z0-9_-]{0,31}$"
#: No machine has one of these of its own.
NOBODY = re.compile(r"^(00(:00){5}|ff(:ff){5})$")


def _plain(text: str) -> str:
    if any(not character.isprintable() for character in text):
        raise ValueError("control characters are not allowed")
    return " ".join(text.split())


def _mac(text: str) -> str:
    if NOBODY.match(text) or int(text[:2], 16) & 1:
        raise ValueError("not the address of one interface")
    return text


Text64 = Annotated[str, Field(max_length=64), AfterValidator(_plain)]
Text128 = Annotated[str, Field(max_length=128), AfterValidator(_plain)]
Mac = Annotated[str, Field(pattern=MAC), AfterValidator(_mac)]
Name = Annotated[str, Field(pattern=NAME, max_length=63)]
Word = Annotated[str, Field(pattern=WORD)]


class Strict(BaseModel):
    """Unknown keys are an error, and a text is no number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Disk(Strict):
    """A disk of a machine."""

    name: Text64
    size_gib: float = Field(ge=0, le=1e8)
    model: Text128 = ""
    rotational: bool | None = None
    serial: Text128 = ""


class Nic(Strict):
    """A network interface of a machine."""

    name: Text64
    mac: Annotated[str, Field(pattern=MAC)]
    speed_mbit: int | None = Field(default=None, ge=-1, le=10_000_000)
    link: bool | None = None


class Hardware(Strict):
    """What a machine is made of."""

    vendor: Text128 = ""
    product: Text128 = ""
    cpus: int = Field(default=0, ge=0, le=100_000)
    cpu_model: Text128 = ""
    memory_mib: int = Field(default=0, ge=0, le=2**40)
    disks: list[Disk] = Field(default=[], max_length=256)
    nics: list[Nic] = Field(default=[], max_length=256)


class Registration(Strict):
    """What a machine tells of itself."""

    machine_id: str = Field(default="", pattern=r"^[0-9a-f]{0,64}$")
    serial: Text128 = ""
    uuid: str = Field(default="", pattern=r"^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$")
    macs: list[Mac] = Field(min_length=1, max_length=128)
    boot_mac: Mac
    firmware: Literal["bios", "uefi"]
    host_key: str = Field(max_length=1024)
    image: str = Field(default="", pattern=r"^[A-Za-z0-9._+~:-]{0,100}$")
    boot_token: str | None = Field(default=None, max_length=128)
    hardware: Hardware = Hardware()

    @field_validator("host_key")
    @classmethod
    def _key(cls, line: str) -> str:
        return codes.canonical_key(line)

    @field_validator("macs")
    @classmethod
    def _macs(cls, macs: list[str]) -> list[str]:
        return sorted(set(macs))

    def model_post_init(self, _context: Any) -> None:
        """The boot MAC is one of the machine's."""
        if self.boot_mac not in self.macs:
            raise ValueError("boot_mac: is none of macs")


class Waiting(BaseModel):
    """The answer to a registration. `id` is the handle for GET /v1/nodes/{id}."""

    id: str
    state: str
    code: str
    wait: int


class NodeState(BaseModel):
    """What a machine may know of itself."""

    state: str
    name: str | None
    message: str


class Approval(Strict):
    """Which code, and what the machine becomes."""

    code: str = Field(max_length=32)
    name: Name
    pool: Word
    roles: list[Word] | None = Field(default=None, min_length=1, max_length=16)


class Wanted(Strict):
    """A state to set."""

    state: Literal["approved", "ready", "in_service", "away", "retired"]


class Progress(Strict):
    """How far a machine's rollout is."""

    stage: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_plain)]
    percent: float | None = Field(default=None, ge=0, le=100)
    status: Literal["running", "ok", "failed"]
    message: Annotated[str, Field(max_length=2000)] = ""


class AlarmOut(BaseModel):
    """Something refused."""

    id: int
    kind: str
    subject: str
    address: str
    host: str | None
    message: str
    count: int
    first: str
    last: str


class HostOut(BaseModel):
    """A machine as operators see it. Times are ISO 8601 in UTC."""

    id: int
    code: str
    name: str | None
    pool: str | None
    roles: list[str]
    state: str
    kept_state: str = Field(description="The state without regard to silence.")
    returns_as: str | None = Field(description="The name of the host which this waiting machine was.")
    address: str
    mac: str
    macs: list[str]
    serial: str
    uuid: str
    machine_id: str
    host_key: str
    hardware: Hardware
    image: str
    firmware: str
    first_seen: str
    last_seen: str
    alarms: list[str]
    progress: dict[str, Any] | None


class Hosts(BaseModel):
    """All machines and what was refused."""

    hosts: list[HostOut]
    alarms: list[AlarmOut]


def canonical_uuid(uuid: str) -> str:
    """One form for both byte orders in which firmware and kernels print the same UUID; empty for none.

    SMBIOS before 2.6 wrote the first three fields the other way round, and readers differ in what they assume.
    """
    text = uuid.lower().replace("-", "")
    if len(text) != 32 or not text.strip("0") or not text.strip("f"):
        return ""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return ""
    swapped = raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
    return min(raw, swapped).hex()


def canonical_serial(serial: str) -> str:
    """A serial number without what readers differ in."""
    return " ".join(serial.split()).casefold()
