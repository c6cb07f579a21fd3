"""The Checkout page a payer sees: plain HTML and a style sheet, no script."""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from billing.sandbox import checkout, money
from billing.sandbox.authentication import carry_on, leads_to, waiting
from billing.sandbox.box import Box
from billing.sandbox.cards import read_card
from billing.sandbox.courier import Courier
from billing.sandbox.errors import CardRefused
from billing.sandbox.store import Doc

_FOLDER = Path(__file__).parent / "pages"
_FIELDS = ("email", "number", "expiry", "cvc", "name")
_FIELD_OF_PARAM = {
    "number": "number",
    "exp_month": "expiry",
    "exp_year": "expiry",
    "cvc": "cvc",
    "": "number",
}
_MAX_TYPED = 512


class Pages:
    """The routes under /c/: GET shows, POST pays."""

    def __init__(self, box: Box, courier: Courier) -> None:
        self._box = box
        self._courier = courier
        self._checkout = Template((_FOLDER / "checkout.html").read_text(encoding="utf-8"))
        self._auth = Template((_FOLDER / "auth.html").read_text(encoding="utf-8"))
        self._notice = Template((_FOLDER / "notice.html").read_text(encoding="utf-8"))

    def routes(self) -> list[Route]:
        """To be mounted at the root."""
        return [
            Route("/c/pay/{id}", self.show, methods=["GET"]),
            Route("/c/pay/{id}", self.pay, methods=["POST"]),
            Route("/c/auth/{id}", self.ask, methods=["GET"]),
            Route("/c/auth/{id}", self.answer, methods=["POST"]),
            Route("/c/assets/checkout.css", self.style, methods=["GET"]),
        ]

    async def style(self, _: Request) -> Response:
        """The one style sheet."""
        headers = {"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}
        return FileResponse(_FOLDER / "checkout.css", headers=headers)

    async def show(self, request: Request) -> Response:
        """The form while the session is open, else what became of it."""
        session = self._session(request)
        if session is None or session["status"] != "open":
            return self._closed(session)
        return self._form(session, {"email": self._known_email(session)}, {})

    async def pay(self, request: Request) -> Response:
        """Take what was typed, pay once, and send the payer back to the portal."""
        async with request.form(max_files=0, max_fields=20) as sent:
            typed = _typed(sent)
        session = self._session(request)
        if session is None or session["status"] == "expired":
            return self._closed(session)
        if session["status"] == "complete":
            return self._success(session)
        typed["email"] = typed["email"] or self._known_email(session)
        errors = _missing(typed)
        if errors:
            return self._form(session, typed, errors, status=422)
        refused = self._charge(session, typed)
        self._courier.wake()
        if refused is None:
            return self._onwards(session)
        field = _FIELD_OF_PARAM.get(refused.param, "number")
        return self._form(session, typed, {field: refused.message}, status=402)

    async def ask(self, request: Request) -> Response:
        """The bank's question to the card's owner."""
        intent = waiting(self._box, request.path_params["id"])
        if intent is None:
            return self._closed(None)
        amount = intent.get("amount")
        what = f"pay {money.display(amount, intent['currency'])}" if amount else "save this card"
        html = self._auth.substitute(what=escape(what), id=escape(intent["id"]))
        return _html(html, 200, leads_to(self._box, intent))

    async def answer(self, request: Request) -> Response:
        """Its answer, and back to where the owner came from."""
        async with request.form(max_files=0, max_fields=5) as sent:
            is_owner = sent.get("answer") == "complete"
        intent = waiting(self._box, request.path_params["id"])
        if intent is None:
            return self._closed(None)
        with self._box.store.transaction():
            url = carry_on(self._box, intent, is_owner=is_owner)
        self._courier.wake()
        return RedirectResponse(url, 303, {"Cache-Control": "no-store"})

    def _onwards(self, session: Doc) -> Response:
        """Back to the portal, or to the bank's question first."""
        session = self._box.store.get("checkout.session", session["id"])
        if session["status"] == "complete":
            return self._success(session)
        intent_id = session["setup_intent"] or session["payment_intent"]
        return RedirectResponse(f"../auth/{intent_id}", 303, {"Cache-Control": "no-store"})

    def _charge(self, session: Doc, typed: dict[str, str]) -> CardRefused | None:
        with self._box.store.transaction():
            try:
                card = read_card(
                    typed["number"], typed["expiry"], typed["cvc"], self._box.clock.now()
                )
                checkout.pay(self._box, session, card, name=typed["name"], email=typed["email"])
            except CardRefused as refused:
                return refused  # a decline is kept, so this commits
        return None

    def _session(self, request: Request) -> Doc | None:
        self._courier.catch_up()
        return self._box.store.find("checkout.session", request.path_params["id"])

    def _known_email(self, session: Doc) -> str:
        if session["customer"]:
            customer = self._box.store.get("customer", session["customer"])
            return customer["email"] or ""
        return session["customer_email"] or ""

    def _success(self, session: Doc) -> Response:
        url = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
        return RedirectResponse(url, 303, {"Cache-Control": "no-store"})

    def _closed(self, session: Doc | None) -> Response:
        if session is None:
            title, text, status, back = "Nothing to pay here", _UNKNOWN, 404, None
        elif session["status"] == "complete":
            title, text, status = "This payment is complete", _COMPLETE, 200
            back = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
        else:
            title, text, status = "This page has expired", _EXPIRED, 410
            back = session["cancel_url"]
        link = f'<a class="button" href="{escape(back)}">Go back</a>' if back else ""
        html = self._notice.substitute(title=escape(title), text=escape(text), link=link)
        return _html(html, status, None)

    def _form(
        self, session: Doc, typed: dict[str, str], errors: dict[str, str], *, status: int = 200
    ) -> Response:
        cancel = session["cancel_url"]
        html = self._checkout.substitute(
            self._words(session),
            session_id=escape(session["id"]),
            alert=_alert(errors),
            cancel=f'<a class="cancel" href="{escape(cancel)}">Cancel and go back</a>'
            if cancel
            else "",
            fixed_email="readonly" if self._known_email(session) else "",
            **_field_values(typed, errors),
        )
        return _html(html, status, session["success_url"])

    def _words(self, session: Doc) -> dict[str, str]:
        if session["mode"] == "setup":
            return {
                "title": "Save a card",
                "kicker": "For later payments",
                "heading": "Save a card",
                "order": "<ul><li>Nothing is charged now.</li></ul>",
                "form_title": "Card",
                "button": "Save the card",
            }
        amount = escape(money.display(session["amount_total"], session["currency"]))
        code = escape(session["currency"].upper())
        total = f'<li class="sum"><span>Total</span><span>{amount}</span></li>'
        return {
            "title": f"Pay {amount}",
            "kicker": "Amount to pay",
            "heading": f"{amount} <small>{code}</small>",
            "order": f"<ul>{self._lines(session)}{total}</ul>",
            "form_title": "Pay by card",
            "button": f"Pay {amount}",
        }

    def _lines(self, session: Doc) -> str:
        return "".join(
            f"<li><span>{escape(item['description'])}{_times(item['quantity'])}</span>"
            f"<span>{escape(money.display(item['amount_total'], item['currency']))}</span></li>"
            for item in checkout.lines_of(self._box, session)
        )


_UNKNOWN = "There is no payment at this address. Go back to where you came from and start again."
_COMPLETE = "It was paid once and will not be charged again. You can close this page."
_EXPIRED = "Nothing was charged. Go back and start the payment again."


def _times(quantity: int) -> str:
    return f" &times; {quantity}" if quantity > 1 else ""


def _typed(sent: FormData) -> dict[str, str]:
    return {name: str(sent.get(name, "")).strip()[:_MAX_TYPED] for name in _FIELDS}


def _missing(typed: dict[str, str]) -> dict[str, str]:
    errors = {}
    local, at, domain = typed["email"].partition("@")
    if not (local and at and "." in domain.strip(".")) or " " in typed["email"]:
        errors["email"] = "Enter an email address for the receipt."
    if not typed["number"]:
        errors["number"] = "Enter a card number."
    if not typed["expiry"]:
        errors["expiry"] = "Enter the month and year: MM / YY."
    if not typed["cvc"]:
        errors["cvc"] = "Enter the security code."
    if not typed["name"]:
        errors["name"] = "Enter the name on the card."
    return errors


def _alert(errors: dict[str, str]) -> str:
    if not errors:
        return ""
    return '<p class="alert" role="alert">The payment did not go through. Nothing was charged.</p>'


def _field_values(typed: dict[str, str], errors: dict[str, str]) -> dict[str, str]:
    """For each field its value, its error and the attributes that tie the two together."""
    values = {}
    first = next((name for name in _FIELDS if name in errors), None)
    for name in _FIELDS:
        message = errors.get(name, "")
        values[f"{name}_value"] = escape(typed.get(name, ""))
        values[f"{name}_error"] = (
            f'<p class="error" id="{name}-error">{escape(message)}</p>' if message else ""
        )
        described = f'aria-invalid="true" aria-describedby="{name}-error"' if message else ""
        values[f"{name}_state"] = described + (" autofocus" if name == first else "")
    return values


def _html(html: str, status: int, next_url: str | None) -> Response:
    # Browsers hold a form's redirect against form-action too, so the way back has to be named.
    parts = urlsplit(next_url or "")
    origin = f" {parts.scheme}://{parts.netloc.rpartition('@')[2]}" if next_url else ""
    policy = (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self'{origin}"
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(html, status, headers, media_type="text/html")
