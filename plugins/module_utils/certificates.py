# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.certificates does on the target: look at certificates, make keys and requests, install.

A key is made where it is used and never leaves that machine. While its certificate is being signed it waits as
`.tls.key.pending`; a run that was cut there starts again from what is in place.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import files, trust
from ansible_collections.updraft.cloud.plugins.module_utils.files import Entry
from ansible_collections.updraft.cloud.plugins.module_utils.files_diff import describe

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

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


def due(wanted: Wanted, authority: str, renew_days: int, now: datetime.datetime | None = None) -> str:
    """Why a new certificate is needed, or an empty text."""
    pem, key = _read(wanted.path("tls.crt")), _read(wanted.path("tls.key"))
    if pem is None or key is None:
        return "there is none yet"
    if not HAS_CRYPTOGRAPHY:
        raise CertificatesError(MISSING)
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        return "what is there cannot be read"
    if certificate.public_key() != private.public_key():
        return "key and certificate are not a pair"
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))
    except (ValueError, TypeError, InvalidSignature):
        return "another authority signed it"
    if _alternatives_of(certificate) != _alternatives(wanted.names, wanted.addresses):
        return "names or addresses changed"
    left = certificate.not_valid_after_utc - (now or datetime.datetime.now(datetime.UTC))
    return f"it expires in {max(left.days, 0)} days" if left < datetime.timedelta(days=renew_days) else ""


def _alternatives_of(certificate: x509.Certificate) -> list[tuple[str, str]]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    names = extension.get_values_for_type(x509.DNSName)
    return _alternatives(names, [str(address) for address in extension.get_values_for_type(x509.IPAddress)])


def _described(wanted: Wanted) -> str:
    """What is in place, for the diff."""
    pem = _read(wanted.path("tls.crt"))
    if pem is None or not HAS_CRYPTOGRAPHY:
        return ""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        return "not a certificate\n"
    words = "".join(f"{kind} {text}\n" for kind, text in _alternatives_of(certificate))
    return f"until {certificate.not_valid_after_utc:%Y-%m-%d}\nby {certificate.issuer.rfc4514_string()}\n{words}"


def make_request(wanted: Wanted) -> str:
    """Make a new key beside the one in use, and return the request for its certificate as PEM."""
    if not HAS_CRYPTOGRAPHY:
        raise CertificatesError(MISSING)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    os.makedirs(wanted.directory, mode=0o755, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(wanted.pending)
    handle = os.open(wanted.pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(handle, "wb") as stream:
        stream.write(pem)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wanted.names[0][:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


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
            reason = due(one, authority, renew_days)
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
    issuer = "the site's authority"
    if HAS_CRYPTOGRAPHY:
        issuer = x509.load_pem_x509_certificate(authority.encode()).subject.rfc4514_string()
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
