"""`manage.py build_environments`: makes the prepared environments workloads run in.

Each has a lock file in clusters/environments, some have two: for machines with NVIDIA GPUs and for
those without. It is built beside its place and takes it when whole, so a half-built one is never
used, and is built again when its lock file changes.
"""

from __future__ import annotations

import contextlib
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from clusters import recipes
from clusters.building import FOR_WHOM, BuildFailed, build
from clusters.control.inventory import refresh_pool
from clusters.models import Pool
from clusters.recipes import Kind, Recipe
from portal.lib.env import env_str


class Command(BaseCommand):
    """Builds what is missing or out of date."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Names of environments; none means all."""
        parser.add_argument("names", nargs="*")
        kinds = parser.add_mutually_exclusive_group()
        for kind, words in FOR_WHOM.items():
            kinds.add_argument(
                f"--{kind}", dest="kind", action="store_const", const=kind,
                help=f"build{words}, whatever this one has",
            )  # fmt: skip
        parser.add_argument(
            "--from", dest="folder", type=Path, default=recipes.OURS, metavar="FOLDER",
            help="lock files of your own",
        )  # fmt: skip
        parser.add_argument("--list", action="store_true", help="say what there is, build nothing")

    def handle(self, *_args: Any, names: list[str], **options: Any) -> None:
        """Build each named environment. Raises CommandError where one cannot be built."""
        known = recipes.recipes(options["folder"])
        unknown = set(names) - set(known)
        if unknown:
            raise CommandError(f"Unknown: {', '.join(unknown)}. There are: {', '.join(known)}.")
        chosen = [_choose(known[name], options["kind"]) for name in names or known]
        if options["list"]:
            for recipe in chosen:
                self.stdout.write(f"{recipe.name}: {_state(recipe)}")
            return
        os.umask(0o022)  # sandboxes read it under another uid
        built = [recipe for recipe in chosen if self._build(recipe)]
        if built:
            self._tell_pools()

    def _build(self, recipe: Recipe) -> bool:
        try:
            return build(recipe, settings.ENVIRONMENTS_DIR, self.stdout.write)
        except BuildFailed as error:
            raise CommandError(str(error)) from error

    def _tell_pools(self) -> None:
        """Let pools offer it at once; a portal that cannot be asked finds it by itself."""
        if not env_str("DATABASE_URL"):
            return
        with contextlib.suppress(DatabaseError):
            for pool in Pool.objects.filter(is_open=True):
                refresh_pool(pool)


def _choose(choices: list[Recipe], wanted: Kind | None) -> Recipe:
    built = recipes.stamp_of(settings.ENVIRONMENTS_DIR / choices[0].name)
    return recipes.choose(choices, wanted, built=built, has_driver=recipes.has_driver())


def _state(recipe: Recipe) -> str:
    stamp = recipes.stamp_of(settings.ENVIRONMENTS_DIR / recipe.name)
    if stamp == recipe.stamp:
        return "built"
    return "built from another lock file" if stamp else "not built"
