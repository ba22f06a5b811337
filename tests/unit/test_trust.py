# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine trusts the site's authority: found by OpenSSL in the bundle and by its hash, in a store of real files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import files, trust
from ansible_collections.updraft.cloud.plugins.plugin_utils.ca import make_authority

ONE, _ = make_authority("Updraft one")
TWO, _ = make_authority("Updraft two")
OLD, _ = make_authority("Of the system")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs/ca-certificates.crt").write_text(OLD)
    (tmp_path / "certs/0badcafe.0").symlink_to("of-the-system.pem")
    return tmp_path / "certs"


def make(store: Path, authority: str) -> list[str]:
    entries = trust.entries(authority, anchor=f"{store.parent}/updraft.crt", store=str(store))
    todo = files.plan(entries, check=False)
    files.apply(todo.changes)
    return todo.paths


def finds(store: Path, authority: str, *how: str) -> bool:
    (store.parent / "asked").write_text(authority)
    command = ["openssl", "verify", "-no-CAfile", "-no-CApath", "-no-CAstore", *how, f"{store.parent}/asked"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def by_both(store: Path, authority: str) -> tuple[bool, bool]:
    bundle = ("-CAfile", f"{store}/ca-certificates.crt")
    return finds(store, authority, *bundle), finds(store, authority, "-CApath", str(store))


def test_openssl_finds_it_in_the_bundle_and_by_its_hash(store: Path) -> None:
    assert by_both(store, ONE) == (False, False)
    assert len(make(store, ONE)) == 4
    assert by_both(store, ONE) == (True, True)
    assert by_both(store, OLD)[0]
    assert make(store, ONE) == []


def test_another_authority_takes_its_place(store: Path) -> None:
    make(store, ONE)
    make(store, TWO)
    assert by_both(store, TWO) == (True, True)
    assert by_both(store, ONE) == (False, False)
    assert by_both(store, OLD)[0]
    assert make(store, TWO) == []
    assert (store / "0badcafe.0").is_symlink()


def test_a_run_that_was_cut_still_knows_what_has_to_go(store: Path) -> None:
    make(store, ONE)
    entries = trust.entries(TWO, anchor=f"{store.parent}/updraft.crt", store=str(store))
    files.apply(files.plan(entries[:-1], check=False).changes)
    make(store, TWO)
    assert by_both(store, ONE) == (False, False)
    assert by_both(store, TWO) == (True, True)


def test_a_bundle_that_was_made_anew_gets_it_again(store: Path) -> None:
    make(store, ONE)
    (store / "ca-certificates.crt").write_text(OLD)
    assert make(store, ONE) == [f"{store}/ca-certificates.crt"]


def test_a_name_that_is_taken_is_left_alone(store: Path) -> None:
    taken = store / f"{trust.subject_hash(ONE)}.0"
    (store / "another.pem").write_text(OLD)
    taken.symlink_to("another.pem")
    make(store, ONE)
    assert str(taken.readlink()) == "another.pem"
    assert by_both(store, ONE) == (True, True)
    assert make(store, ONE) == []


def test_without_the_package_the_cure_is_told(store: Path) -> None:
    shutil.rmtree(store)
    with pytest.raises(trust.TrustError, match="add the package ca-certificates"):
        make(store, ONE)


def test_a_certificate_twice_in_the_bundle_stays_once(store: Path) -> None:
    (store / "ca-certificates.crt").write_text(OLD + OLD)
    make(store, ONE)
    assert (store / "ca-certificates.crt").read_text() == OLD + ONE
