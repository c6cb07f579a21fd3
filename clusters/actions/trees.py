"""From a volume's row to its open folder."""

from __future__ import annotations

import logging

from clusters.backends.base import BackendUnavailable
from clusters.backends.capabilities import Volumes
from clusters.backends.registry import backend
from clusters.files.refusals import speaking
from clusters.files.tree import Tree
from clusters.models import Volume
from portal.lib.errors import NotFound, Unavailable

logger = logging.getLogger(__name__)


def keeper(name: str) -> Volumes | None:
    """The engine of this name where it keeps volumes, None where it does not or is not there."""
    try:
        found = backend(name)
    except BackendUnavailable:
        return None
    return found if isinstance(found, Volumes) else None


def open_tree(volume: Volume) -> Tree:
    """The open folder of a volume, made where it was not needed before.

    Raises NotFound for a volume that was removed, Unavailable where its storage does not answer.
    """
    engine = keeper(volume.backend)
    if engine is None:
        raise Unavailable("The storage of this volume cannot be reached just now.")
    try:
        owner = engine.volume_owner(volume.team_id)
        path = engine.volume_path(volume.public_id)
        try:
            return Tree(path, owner)
        except FileNotFoundError:
            ensure_folder(engine, volume)
        with speaking(""):
            return Tree(path, owner)
    except BackendUnavailable as error:
        raise Unavailable("The storage of this volume does not answer just now.") from error


def ensure_folder(engine: Volumes, volume: Volume) -> None:
    """Have the folder made. Raises NotFound for a volume that was removed, BackendUnavailable."""
    engine.make_volume(volume.public_id, team_number=volume.team_id)
    # Who removed it meanwhile may have erased it already, and must not find it back.
    if not Volume.objects.filter(pk=volume.pk, removed_at__isnull=True).exists():
        engine.erase_volume(volume.public_id)
        raise NotFound("There is no such volume.")
