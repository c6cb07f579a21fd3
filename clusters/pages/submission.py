"""What becomes of a launch form that was sent: a run, or the form again with what is wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeAlias, TypeVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from accounts.access import team_of
from accounts.actions.idempotency import Answer, answer_once
from accounts.actor import Actor
from clusters.actions.launch_checks import JobRequest
from clusters.actions.notebook_checks import NotebookRequest
from clusters.actions.notebook_runs import NotebookRun
from clusters.actions.schedules import ScheduleRequest
from clusters.forms import RunForm
from portal.lib.errors import InsufficientFunds, InvalidInput, TooMany

AnyRequest: TypeAlias = JobRequest | NotebookRequest | NotebookRun | ScheduleRequest
Asked = TypeVar("Asked", JobRequest, NotebookRequest, NotebookRun, ScheduleRequest)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The id of the run, "" where the form is to be shown again, and with which HTTP status.

    `is_known`: this very form had launched it already. `refusal`: what its fields cannot say.
    """

    run_id: str = ""
    is_known: bool = False
    status: int = 303
    refusal: str = ""


def submit(
    actor: Actor, form: RunForm, asked: Callable[[], Asked], launch: Callable[[Asked], str]
) -> Outcome:
    """Launch what the form asks for, once; the form keeps what is wrong with it.

    `asked` reads a valid form, `launch` returns the id of the run.
    """
    if not form.is_valid():
        return Outcome(status=400)
    request = asked()
    try:
        answer = _once(actor, request, form.cleaned_data["form_key"], lambda: launch(request))
    except InvalidInput as error:
        form.refuse(error)
        return Outcome(status=400)
    except TooMany as error:
        form.add_error(None, error.message)
        return Outcome(status=error.http_status)
    except InsufficientFunds as error:
        return Outcome(status=402, refusal=error.message)
    return Outcome(str(answer.body["id"]), is_known=answer.is_replayed)


def _once(actor: Actor, request: AnyRequest, key: str, launch: Callable[[], str]) -> Answer:
    """The same form sent again finds the same run.

    A form that was changed meanwhile (the way back, then Launch) is another one.
    """

    def deed() -> Answer:
        return Answer(status=201, body={"id": launch()})

    if not key:
        with transaction.atomic():
            return deed()
    text = json.dumps(asdict(request), sort_keys=True, cls=DjangoJSONEncoder)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return answer_once(team_of(actor), key=f"form:{key}:{digest}", digest=digest, deed=deed)
