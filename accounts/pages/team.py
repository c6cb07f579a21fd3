"""The team: who belongs, its name, and which of one's teams is looked at."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import actor_of_user, require_owner, team_of
from accounts.actions.teams import rename_team
from accounts.choices import Role
from accounts.forms import TeamForm, add_refusal
from accounts.pages.base import PortalRequest, look_at, signed_in
from accounts.queries.teams import members_of
from portal.lib.errors import InvalidInput


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def team(request: PortalRequest) -> HttpResponse:
    """Members and roles; an owner can rename the team here."""
    form = TeamForm(request.POST or None, initial={"name": team_of(request.actor).name})
    if request.method == "POST":
        require_owner(request.actor)
        if form.is_valid() and _rename(request, form):
            return redirect("team")
    context = {
        "form": form,
        "members": members_of(request.actor),
        "is_owner": request.actor.role == Role.OWNER,
    }
    return render(request, "accounts/team.html", context, status=400 if form.errors else 200)


@require_POST
@signed_in
def team_switch(request: PortalRequest) -> HttpResponse:
    """Look at another of one's own teams from now on. Raises NotFound for any other."""
    wanted = request.POST.get("team", "").replace("\0", "")
    chosen = team_of(actor_of_user(request.user, team_id=wanted or "none"))
    messages.success(request, f"You are looking at {chosen.name} now.")
    return look_at(redirect("dashboard"), chosen)


def _rename(request: PortalRequest, form: TeamForm) -> bool:
    try:
        rename_team(request.actor, name=form.cleaned_data["name"])
    except InvalidInput as error:
        add_refusal(form, error)
        return False
    messages.success(request, "The team has its new name.")
    return True
