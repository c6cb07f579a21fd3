"""The bank's question to the card's owner (3-D Secure), and where its answer leads."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from billing.sandbox.box import Box
from billing.sandbox.checkout import finish, session_of
from billing.sandbox.payment_intents import authenticate
from billing.sandbox.setup_intents import authenticate_setup
from billing.sandbox.store import Doc


def waiting(box: Box, intent_id: str) -> Doc | None:
    """The intent that waits for its card's owner, of either kind."""
    kind = "setup_intent" if intent_id.startswith("seti_") else "payment_intent"
    found = box.store.find(kind, intent_id)
    return found if found and found["status"] == "requires_action" else None


def leads_to(box: Box, intent: Doc) -> str | None:
    """Where the owner goes after the answer."""
    session = session_of(box, intent)
    if session is not None:
        url: str = session["success_url"]
        return url
    return_url: str | None = intent["next_action"]["redirect_to_url"]["return_url"]
    return return_url


def carry_on(box: Box, intent: Doc, *, is_owner: bool) -> str:
    """Act on the answer; returns the address to send the owner to."""
    back = leads_to(box, intent)
    session = session_of(box, intent)
    is_setup = intent["object"] == "setup_intent"
    done = (authenticate_setup if is_setup else authenticate)(box, intent, is_owner=is_owner)
    if session is None:
        return _with_result(back or "/", done, is_setup=is_setup)
    session = finish(box, session, done)
    if session["status"] == "complete":
        return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])
    return f"../pay/{session['id']}"


def _with_result(url: str, done: Doc, *, is_setup: bool) -> str:
    name = "setup_intent" if is_setup else "payment_intent"
    parts = urlsplit(url)
    result = {
        name: done["id"],
        f"{name}_client_secret": done["client_secret"],
        "redirect_status": "succeeded" if done["status"] == "succeeded" else "failed",
    }
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *result.items()])
    return urlunsplit(parts._replace(query=query))
