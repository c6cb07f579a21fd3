"""The four facts of money, in words."""

from __future__ import annotations

from billing.choices import FundsLevel
from billing.queries.funds import Funds, runway_text
from portal.lib.money import format_money


def facts_of(funds: Funds) -> list[dict[str, str]]:
    """What `components/funds.html` shows."""
    tone = "" if funds.level == FundsLevel.OK else str(funds.level.value)
    burns = funds.burn_micros_per_hour > 0
    return [
        {
            "label": "Balance",
            "value": format_money(funds.balance_micros),
            "note": f"{format_money(funds.available_micros)} available",
            "tone": tone,
        },
        {
            "label": "Burn",
            "value": f"{format_money(funds.burn_micros_per_hour)}/h",
            "note": "What runs now" if burns else "Nothing runs",
        },
        {
            "label": "Runway",
            "value": runway_text(funds.runway_seconds),
            "note": "At this burn" if burns else "Nothing is being spent",
            "tone": tone if burns else "",
        },
        {
            "label": "Held",
            "value": format_money(funds.held_micros),
            "note": "Set aside for launched work",
        },
    ]
