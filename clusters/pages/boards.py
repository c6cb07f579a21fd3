"""TensorBoard over a run or a folder: one click, a page that waits while it starts, on into it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from accounts.pages.base import PortalRequest, fresh, signed_in
from clusters.access import job_for, notebook_for, side_for, volume_for
from clusters.actions.apps import name_of
from clusters.actions.sides import board_of_run, board_of_volume, close_board
from clusters.choices import Service
from clusters.models import Side, Workload
from clusters.pages.run_now import links_of
from clusters.queries.sides import is_ready
from portal.lib.errors import TooMany


@require_POST
@signed_in
def job_board(request: PortalRequest, job_id: str) -> HttpResponse:
    """Start it, where it is not there, and wait for it."""
    return _open_run(request, job_for(request.actor, job_id[:60]))


@require_POST
@signed_in
def notebook_board(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """The same of a notebook."""
    return _open_run(request, notebook_for(request.actor, notebook_id[:60]))


@require_POST
@signed_in
def volume_board(request: PortalRequest, volume_id: str) -> HttpResponse:
    """The same of what lies in a folder of a volume, whoever wrote it."""
    volume = volume_for(request.actor, volume_id[:60])
    folder = request.POST.get("folder", "")
    return _open(
        request,
        lambda: board_of_volume(request.actor, volume.public_id, folder),
        back=_page_of_folder(volume.public_id, folder),
    )


@require_safe
@vary_on_headers("HX-Request")
@signed_in
def board(request: PortalRequest, side_id: str) -> HttpResponse:
    """How far it is; leads into it once it answers.

    A browser that has just sent a form may not be led to another origin by the answer to it: it is
    given a page that goes on by itself.
    """
    side = side_for(request.actor, side_id[:60])
    name = name_of(Service.TENSORBOARD, side.public_id)
    url = reverse("open_app", args=[name]) if is_ready(side) else ""
    if url and request.htmx:
        return fresh(HttpResponse(headers={"HX-Redirect": url}))
    context = {"side": side, "again_url": _again(side), "back_url": _page_of(side), "url": url}
    template = "clusters/board_now.html" if request.htmx else "clusters/board.html"
    return fresh(render(request, template, context))


@require_POST
@signed_in
def board_close(request: PortalRequest, side_id: str) -> HttpResponse:
    """End it."""
    side = side_for(request.actor, side_id[:60])
    if side.ended_at is None:
        close_board(request.actor, side.public_id)
    messages.success(request, "TensorBoard is closed.")
    return HttpResponseRedirect(_page_of(side), status=303)


def _open_run(request: PortalRequest, run: Workload) -> HttpResponse:
    back = f"{links_of(run).page}#metrics"
    return _open(request, lambda: board_of_run(request.actor, run.public_id), back=back)


def _open(request: PortalRequest, start: Callable[[], Side], *, back: str) -> HttpResponse:
    try:
        side = start()
    except TooMany as error:
        messages.error(request, error.message)
        return HttpResponseRedirect(back, status=303)
    return HttpResponseRedirect(reverse("board", args=[side.public_id]), status=303)


def _page_of(side: Side) -> str:
    if side.workload is not None:
        return f"{links_of(side.workload).page}#metrics"
    assert side.volume is not None  # noqa: S101  # it is of one or the other
    return _page_of_folder(side.volume.public_id, side.folder)


def _page_of_folder(volume_id: str, folder: str) -> str:
    page = reverse("volume", args=[volume_id])
    return f"{page}?{urlencode({'path': folder})}" if folder else page


def _again(side: Side) -> str:
    """Where it is started once more."""
    if side.workload is not None:
        return links_of(side.workload).board
    assert side.volume is not None  # noqa: S101  # it is of one or the other
    return reverse("volume_board", args=[side.volume.public_id])
