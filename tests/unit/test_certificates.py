# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's authority and the certificates of a machine: real keys, checked by OpenSSL and by a TLS handshake."""

from __future__ import annotations

import datetime
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.updraft.cloud.plugins.module_utils import certificates
from ansible_collections.updraft.cloud.plugins.module_utils.certificates import CertificatesError, Outcome, Wanted
from ansible_collections.updraft.cloud.plugins.module_utils.files import FilesError
from ansible_collections.updraft.cloud.plugins.plugin_utils.ca import Authority, AuthorityError, make_authority

CERTIFICATE, KEY = make_authority("Updraft test")
OTHER, OTHER_KEY = make_authority("Updraft other")


def want(root: Path, names: Sequence[str] = ("a.example", "localhost"), group: str = "0") -> Wanted:
    return Wanted.of(
        {"directory": str(root / "tls"), "owner": "0", "group": group, "names": names, "addresses": ["127.0.0.1"]}
    )


def look(wanted: Wanted, authority: str = CERTIFICATE, *, check: bool = False, renew: int = 30) -> Outcome:
    return certificates.inspect([wanted], authority, renew, is_trusted=False, check=check)


def sign(wanted: Wanted, outcome: Outcome, *, days: int = 90, by: tuple[str, str] = (CERTIFICATE, KEY)) -> None:
    authority = Authority(*by)
    signed = {
        directory: authority.sign(request, wanted.names, wanted.addresses, days)
        for directory, request in outcome.requests.items()
    }
    certificates.install([wanted], by[0], signed)


@pytest.fixture
def there(tmp_path: Path) -> Wanted:
    """A certificate that is as wanted."""
    wanted = want(tmp_path)
    sign(wanted, look(wanted))
    return wanted


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without python3-cryptography."""
    name = "certificates_pem"
    package = sys.modules[certificates.__name__.rpartition(".")[0]]
    monkeypatch.setitem(sys.modules, f"{package.__name__}.{name}", None)
    monkeypatch.delattr(package, name, raising=False)


class TestExamined:
    """What was found good is not examined again: the library, seconds to import on a slow machine, is not needed."""

    def test_the_library_is_not_needed_for_what_is_the_same(
        self, there: Wanted, request: pytest.FixtureRequest
    ) -> None:
        look(there)
        request.getfixturevalue("without_library")
        assert look(there).issue == {}
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=61)
        assert certificates.due(there, CERTIFICATE, 30, later) == "it expires in 28 days"

    @pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
    def test_what_became_another_is_examined(self, there: Wanted, name: str) -> None:
        look(there)
        with Path(there.path(name)).open("ab") as stream:
            stream.write(b"x")
            stream.seek(0)
            stream.truncate()
        assert look(there).issue == {there.directory: "what is there cannot be read"}

    def test_another_authority_or_other_names_are_noticed(self, there: Wanted, tmp_path: Path) -> None:
        look(there)
        assert look(there, OTHER).issue == {there.directory: "another authority signed it"}
        assert look(want(tmp_path, ["b.example"])).issue == {there.directory: "names or addresses changed"}

    def test_a_record_that_makes_no_sense_counts_for_nothing(self, there: Wanted) -> None:
        for text in ("", "[]", '{"subject": 1}', "{"):
            Path(there.examined).write_text(text)
            assert look(there).issue == {}

    def test_check_mode_writes_none(self, there: Wanted) -> None:
        look(there, check=True)
        assert not Path(there.examined).exists()


def test_first_a_request_then_three_files_then_nothing(tmp_path: Path) -> None:
    wanted = want(tmp_path)
    outcome = look(wanted)
    assert outcome.issue == {wanted.directory: "there is none yet"}
    assert [path.name for path in Path(wanted.directory).iterdir()] == [".tls.key.pending"]
    sign(wanted, outcome)
    modes = {path.name: path.stat().st_mode & 0o777 for path in Path(wanted.directory).iterdir()}
    assert modes == {"tls.key": 0o640, "tls.crt": 0o644, "ca.crt": 0o644}
    again = look(wanted)
    assert (again.issue, again.requests, again.changed_paths, again.diff) == ({}, {}, [], [])


def test_openssl_accepts_it_for_servers_and_clients(there: Wanted) -> None:
    for purpose in ("sslserver", "sslclient"):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", "a.example"]
        command += ["-CAfile", there.path("ca.crt"), there.path("tls.crt")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "accepted"), [("localhost", True), ("127.0.0.1", True), ("b.example", False)])
def test_a_handshake_in_which_both_sides_show_it(there: Wanted, name: str, accepted: bool) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=there.path("ca.crt"))
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=there.path("ca.crt"))
    for context in (server, client):
        context.load_cert_chain(there.path("tls.crt"), there.path("tls.key"))
    left, right = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(left, server_side=True) as stream:
                stream.sendall(b"hello")
        except OSError:
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=name) as stream:
            assert accepted
            assert stream.recv(5) == b"hello"
    except ssl.SSLCertVerificationError:
        assert not accepted
    finally:
        right.close()
        thread.join(10)


class TestRenewal:
    """When a certificate is replaced, and that the reason is told."""

    def test_before_it_expires(self, there: Wanted) -> None:
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=61)
        assert certificates.due(there, CERTIFICATE, 30, later) == "it expires in 28 days"
        assert certificates.due(there, CERTIFICATE, 28, later) == ""
        assert certificates.due(there, CERTIFICATE, 0, later + datetime.timedelta(days=400)) == "it expires in 0 days"

    def test_other_names(self, there: Wanted, tmp_path: Path) -> None:
        wanted = want(tmp_path, ["a.example", "localhost", "more.example"])
        outcome = look(wanted)
        assert outcome.issue == {wanted.directory: "names or addresses changed"}
        sign(wanted, outcome)
        assert look(wanted).issue == {}

    def test_the_order_of_names_does_not_matter(self, there: Wanted, tmp_path: Path) -> None:
        assert look(want(tmp_path, ["localhost", "a.example"])).issue == {}

    def test_another_authority(self, there: Wanted) -> None:
        outcome = look(there, OTHER)
        assert outcome.issue == {there.directory: "another authority signed it"}
        sign(there, outcome, by=(OTHER, OTHER_KEY))
        assert look(there, OTHER).issue == {}
        assert Path(there.path("ca.crt")).read_text() == OTHER

    def test_an_authority_of_the_same_name_is_another(self, there: Wanted) -> None:
        namesake, _key = make_authority("Updraft test")
        assert look(there, namesake).issue == {there.directory: "another authority signed it"}

    def test_a_key_that_does_not_fit(self, there: Wanted, tmp_path: Path) -> None:
        other = Wanted.of({"directory": str(tmp_path / "other"), "owner": "0", "group": "0", "names": ["x"]})
        sign(other, look(other))
        Path(there.path("tls.key")).write_bytes(Path(other.path("tls.key")).read_bytes())
        assert look(there).issue == {there.directory: "key and certificate are not a pair"}

    def test_rubbish(self, there: Wanted) -> None:
        Path(there.path("tls.crt")).write_text("-----BEGIN CERTIFICATE-----\nno\n")
        assert look(there).issue == {there.directory: "what is there cannot be read"}

    def test_the_key_is_new_each_time(self, there: Wanted) -> None:
        before = Path(there.path("tls.key")).read_text()
        sign(there, look(there, renew=365))
        assert Path(there.path("tls.key")).read_text() != before


class TestCut:
    """A run that was cut between request and certificate."""

    def test_the_old_pair_stays_in_use_until_the_new_one_is_whole(self, there: Wanted) -> None:
        before = Path(there.path("tls.crt")).read_text()
        look(there, renew=365)
        assert Path(there.path("tls.crt")).read_text() == before
        assert certificates.due(there, CERTIFICATE, 30) == ""

    def test_what_it_left_is_cleared(self, there: Wanted) -> None:
        look(there, renew=365)
        look(there)
        assert not Path(there.pending).exists()

    def test_the_next_run_starts_again(self, tmp_path: Path) -> None:
        wanted = want(tmp_path)
        look(wanted)
        sign(wanted, look(wanted))
        assert look(wanted).issue == {}


class TestCheckMode:
    """The plan, without a key being made."""

    def test_nothing_is_written(self, tmp_path: Path) -> None:
        outcome = look(want(tmp_path), check=True)
        assert outcome.issue == {f"{tmp_path}/tls": "there is none yet"}
        assert outcome.requests == {}
        assert list(tmp_path.iterdir()) == []
        assert "DNS a.example\nDNS localhost\nIP 127.0.0.1\n" in outcome.diff[0]["after"]

    def test_where_the_library_is_not_there_yet(self, there: Wanted, without_library: None) -> None:
        outcome = look(there, check=True)
        assert outcome.issue == {there.directory: "it cannot be examined"}
        assert "python3-cryptography is not installed" in outcome.notes[0]
        with pytest.raises(CertificatesError, match="python3-cryptography is not installed"):
            look(there)

    def test_where_the_group_is_not_there_yet(self, there: Wanted, tmp_path: Path) -> None:
        wanted = want(tmp_path, group="no-such-group-here")
        outcome = look(wanted, check=True)
        assert outcome.changed_paths == [there.path("tls.key")]
        assert "no-such-group-here does not exist yet" in outcome.notes[0]
        with pytest.raises(FilesError, match="no-such-group-here does not exist"):
            look(wanted)


def test_mode_and_authority_file_are_mended_without_a_new_certificate(there: Wanted) -> None:
    Path(there.path("tls.key")).chmod(0o644)
    Path(there.path("ca.crt")).unlink()
    outcome = look(there)
    assert outcome.issue == {}
    assert outcome.changed_paths == [there.path("tls.key"), there.path("ca.crt")]
    assert look(there).changed_paths == []


def test_keys_are_in_no_diff(there: Wanted) -> None:
    key = "".join(Path(there.path("tls.key")).read_text().splitlines()[1:-1])
    Path(there.path("tls.key")).chmod(0o644)
    assert key[:20] not in str(look(there).diff)


class TestAuthority:
    """What it signs, what it refuses, and that its words never hold a key."""

    def test_it_certifies_what_the_controller_says_and_not_what_the_request_says(self, tmp_path: Path) -> None:
        (request,) = look(want(tmp_path, ["evil.example"])).requests.values()
        text = Authority(CERTIFICATE, KEY).sign(request, ["good.example"], ["10.0.0.1"], 10)
        certificate = x509.load_pem_x509_certificate(text.encode())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["good.example"]
        assert "evil" not in certificate.subject.rfc4514_string()

    def test_it_signs_nothing_that_outlives_it(self, tmp_path: Path) -> None:
        short = make_authority("short", days=5)
        (request,) = look(want(tmp_path)).requests.values()
        text = Authority(*short).sign(request, ["a"], [], 365)
        assert Authority(*short).days_left == 5
        left = x509.load_pem_x509_certificate(text.encode()).not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        assert left <= datetime.timedelta(days=5)

    @pytest.mark.parametrize(
        ("certificate", "key", "text"),
        [
            ("", KEY, "certificate cannot be read"),
            (CERTIFICATE, "", "key cannot be read"),
            (CERTIFICATE, KEY[:-60], "key cannot be read"),
            (CERTIFICATE, OTHER_KEY, "does not belong to its certificate"),
        ],
    )
    def test_a_pair_that_is_none(self, certificate: str, key: str, text: str) -> None:
        with pytest.raises(AuthorityError, match=text) as caught:
            Authority(certificate, key)
        assert caught.value.__cause__ is None or "PRIVATE" not in str(caught.value.__cause__)
        assert not key or key.splitlines()[1] not in str(caught.value)

    def test_it_is_one(self, tmp_path: Path) -> None:
        (tmp_path / "ca").write_text(CERTIFICATE)
        command = ["openssl", "verify", "-x509_strict", "-CAfile", f"{tmp_path}/ca", f"{tmp_path}/ca"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("given", [{"names": []}, {"names": ["a"], "addresses": ["10.0.0.300"]}])
def test_what_a_task_may_not_ask_for(given: dict[str, object]) -> None:
    with pytest.raises(CertificatesError, match="/x"):
        Wanted.of({"directory": "/x", **given})
