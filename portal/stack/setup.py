"""`python -m portal.stack.setup [--migrate] [--remember]`: the database as this code needs it.

A process of its own, so that the supervisor stays small.
"""

from __future__ import annotations

import sys

import django
from django.conf import settings
from django.core.management import call_command

from portal.stack.config import Config
from portal.stack.stamps import remember_migrated, schema_digest


def main(arguments: list[str]) -> None:
    """Migrate where asked to, with a stamp on embedded data; seed the demo where this is one."""
    django.setup()
    if "--migrate" in arguments:
        digest = schema_digest()
        call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
        if "--remember" in arguments:
            remember_migrated(Config.read().layout, digest)
    if settings.DEMO:
        call_command("seed_demo", skip_checks=True)


if __name__ == "__main__":
    main(sys.argv[1:])
