"""Celery's view of the control loop: a hint drives one pool, the sweep looks at all.

Each engine and each pool has tasks of its own, so that one that hangs holds up no other.
"""

from __future__ import annotations

from celery import shared_task

from billing.actions.budgets import watch_budgets
from billing.actions.ladder import watch_runway
from clusters.actions.apps import forget_old
from clusters.actions.funds import delete_unfunded_storage, stop_capped, stop_unfunded
from clusters.control import idle, owners, schedules, sides, standbys, volumes
from clusters.control.apps import follow_servers
from clusters.control.inventory import refresh_pool
from clusters.control.observe import observe_engine
from clusters.control.placement import place
from clusters.control.stops import pass_on_stops
from clusters.control.submit import submit_placed
from clusters.models import Pool, Volume
from clusters.telemetry import use
from portal.lib.tasks import begun, hint

SWEEP_EXPIRES_SECONDS = 2
STANDBY_EXPIRES_SECONDS = 5
SCHEDULE_EXPIRES_SECONDS = 30


@shared_task(name="clusters.tasks.drive_pool")
def drive_pool(pool_id: int) -> None:
    """Place, submit, serve and stop what waits in one pool."""
    begun("clusters.tasks.drive_pool", pool_id)
    place(pool_id)
    with owners.turn() as owner:
        submit_placed(pool_id, owner=owner)
    follow_servers(pool_id)
    pass_on_stops(pool_id)


@shared_task(name="clusters.tasks.observe")
def observe(name: str) -> None:
    """Look at one engine."""
    with owners.turn() as owner:
        observe_engine(name, owner=owner)


@shared_task(name="clusters.tasks.sweep")
def sweep() -> None:
    """Look at everything: finds what a lost hint left, what the dead held, what engines report."""
    owners.beat()
    owners.release_leases_of_the_dead()
    pools = list(Pool.objects.order_by("pk").values_list("pk", "backend"))
    for name in sorted({name for _, name in pools}):
        hint("clusters.tasks.observe", name, expires=SWEEP_EXPIRES_SECONDS)
    for pool_id, _ in pools:
        hint("clusters.tasks.drive_pool", pool_id, expires=SWEEP_EXPIRES_SECONDS)


@shared_task(name="clusters.tasks.refresh_pool")
def refresh_one(pool_id: int) -> None:
    """Ask one pool's engine for inventory and health."""
    begun("clusters.tasks.refresh_pool", pool_id)
    refresh_pool(Pool.objects.get(pk=pool_id))


@shared_task(name="clusters.tasks.refresh")
def refresh() -> None:
    """Ask all engines for inventory and health."""
    for pool_id in Pool.objects.order_by("pk").values_list("pk", flat=True):
        hint("clusters.tasks.refresh_pool", pool_id, expires=30)


@shared_task(name="clusters.tasks.enforce_funds")
def enforce_funds() -> None:
    """Stop the work of teams whose credit has run out, and what a budget no longer allows."""
    watch_runway()
    stop_unfunded()
    delete_unfunded_storage()
    stop_capped()
    watch_budgets()


@shared_task(name="clusters.tasks.report_use")
def report_use() -> int:
    """Tell billing how busy GPUs were."""
    return use.report_use()


@shared_task(name="clusters.tasks.watch_notebooks")
def watch_notebooks() -> None:
    """Look at what notebooks do, announce what will stop, and stop what is due."""
    idle.look_at_notebooks()
    idle.announce()
    idle.stop_due()


@shared_task(name="clusters.tasks.forget")
def forget() -> None:
    """Delete what nobody asks for any more."""
    idle.forget_old_looks()
    forget_old()


@shared_task(name="clusters.tasks.watch_schedules")
def watch_schedules() -> None:
    """Ask for the launch of each that is due, count what has ended, mail what went wrong."""
    for schedule_id in schedules.due_schedules():
        hint("clusters.tasks.launch_scheduled", schedule_id, expires=SCHEDULE_EXPIRES_SECONDS)
    schedules.settle()
    schedules.tell()


@shared_task(name="clusters.tasks.launch_scheduled")
def launch_scheduled(schedule_id: int) -> None:
    """Launch one schedule that is due; a task of its own, so that a broken one stops no other."""
    schedules.launch_scheduled(schedule_id)


@shared_task(name="clusters.tasks.realign_schedules")
def realign_schedules() -> None:
    """After a clock that was ahead."""
    schedules.realign()


@shared_task(name="clusters.tasks.drive_sides")
def drive_sides() -> None:
    """Start and end the servers beside the work."""
    begun("clusters.tasks.drive_sides")
    sides.drive_sides()


@shared_task(name="clusters.tasks.end_unused_sides")
def end_unused_sides() -> int:
    """End those nobody looks at."""
    return sides.end_unused()


@shared_task(name="clusters.tasks.keep_standbys_of")
def keep_standbys_of(name: str) -> None:
    """Keep servers started ahead on one engine."""
    standbys.keep_standbys(name)


@shared_task(name="clusters.tasks.keep_standbys")
def keep_standbys() -> None:
    """Keep servers started ahead on all engines that can."""
    for name in standbys.engines():
        hint("clusters.tasks.keep_standbys_of", name, expires=STANDBY_EXPIRES_SECONDS)


@shared_task(name="clusters.tasks.erase_volumes")
def erase_volumes() -> int:
    """Erase the files of volumes that were removed."""
    begun("clusters.tasks.erase_volumes")
    return volumes.erase_removed()


@shared_task(name="clusters.tasks.measure_volumes")
def measure_volumes() -> int:
    """Look how much of the disk each volume takes."""
    return volumes.measure_all()


@shared_task(name="clusters.tasks.measure_volume")
def measure_volume(volume_key: int) -> None:
    """The same for one, because somebody waits for it."""
    begun("clusters.tasks.measure_volume", volume_key)
    found = Volume.objects.filter(pk=volume_key, removed_at__isnull=True).first()
    if found is not None:
        volumes.measure_asked(found)
