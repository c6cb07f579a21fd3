"""Small servers beside the work: TensorBoard over a run or a folder of a volume."""

from __future__ import annotations

import re

from django.db import transaction

from accounts.access import team_of
from accounts.actions import audit
from accounts.actor import Actor
from clusters.access import volume_for, workloads_of
from clusters.actions.apps import close_side_routes
from clusters.choices import Service
from clusters.models import Side, Volume, Workload
from portal.lib import clock, ids
from portal.lib.errors import InvalidInput, NotFound, TooMany
from portal.lib.tasks import hint_on_commit

MOST_AT_ONCE = 5
_FOLDER = re.compile(r"[^\x00-\x1f\x7f]{0,1000}")


def board_of_run(actor: Actor, run_id: str) -> Side:
    """TensorBoard over all a run has written, started if it is not there. Raises NotFound."""
    workload = workloads_of(actor).filter(public_id=run_id.replace("\0", "")[:60]).first()
    if workload is None:
        raise NotFound("There is no such run.")
    return _open(actor, workload=workload)


def board_of_volume(actor: Actor, volume_id: str, folder: str) -> Side:
    """TensorBoard over a folder of a volume. Raises NotFound, InvalidInput."""
    parts = [part for part in folder.split("/") if part]
    if not _FOLDER.fullmatch(folder) or ".." in parts:
        raise InvalidInput.of(folder="This is no folder of the volume.")
    return _open(actor, volume=volume_for(actor, volume_id), folder="/".join(parts))


@transaction.atomic
def _open(
    actor: Actor,
    *,
    workload: Workload | None = None,
    volume: Volume | None = None,
    folder: str = "",
) -> Side:
    team = team_of(actor)
    live = Side.objects.select_for_update(no_key=True).filter(team=team, ended_at__isnull=True)
    subject = {
        "service": Service.TENSORBOARD,
        "workload": workload,
        "volume": volume,
        "folder": folder,
    }
    known = live.filter(**subject).first()
    if known is not None:
        Side.objects.filter(pk=known.pk).update(used_at=clock.now())
        return known
    if live.count() >= MOST_AT_ONCE:
        raise TooMany(f"{MOST_AT_ONCE} TensorBoards of the team are open. Close one first.")
    if actor.user is None:
        raise InvalidInput("TensorBoard is opened by a person or with an API key.")
    public_id = ids.new_id("side")
    side = Side.objects.create(
        public_id=public_id,
        team=team,
        created_by=actor.user,
        external_name=f"fg-{public_id.replace('_', '-')}",
        **subject,
    )
    of = workload or volume
    audit.record(actor, "tensorboard.opened", team=team, object_id=of.public_id if of else "")
    hint_on_commit("clusters.tasks.drive_sides")
    return side


@transaction.atomic
def close_board(actor: Actor, side_id: str) -> None:
    """End it. Raises NotFound."""
    side = Side.objects.filter(
        team=team_of(actor), public_id=side_id.replace("\0", "")[:60], ended_at__isnull=True
    ).first()
    if side is None:
        raise NotFound("This TensorBoard is not open.")
    end_side(side, "Closed")
    hint_on_commit("clusters.tasks.drive_sides")


def end_side(side: Side, words: str) -> None:
    """Serve it no more; its sandbox is ended by the loop. Runs in the caller's transaction."""
    close_side_routes(side)
    Side.objects.filter(pk=side.pk, ended_at__isnull=True).update(
        ended_at=clock.now(), detail=words[:500]
    )
