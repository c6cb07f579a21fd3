"""/volumes/: the list, and what is done to a whole volume."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from accounts.access import team_of
from accounts.actor import Actor
from accounts.forms import add_refusal
from accounts.pages.base import PortalRequest, signed_in
from clusters.access import volume_for, volumes_of
from clusters.actions.volumes import (
    create_volume,
    month_micros_for,
    remove_volume,
    rename_volume,
    resize_volume,
)
from clusters.models.volume import MAX_GIB
from clusters.pages.volume_files import folder_context, is_part
from clusters.queries.volumes import Place, places_of, rows_of
from clusters.volume_forms import NameForm, SizeForm, VolumeForm
from portal.lib.errors import Conflict, InsufficientFunds, InvalidInput, NotFound, PortalError

DEFAULT_GIB = 10
# A price is shown for a size before it is typed: of this many GiB, as money has whole micro-units.
PRICED_GIB = MAX_GIB


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def volumes(request: PortalRequest) -> HttpResponse:
    """The team's volumes; a POST makes one."""
    places = places_of(request.actor)
    if request.method != "POST":
        form = VolumeForm(initial={"size_gib": DEFAULT_GIB}, places=places)
        return _list(request, form, places, status=200)
    form = VolumeForm(request.POST, places=places)
    if form.is_valid():
        try:
            made = create_volume(request.actor, **form.cleaned_data)
        except (InvalidInput, InsufficientFunds, Conflict, NotFound) as error:
            add_refusal(form, error)
        else:
            messages.success(request, f"{made.name} is there: {made.size_gib} GiB.")
            return redirect("volume", made.public_id)
    return _list(request, form, places, status=400)


@require_safe
@vary_on_headers("HX-Request")
@signed_in
def volume(request: PortalRequest, volume_id: str) -> HttpResponse:
    """The files of one volume; for htmx only the folder that `?path=` names."""
    if not is_part(request):
        return _page(request, volume_id)
    found = volume_for(request.actor, volume_id[:60])
    row = rows_of(request.actor, [found])[0]
    context = {**folder_context(request, found), "row": row, "is_part": True}
    return _fresh(render(request, "clusters/volume_folder.html", context))


@require_POST
@signed_in
def volume_rename(request: PortalRequest, volume_id: str) -> HttpResponse:
    """Give it another name."""
    form = NameForm(request.POST)
    form.is_valid()
    try:
        rename_volume(request.actor, volume_id[:60], name=form.cleaned_data.get("name", ""))
    except (InvalidInput, Conflict) as error:
        _refuse(form, error)
        return _page(request, volume_id, rename=form, status=400)
    return redirect("volume", volume_id)


@require_POST
@signed_in
def volume_resize(request: PortalRequest, volume_id: str) -> HttpResponse:
    """Make it larger or smaller."""
    form = SizeForm(request.POST)
    form.is_valid()
    size = form.cleaned_data.get("size_gib", 0)
    try:
        found = resize_volume(request.actor, volume_id[:60], size_gib=size)
    except (InvalidInput, InsufficientFunds) as error:
        _refuse(form, error)
        return _page(request, volume_id, resize=form, status=400)
    messages.success(request, f"{found.name} has {size} GiB now, billed so from now on.")
    return redirect("volume", volume_id)


@require_POST
@signed_in
def volume_remove(request: PortalRequest, volume_id: str) -> HttpResponse:
    """Remove it with all its files."""
    try:
        gone = remove_volume(request.actor, volume_id[:60])
    except Conflict as error:
        messages.error(request, error.message)
        return redirect("volume", volume_id)
    messages.success(request, f"{gone.name} is removed and costs nothing from now on.")
    return redirect("volumes")


def _refuse(form: forms.Form, error: PortalError) -> None:
    """Say at the fields what is wrong; what the form has said itself is said once."""
    if not form.errors:
        add_refusal(form, error)


def _list(
    request: PortalRequest, form: VolumeForm, places: list[Place], *, status: int
) -> HttpResponse:
    rows = rows_of(request.actor, list(volumes_of(request.actor)))
    context = {
        "form": form,
        "rows": rows,
        "places": places,
        "total_gib": sum(row.volume.size_gib for row in rows),
        "total_micros": sum(row.month_micros for row in rows),
        "priced_gib": PRICED_GIB,
        "priced_micros": _price(request.actor),
        "example_micros": _price(request.actor, DEFAULT_GIB),
        "default_gib": DEFAULT_GIB,
    }
    return _fresh(render(request, "clusters/volumes.html", context, status=status))


def _page(
    request: PortalRequest,
    volume_id: str,
    *,
    rename: NameForm | None = None,
    resize: SizeForm | None = None,
    status: int = 200,
) -> HttpResponse:
    """The whole page; a form that was refused is shown at once."""
    found = volume_for(request.actor, volume_id[:60])
    context: dict[str, Any] = {
        **folder_context(request, found),
        "row": rows_of(request.actor, [found])[0],
        "rename": rename or NameForm(initial={"name": found.name}),
        "resize": resize or SizeForm(initial={"size_gib": found.size_gib}),
        "priced_gib": PRICED_GIB,
        "priced_micros": _price(request.actor),
    }
    return _fresh(render(request, "clusters/volume.html", context, status=status))


def _price(actor: Actor, gib: int = PRICED_GIB) -> int | None:
    """What `gib` GiB cost a month; None where that is not sold."""
    try:
        return month_micros_for(team_of(actor), gib)
    except NotFound:
        return None


def _fresh(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response
