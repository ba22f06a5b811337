# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of the registrar's own: boot tokens, handles of conversations, signed values."""

from __future__ import annotations

import hashlib
import hmac
import secrets

#: 128 bits.
SIZE = 16
#: Hexadecimal digits: a token goes through iPXE and a kernel command line.
TOKEN_PATTERN = r"^[0-9a-f]{32}$"


def new_token() -> str:
    """A random token of 128 bits as 32 hexadecimal digits."""
    return secrets.token_hex(SIZE)


def digest(token: str) -> str:
    """How a token or handle is stored. It has 128 random bits, so a plain SHA-256 cannot be turned back."""
    return hashlib.sha256(token.encode()).hexdigest()


def sign(key: str, purpose: str, value: str) -> str:
    """A signature of a value, which holds for one purpose only."""
    return hmac.new(key.encode(), f"{purpose}\0{value}".encode(), hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare without telling by time how much is right."""
    return hmac.compare_digest(hashlib.sha256(one.encode()).digest(), hashlib.sha256(other.encode()).digest())
