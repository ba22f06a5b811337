# SPDX-License-Identifier: GPL-3.0-or-later
"""A registrar in a process of its own, with TLS on the loopback address; and a MariaDB server for it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from registrar_kit import PASSWORD

from ansible_collections.updraft.cloud.plugins.plugin_utils import ca

ROOT = Path(__file__).parents[2]
NAME = "registrar.test"


def free_port() -> int:
    """A port of the loopback address that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def certificates(folder: Path) -> None:
    """ca.pem, tls.crt and tls.key in a folder."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    certificate, key = ca.make_authority("test")
    own = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(own, hashes.SHA256())
    authority = x509.load_pem_x509_certificate(certificate.encode())
    names = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.DNSName("localhost")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(authority.not_valid_before_utc)
        .not_valid_after(authority.not_valid_after_utc)
        .add_extension(names, critical=True)
        .sign(serialization.load_pem_private_key(key.encode(), None), hashes.SHA256())
    )
    folder.joinpath("ca.pem").write_text(certificate)
    folder.joinpath("tls.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    folder.joinpath("tls.key").write_bytes(own.private_bytes(serialization.Encoding.PEM, *plain))


class Process:
    """The service as systemd would run it."""

    def __init__(self, folder: Path, **settings) -> None:
        self.folder = folder
        certificates(folder)
        self.port, self.boot_port = free_port(), free_port()
        rates = dict.fromkeys(("rate_register", "rate_poll", "rate_operator", "rate_boot"), 10**6)
        values = {
            "operator_password": PASSWORD,
            "session_key": "0123456789abcdef",
            "port": self.port,
            "boot_port": self.boot_port,
            "certificate": folder / "tls.crt",
            "key": folder / "tls.key",
            "database_file": folder / "registrar.sqlite",
            "pools": json.dumps(["community", "big"]),
            **rates,
            **settings,
        }
        self.file = folder / "settings.ini"
        self.file.write_text("[registrar]\n" + "".join(f"{name} = {value}\n" for name, value in values.items()))
        self.file.chmod(0o640)
        self.context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = [sys.executable, "-m", "updraft.registrar", "--settings", str(self.file)]
        with self.folder.joinpath("log").open("ab") as log:
            self.process = subprocess.Popen(
                words, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, stdout=log, stderr=log
            )
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.boot_port}/boot/ipxe", timeout=5)
            except urllib.error.HTTPError:
                return
            except OSError:
                assert self.process.poll() is None, self.folder.joinpath("log").read_text()
                time.sleep(0.05)
        raise AssertionError(self.folder.joinpath("log").read_text())

    def end(self, number: int = signal.SIGTERM) -> float:
        """Send it a signal and wait. Returns the seconds that took."""
        began = time.monotonic()
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(20)
        return time.monotonic() - began

    def call(self, method: str, path: str, body=None, *, operator: bool = False, at: int = 1, timeout: float = 40):
        """Status and JSON of a request from 127.0.0.`at`. Raises OSError where nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        if operator:
            headers["authorization"] = "Basic " + base64.b64encode(f"operator:{PASSWORD}".encode()).decode()
        source = (f"127.0.0.{at}", 0)
        connection = http.client.HTTPSConnection(
            "localhost", self.port, timeout=timeout, context=self.context, source_address=source
        )
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def hosts(self) -> list[dict]:
        """All machines."""
        status, found = self.call("GET", "/v1/hosts", operator=True)
        assert status == 200, found
        return found["hosts"]


@contextmanager
def registrar(folder: Path, **settings):
    """A process that runs until the end of the block."""
    process = Process(folder, **settings)
    process.start()
    try:
        yield process
    finally:
        process.end(signal.SIGKILL)


@contextmanager
def mariadb(folder: Path):
    """A server of its own with an empty database `registrar`. Yields its socket."""
    server = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/libexec")
    assert server, "mariadbd is missing: apt-get install mariadb-server-core"
    data, path = folder / "data", folder / "s"
    user = ["--user=root"] if os.geteuid() == 0 else []
    plain = [f"--datadir={data}", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=2", *user]
    installed = subprocess.run(
        ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", *plain],
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    init = folder / "init.sql"
    init.write_text("CREATE DATABASE registrar CHARACTER SET utf8mb4;\n")
    words = [server, "--no-defaults", f"--socket={path}", "--skip-networking", f"--init-file={init}", *plain]
    with folder.joinpath("log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while not path.exists():
            assert process.poll() is None and time.monotonic() < until, folder.joinpath("log").read_text()
            time.sleep(0.1)
        yield path
    finally:
        process.terminate()
        process.wait(30)
