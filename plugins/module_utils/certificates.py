# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.certificates does on the target: look at certificates, make keys and requests, install.

A key is made where it is used and never leaves that machine. While its certificate is being signed it waits as
`.tls.key.pending`; a run that was cut there starts again from what is in place.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import files, trust
from ansible_collections.updraft.cloud.plugins.module_utils.files import Entry
from ansible_collections.updraft.cloud.plugins.module_utils.files_diff import describe

MISSING = "python3-cryptography is not installed on this machine; add the package, then run again"


class CertificatesError(Exception):
    """The certificates cannot be brought to what is wanted; the text says why and how to cure it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate: where it goes, who may read its key, and what it is for. The first name is the common name."""

    directory: str
    owner: str
    group: str
    names: tuple[str, ...]
    addresses: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Wanted:
        """From one element of the module's list. Raises CertificatesError."""
        directory = str(given["directory"])
        if not given["names"]:
            raise CertificatesError(f"{directory}: a certificate is for at least one name")
        try:
            addresses = tuple(str(ipaddress.ip_address(text)) for text in given.get("addresses") or ())
        except ValueError as error:
            raise CertificatesError(f"{directory}: {error}") from None
        owner, group = str(given.get("owner") or "root"), str(given.get("group") or "root")
        return cls(directory, owner, group, tuple(dict.fromkeys(given["names"])), tuple(dict.fromkeys(addresses)))

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    @property
    def pending(self) -> str:
        return self.path(".tls.key.pending")

    @property
    def examined(self) -> str:
        """Where it is written down what was found good, and until when."""
        return self.path(".tls.examined")

    def words(self) -> str:
        """Names and addresses as a diff shows them."""
        return "".join(f"{kind} {text}\n" for kind, text in _alternatives(self.names, self.addresses))


@dataclass(slots=True)
class Outcome:
    """What the first round trip found and did."""

    issue: dict[str, str] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    changed_paths: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)


def _alternatives(names: Sequence[str], addresses: Sequence[str]) -> list[tuple[str, str]]:
    return sorted({("DNS", name) for name in names} | {("IP", address) for address in addresses})


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _pem() -> ModuleType:
    """What deals with keys and certificates. Raises CertificatesError where its library is missing."""
    try:
        from ansible_collections.updraft.cloud.plugins.module_utils import certificates_pem
    except ImportError:
        raise CertificatesError(MISSING) from None
    return certificates_pem


def due(
    wanted: Wanted, authority: str, renew_days: int, now: datetime.datetime | None = None, *, keep: bool = False
) -> str:
    """Why a new certificate is needed, or an empty text.

    What was found good is not examined again while key, certificate, authority and wish are the same: only the day
    counts then. `keep` lets this be written down.
    """
    pem, key = _read(wanted.path("tls.crt")), _read(wanted.path("tls.key"))
    if pem is None or key is None:
        return "there is none yet"
    sought = _alternatives(wanted.names, wanted.addresses)
    subject = hashlib.sha256(repr((pem, key, authority, sought)).encode()).hexdigest()
    ends = _examined(wanted, subject)
    if ends is None:
        reason = str(_pem().fault(pem, key, authority, sought))
        if reason:
            return reason
        ends = _pem().ends(pem)
        if keep:
            _keep(wanted, {"subject": subject, "ends": ends.isoformat()})
    left = ends - (now or datetime.datetime.now(datetime.UTC))
    return f"it expires in {max(left.days, 0)} days" if left < datetime.timedelta(days=renew_days) else ""


def _examined(wanted: Wanted, subject: str) -> datetime.datetime | None:
    """The end of a certificate that was found good, in exactly this state, by an earlier run."""
    try:
        record = json.loads(_read(wanted.examined) or b"{}")
        return datetime.datetime.fromisoformat(record["ends"]) if record["subject"] == subject else None
    except (ValueError, KeyError, TypeError):
        return None


def _keep(wanted: Wanted, record: Mapping[str, str]) -> None:
    waiting = wanted.examined + ".new"
    with open(os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as stream:
        json.dump(record, stream)
    os.replace(waiting, wanted.examined)


def _described(wanted: Wanted) -> str:
    """What is in place, for the diff."""
    pem = _read(wanted.path("tls.crt"))
    if pem is None:
        return ""
    try:
        return str(_pem().words(pem))
    except CertificatesError:
        return ""


def make_request(wanted: Wanted) -> str:
    """Make a new key beside the one in use, and return the request for its certificate as PEM."""
    made = _pem()
    key = made.new_key()
    os.makedirs(wanted.directory, mode=0o755, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(wanted.pending)
    handle = os.open(wanted.pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(handle, "wb") as stream:
        stream.write(made.key_pem(key))
    return str(made.request(key, wanted.names))


def entries(wanted: Wanted, authority: str, certificate: bytes, key: bytes) -> list[Entry]:
    """The three files of a certificate as updraft.cloud.files knows them; the key before its certificate."""
    owner, group = wanted.owner, wanted.group
    return [
        Entry(wanted.path("tls.key"), content=key, mode=0o640, owner=owner, group=group, sensitive=True),
        Entry(wanted.path("tls.crt"), content=certificate, mode=0o644, owner="root", group="root"),
        Entry(wanted.path("ca.crt"), content=authority.encode(), mode=0o644, owner="root", group="root"),
    ]


def inspect(wanted: Sequence[Wanted], authority: str, renew_days: int, *, is_trusted: bool, check: bool) -> Outcome:
    """First round trip: trust the authority, mend what needs no signature, and ask for what does.

    Raises CertificatesError, also as files.FilesError. With `check` nothing is written and no key is made.
    """
    outcome = Outcome()
    if is_trusted:
        _trust(authority, outcome, check=check)
    kept: list[Entry] = []
    for one in wanted:
        try:
            reason = due(one, authority, renew_days, keep=not check)
        except CertificatesError as error:
            if not check:
                raise
            outcome.notes.append(f"{one.directory}: {error}")
            reason = "it cannot be examined"
        if reason:
            outcome.issue[one.directory] = reason
            outcome.diff.append(_issue_diff(one, reason, authority))
        else:
            kept += entries(one, authority, _read(one.path("tls.crt")) or b"", _read(one.path("tls.key")) or b"")
    _write(kept, outcome, check=check)
    for one in wanted:
        if one.directory in outcome.issue:
            outcome.changed_paths += [one.path("tls.key"), one.path("tls.crt")]
            if not check:
                outcome.requests[one.directory] = make_request(one)
        elif not check:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(one.pending)
    return outcome


def install(wanted: Sequence[Wanted], authority: str, signed: Mapping[str, str]) -> None:
    """Second round trip: put signed certificates and their waiting keys in place, all of them together."""
    ready: list[Entry] = []
    for one in wanted:
        key = _read(one.pending)
        if key is None:
            raise CertificatesError(f"{one.pending} is gone; run again")
        ready += entries(one, authority, signed[one.directory].encode(), key)
    files.apply(files.plan(ready, check=False).changes)
    for one in wanted:
        os.unlink(one.pending)


def _write(wanted: Sequence[Entry], outcome: Outcome, *, check: bool, told: Sequence[str] | None = None) -> None:
    """Bring files to what is wanted; `told` are the paths whose difference is shown, all if None."""
    todo = files.plan(wanted, check=check)
    if not check:
        files.apply(todo.changes)
    outcome.changed_paths += todo.paths
    outcome.notes += todo.notes
    outcome.diff += [describe(change) for change in todo.changes if told is None or change.entry.path in told]


def _issue_diff(wanted: Wanted, reason: str, authority: str) -> dict[str, str]:
    try:
        issuer = _pem().issuer(authority)
    except CertificatesError:
        issuer = "the site's authority"
    header = f"{wanted.path('tls.crt')} (new: {reason})"
    after = f"new\nby {issuer}\n{wanted.words()}"
    return {"before_header": header, "after_header": header, "before": _described(wanted), "after": after}


def _trust(authority: str, outcome: Outcome, *, check: bool) -> None:
    """Have the machine's own programs trust the authority."""
    try:
        wanted = trust.entries(authority)
    except trust.TrustError as error:
        if not check:
            raise CertificatesError(str(error)) from None
        outcome.notes.append(str(error))
        wanted = [trust.last(authority)]
    _write(wanted, outcome, check=check, told=[trust.ANCHOR])
