#!/usr/bin/env python3
"""Django's command-line entry."""

import os
import sys

if __name__ == "__main__":
    if sys.argv[1:] == ["up"]:
        # The supervisor needs nothing of Django: without it, it starts at once and stays small.
        from portal.stack.up import main

        sys.exit(main())
    from django.core.management import execute_from_command_line

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    execute_from_command_line(sys.argv)
