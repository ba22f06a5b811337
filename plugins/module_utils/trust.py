# SPDX-License-Identifier: GPL-3.0-or-later
"""Have all programs of a Debian machine trust one more authority.

It does what update-ca-certificates would do for this one authority, and leaves what that would make the same later. The
program itself takes minutes in an emulated machine, and two of its runs, as after a cut connection, spoil the bundle.
"""

from __future__ import annotations

import os
import re
import subprocess

from ansible_collections.updraft.cloud.plugins.module_utils.files import Entry

ANCHOR = "/usr/local/share/ca-certificates/updraft.crt"
STORE = "/etc/ssl/certs"
BUNDLE = "ca-certificates.crt"
LINK = "updraft.pem"
BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")


class TrustError(Exception):
    """The machine has no store of authorities; the text says what is missing."""


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def blocks(text: str) -> list[str]:
    """The certificates of a PEM text, each with its lines joined by single newlines, none twice."""
    return list(dict.fromkeys("\n".join(block.split("\n")).replace("\r", "") for block in BLOCK.findall(text)))


def renewed_bundle(bundle: str, authority: str, previous: str | None) -> str:
    """The bundle with the authority, and without the one that stood in its place before."""
    new, old = blocks(authority), blocks(previous or "")
    there = blocks(bundle)
    is_right = all(block in there for block in new) and not any(block in there for block in old if block not in new)
    if is_right:
        return bundle
    kept = [block for block in there if block not in old and block not in new]
    return "".join(f"{block}\n" for block in kept + new)


def subject_hash(authority: str) -> str:
    """The name by which OpenSSL looks for an authority in a directory."""
    command = ["openssl", "x509", "-noout", "-subject_hash"]
    try:
        done = subprocess.run(command, input=authority, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise TrustError("openssl is not on this machine; add the package, then run again") from None
    if done.returncode:
        raise TrustError(f"`{' '.join(command)}` gave {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def hash_links(store: str) -> list[str]:
    """Names in the store by which OpenSSL finds our authority."""
    found = []
    for name in os.listdir(store):
        path = os.path.join(store, name)
        if HASHED.fullmatch(name) and os.path.islink(path) and os.readlink(path) == LINK:
            found.append(name)
    return sorted(found)


def entries(authority: str, *, anchor: str = ANCHOR, store: str = STORE) -> list[Entry]:
    """The files that make it trusted, for updraft.cloud.files.

    The anchor comes last: as long as it is the old one, a run that was cut knows what else is to go. Raises TrustError
    where the machine lacks the package ca-certificates.
    """
    authority = "\n".join(blocks(authority)) + "\n"
    bundle, previous = _text(f"{store}/{BUNDLE}"), _text(anchor)
    if bundle is None:
        cure = "add the package ca-certificates, then run again"
        raise TrustError(f"{store}/{BUNDLE} is not on this machine; {cure}")
    content = renewed_bundle(bundle, authority, previous).encode(errors="surrogateescape")
    links = hash_links(store)
    is_hashed = previous == authority and len(links) == 1
    wanted = links[0] if is_hashed else _free_name(store, subject_hash(authority))
    gone = [Entry(f"{store}/{name}", "absent") for name in links if name != wanted]
    return [
        *gone,
        Entry(f"{store}/{BUNDLE}", content=content, mode=0o644, owner="root", group="root"),
        Entry(f"{store}/{LINK}", "link", target=anchor),
        Entry(f"{store}/{wanted}", "link", target=LINK),
        last(authority, anchor),
    ]


def last(authority: str, anchor: str = ANCHOR) -> Entry:
    """The anchor itself."""
    content = ("\n".join(blocks(authority)) + "\n").encode()
    return Entry(anchor, content=content, mode=0o644, owner="root", group="root")


def _free_name(store: str, hashed: str) -> str:
    """The first name of this hash which is free or ours."""
    number = 0
    while True:
        path = f"{store}/{hashed}.{number}"
        if not os.path.lexists(path) or (os.path.islink(path) and os.readlink(path) == LINK):
            return f"{hashed}.{number}"
        number += 1
