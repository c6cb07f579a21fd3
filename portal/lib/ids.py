"""Public ids: a prefix that says what it is and 20 characters that sort by time."""

from __future__ import annotations

import secrets

from portal.lib import clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32, lower case


def new_id(prefix: str) -> str:
    """`job_01k...`: 48 bits of milliseconds, then 52 random bits."""
    milliseconds = int(clock.now().timestamp() * 1000)
    number = (milliseconds << 52) | secrets.randbits(52)
    characters = [_ALPHABET[(number >> shift) & 31] for shift in range(95, -1, -5)]
    return f"{prefix}_{''.join(characters)}"


def new_secret(prefix: str) -> str:
    """A bearer secret with 192 random bits."""
    return f"{prefix}_{secrets.token_urlsafe(24)}"
