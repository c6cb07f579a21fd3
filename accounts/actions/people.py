"""People's own facts."""

from __future__ import annotations

from django.db import transaction

from accounts.actions import audit
from accounts.actor import Actor
from accounts.models import User
from portal.lib.errors import InvalidInput, NotAllowed

MAX_NAME = 100


@transaction.atomic
def rename_person(actor: Actor, *, name: str) -> User:
    """Set the actor's own name; empty takes it away. Raises InvalidInput, NotAllowed."""
    name = name.strip()
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput.of(name=f"A name has at most {MAX_NAME} characters on one line.")
    if actor.user is None:
        raise NotAllowed("Only a person has a name.")
    person = User.objects.select_for_update().get(pk=actor.user.pk)
    if person.name != name:
        person.name = name
        person.save(update_fields=["name"])
        audit.record(actor, "person.renamed", team=actor.team, object_id=person.public_id)
    return person
