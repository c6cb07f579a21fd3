"""What the sandbox is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

API_VERSION = "2026-10-28.endive"


@dataclass(frozen=True, slots=True)
class Settings:
    """`public_url` is where a payer's browser finds the Checkout page.

    `latency_s` is how long a write takes before it is carried out, `retry_base_s` the wait after
    the first webhook delivery that failed, both in real seconds.
    """

    state_dir: Path
    secret_key: str
    webhook_secret: str
    webhook_url: str = ""
    public_url: str = "http://127.0.0.1:12111"
    latency_s: float = 0.0
    retry_base_s: float = 1.0
