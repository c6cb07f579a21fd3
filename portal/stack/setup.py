"""`python -m portal.stack.setup [--migrate]`: bring the database up to this code and seed it.

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
    """Migrate where asked to, then seed the demo where this installation is one."""
    django.setup()
    if "--migrate" in arguments:
        digest = schema_digest()
        call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
        config = Config.read()
        # The stamp lies with the embedded data; `up` looks at it only where that is in use.
        remember_migrated(config.layout, digest)
    if settings.DEMO:
        call_command("seed_demo", skip_checks=True)


if __name__ == "__main__":
    main(sys.argv[1:])
