# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's certificate authority, on the controller: make it, and sign what the machines ask for.

The authority's key is only ever in the memory of the controller; machines send requests (CSR) and get certificates.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
# Clocks of machines that were just switched on may be behind.
BACKDATED = datetime.timedelta(days=1)


class AuthorityError(Exception):
    """The authority cannot be used, or a request is not what it should be. Never holds a key."""


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def make_authority(common_name: str, days: int = AUTHORITY_DAYS) -> tuple[str, str]:
    """Make a new authority, ECDSA on P-256. Returns its certificate and its key as PEM (PKCS#8, not encrypted)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = _now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


class Authority:
    """An authority which signs. Raises AuthorityError where certificate and key are not a pair."""

    def __init__(self, certificate: str, key: str) -> None:
        try:
            self.certificate = x509.load_pem_x509_certificate(certificate.encode())
        except ValueError as error:
            raise AuthorityError("the authority's certificate cannot be read: it has to be PEM") from error
        try:
            private = serialization.load_pem_private_key(key.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The parser's own words may quote the key.
            raise AuthorityError("the authority's key cannot be read: it has to be PEM without a password") from None
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise AuthorityError("the authority's key is not an elliptic curve key")
        if private.public_key() != self.certificate.public_key():
            raise AuthorityError("the authority's key does not belong to its certificate")
        self._key = private

    @property
    def days_left(self) -> int:
        """Whole days until the authority itself expires."""
        return (self.certificate.not_valid_after_utc - _now()).days

    def sign(self, request: str, names: Sequence[str], addresses: Sequence[str], days: int) -> str:
        """Sign a request (PEM) for these names and addresses, good for server and client; returns PEM.

        Only the key is taken from the request: what it is certified for is the controller's word alone.
        """
        csr = x509.load_pem_x509_csr(request.encode())
        public = csr.public_key()
        if not csr.is_signature_valid or not isinstance(public, ec.EllipticCurvePublicKey):
            raise AuthorityError("a request is not signed by the elliptic curve key it is for")
        now = _now()
        until = min(now + datetime.timedelta(days=days), self.certificate.not_valid_after_utc)
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(usages, critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()
