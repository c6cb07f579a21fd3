"""Keys made once for this installation and kept in `secrets.json` (mode 0600)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path

from portal.stack.errors import StackError
from portal.stack.layout import write_private

_MAKERS: dict[str, Callable[[], str]] = {
    "secret_key": lambda: secrets.token_urlsafe(48),
    "agent_token": lambda: f"fga_{secrets.token_urlsafe(32)}",
    "proxy_token": lambda: f"fgp_{secrets.token_urlsafe(32)}",
    "stripe_secret_key": lambda: f"sk_test_sandbox{secrets.token_hex(16)}",
    "stripe_webhook_secret": lambda: f"whsec_{secrets.token_hex(24)}",
}


def load_or_make(path: Path) -> dict[str, str]:
    """Every key by name; those `path` does not hold yet are made and written to it.

    Raises StackError when the file is there but is not what we wrote.
    """
    known: dict[str, str] = {}
    if path.exists():
        known = _read(path)
    missing = {name: make() for name, make in _MAKERS.items() if name not in known}
    if missing:
        known |= missing
        write_private(path, json.dumps(known, indent=2) + "\n")
    path.chmod(0o600)
    return known


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise StackError(
            f"The keys in {path} cannot be read: put the file back from a backup, or remove it "
            "to have new keys made (everybody is then signed out)."
        )
    return content
