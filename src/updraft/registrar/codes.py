# SPDX-License-Identifier: GPL-3.0-or-later
"""SSH host keys and the short codes by which people compare them.

The agent (roles/node_image/files/updraft-register) has the same function; a test holds both to the same answers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct

#: Crockford's alphabet: no I, L, O, U.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 8
KEY_TYPE = "ssh-ed25519"
#: What people type for what they read.
READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})


class CodeError(ValueError):
    """Not a host key or not a code; the text says why."""


def key_blob(line: str) -> bytes:
    """The blob of a public key line, `ssh-ed25519 AAAA... [comment]`. Raises CodeError for anything else."""
    words = line.split()
    if len(words) < 2 or words[0] != KEY_TYPE:
        raise CodeError(f"a host key is '{KEY_TYPE}' and its base64")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise CodeError("the host key is not base64") from None
    head = struct.pack(">I", len(KEY_TYPE)) + KEY_TYPE.encode() + struct.pack(">I", 32)
    if not blob.startswith(head) or len(blob) != len(head) + 32:
        raise CodeError(f"the host key is not an {KEY_TYPE} key")
    return blob


def canonical_key(line: str) -> str:
    """The key line without its comment, in the one way it can be written. Raises CodeError."""
    return f"{KEY_TYPE} {base64.b64encode(key_blob(line)).decode()}"


def code_of(line: str) -> str:
    """The eight characters of a host key: the first 40 bits of its SHA-256. Raises CodeError."""
    number = int.from_bytes(hashlib.sha256(key_blob(line)).digest()[:5], "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))


def shown(code: str) -> str:
    """As people read it: XXXX-XXXX."""
    return f"{code[:4]}-{code[4:]}"


def typed(text: str) -> str:
    """The code in what a person typed. Raises CodeError."""
    code = text.strip().upper().translate(READ_AS)
    if not re.fullmatch(f"[{ALPHABET}]{{{LENGTH}}}", code):
        raise CodeError("a code is eight letters and digits, such as 4KX7-0QZM")
    return code
