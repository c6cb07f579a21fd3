"""Links by which a notebook's person lets members of the team in."""

from __future__ import annotations

from django.db import transaction

from accounts.access import digest_of, team_of
from accounts.actions import audit
from accounts.actor import Actor
from clusters.access import notebook_for, notebooks_of, require_person
from clusters.models import NotebookGuest, NotebookShare, Workload
from portal.lib import clock, ids
from portal.lib.errors import Conflict, NotFound

MOST = 20


@transaction.atomic
def share_notebook(actor: Actor, notebook_id: str) -> tuple[NotebookShare, str]:
    """A new link and its secret, which is shown this once. Only its person and owners may."""
    workload = notebook_for(actor, notebook_id)
    require_person(actor, workload)
    live = NotebookShare.objects.filter(notebook=workload.pk, revoked_at__isnull=True)
    if live.count() >= MOST:
        raise Conflict(f"A notebook has at most {MOST} links. Revoke one.")
    assert actor.user is not None  # noqa: S101  # a person, see above
    secret = ids.new_secret("fgs")
    share = NotebookShare.objects.create(
        notebook=workload.notebook, digest=digest_of(secret), created_by=actor.user
    )
    audit.record(actor, "notebook.shared", team=workload.team, object_id=workload.public_id)
    return share, secret


@transaction.atomic
def revoke_share(actor: Actor, notebook_id: str, share_id: str) -> None:
    """The link lets nobody in any more, and whom it let in is out. Raises NotFound."""
    workload = notebook_for(actor, notebook_id)
    require_person(actor, workload)
    changed = NotebookShare.objects.filter(
        notebook=workload.pk, public_id=share_id.replace("\0", "")[:60], revoked_at__isnull=True
    ).update(revoked_at=clock.now())
    if not changed:
        raise NotFound("There is no such link.")
    audit.record(actor, "notebook.share_revoked", team=workload.team, object_id=workload.public_id)


@transaction.atomic
def follow_share(actor: Actor, secret: str) -> Workload:
    """Let the actor in by a link; the notebook it leads to.

    Raises NotFound for a link that is unknown, revoked, or of another team's notebook.
    """
    share = (
        NotebookShare.objects.select_related("notebook")
        .filter(
            digest=digest_of(secret.replace("\0", "")[:200]),
            revoked_at__isnull=True,
            notebook__workload__team=team_of(actor),
        )
        .first()
    )
    workload = notebooks_of(actor).filter(pk=share.notebook_id).first() if share else None
    if share is None or workload is None or actor.user is None:
        raise NotFound("This link is not good, or no longer. Ask for a new one.")
    NotebookGuest.objects.get_or_create(share=share, user=actor.user)
    audit.record(actor, "notebook.share_followed", team=workload.team, object_id=workload.public_id)
    return workload
