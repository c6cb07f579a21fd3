"""Links by which a notebook's person lets members of the team in."""

from __future__ import annotations

import pytest

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.choices import Role
from accounts.models import Membership, Team, User
from clusters.access import may_open
from clusters.actions.notebook_shares import MOST, follow_share, revoke_share, share_notebook
from clusters.actions.notebooks import remove_notebook
from clusters.choices import Service
from clusters.models import NotebookGuest, NotebookShare, Workload
from portal.lib.errors import Conflict, NotAllowed, NotFound
from tests.conftest import Engine
from tests.fakes.notebooks import running, stopped


@pytest.fixture
def notebook(actor: Actor, engine: Engine) -> Workload:
    """Alice's."""
    return running(actor)


def test_who_follows_a_link_may_open_the_notebook_and_no_terminal(
    actor: Actor, member: Actor, notebook: Workload
) -> None:
    assert not may_open(member, notebook, Service.LAB)
    _, secret = share_notebook(actor, notebook.public_id)
    assert follow_share(member, secret) == notebook
    assert may_open(member, notebook, Service.LAB)
    assert not may_open(member, notebook, Service.TERMINAL)


def test_a_link_is_kept_as_a_digest_alone(actor: Actor, notebook: Workload) -> None:
    share, secret = share_notebook(actor, notebook.public_id)
    kept = NotebookShare.objects.values().get(pk=share.pk)
    assert secret not in map(str, kept.values())


def test_a_link_followed_twice_lets_in_once(
    actor: Actor, member: Actor, notebook: Workload
) -> None:
    _, secret = share_notebook(actor, notebook.public_id)
    for _ in range(2):
        follow_share(member, secret)
    assert NotebookGuest.objects.count() == 1


def test_a_revoked_link_lets_nobody_in_and_whom_it_let_in_out(
    actor: Actor, member: Actor, notebook: Workload
) -> None:
    share, secret = share_notebook(actor, notebook.public_id)
    follow_share(member, secret)
    revoke_share(actor, notebook.public_id, share.public_id)
    assert not may_open(member, notebook, Service.LAB)
    with pytest.raises(NotFound):
        follow_share(member, secret)


def test_another_link_still_lets_in(actor: Actor, member: Actor, notebook: Workload) -> None:
    first, secret = share_notebook(actor, notebook.public_id)
    follow_share(member, secret)
    follow_share(member, share_notebook(actor, notebook.public_id)[1])
    revoke_share(actor, notebook.public_id, first.public_id)
    assert may_open(member, notebook, Service.LAB)


def test_a_link_is_revoked_once(actor: Actor, notebook: Workload) -> None:
    share, _ = share_notebook(actor, notebook.public_id)
    revoke_share(actor, notebook.public_id, share.public_id)
    for name in (share.public_id, "share_nothing", "share\0"):
        with pytest.raises(NotFound):
            revoke_share(actor, notebook.public_id, name)


def test_a_link_of_one_notebook_is_not_revoked_through_another(
    actor: Actor, engine: Engine, notebook: Workload
) -> None:
    share, _ = share_notebook(actor, notebook.public_id)
    other = running(actor, name="another")
    with pytest.raises(NotFound):
        revoke_share(actor, other.public_id, share.public_id)


@pytest.mark.parametrize("secret", ["", "fgs_nothing", "fgs\0", "x" * 10_000])
def test_a_link_nobody_made_leads_nowhere(member: Actor, notebook: Workload, secret: str) -> None:
    with pytest.raises(NotFound):
        follow_share(member, secret)


def test_a_link_is_for_the_team_alone(actor: Actor, charlie: User, notebook: Workload) -> None:
    _, secret = share_notebook(actor, notebook.public_id)
    with pytest.raises(NotFound):
        follow_share(actor_of_user(charlie), secret)
    assert not NotebookGuest.objects.exists()


def test_a_link_is_followed_only_as_somebody_in_that_team(
    actor: Actor, member: Actor, notebook: Workload, team: Team, charlie: User
) -> None:
    Membership.objects.create(team=team, user=charlie, role=Role.MEMBER)
    _, secret = share_notebook(actor, notebook.public_id)
    with pytest.raises(NotFound):
        follow_share(actor_of_user(charlie), secret)
    follow_share(actor_of_user(charlie, team_id=team.public_id), secret)


def test_a_removed_notebooks_link_leads_nowhere(
    actor: Actor, member: Actor, engine: Engine
) -> None:
    notebook = stopped(actor, engine)
    _, secret = share_notebook(actor, notebook.public_id)
    remove_notebook(actor, notebook.public_id)
    with pytest.raises(NotFound):
        follow_share(member, secret)


def test_only_its_person_and_owners_share(
    actor: Actor, member: Actor, engine: Engine, notebook: Workload
) -> None:
    with pytest.raises(NotAllowed):
        share_notebook(member, notebook.public_id)
    mine = running(member, name="bobs")
    share_notebook(member, mine.public_id)
    share_notebook(actor, mine.public_id)


def test_a_notebook_has_so_many_links_at_most(actor: Actor, notebook: Workload) -> None:
    share, _ = share_notebook(actor, notebook.public_id)
    for _ in range(MOST - 1):
        share_notebook(actor, notebook.public_id)
    with pytest.raises(Conflict, match="Revoke one"):
        share_notebook(actor, notebook.public_id)
    revoke_share(actor, notebook.public_id, share.public_id)
    share_notebook(actor, notebook.public_id)
