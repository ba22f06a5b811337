# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, requests and certificates by python3-cryptography. Importing it takes seconds on a slow machine, so that
`certificates.py` imports this file only when there is something to examine or to make.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Alternatives = list[tuple[str, str]]


def fault(pem: bytes, key: bytes, authority: str, wanted: Alternatives) -> str:
    """Why a certificate cannot stay, whatever the day is; empty if it can. `wanted` are its names and addresses."""
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
    return "" if _alternatives(certificate) == wanted else "names or addresses changed"


def ends(pem: bytes) -> datetime.datetime:
    """The moment, in UTC, until which a readable certificate is valid."""
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


def _alternatives(certificate: x509.Certificate) -> Alternatives:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    names = [("DNS", name) for name in extension.get_values_for_type(x509.DNSName)]
    return sorted({*names, *(("IP", str(address)) for address in extension.get_values_for_type(x509.IPAddress))})


def words(pem: bytes) -> str:
    """A certificate as a diff shows it."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        return "not a certificate\n"
    names = "".join(f"{kind} {text}\n" for kind, text in _alternatives(certificate))
    return f"until {certificate.not_valid_after_utc:%Y-%m-%d}\nby {certificate.issuer.rfc4514_string()}\n{names}"


def issuer(authority: str) -> str:
    """The name of an authority."""
    return x509.load_pem_x509_certificate(authority.encode()).subject.rfc4514_string()


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key on the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as it is written to disk."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request(key: ec.EllipticCurvePrivateKey, names: Sequence[str]) -> str:
    """The request for a key's certificate as PEM; the first name is the common name."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()
