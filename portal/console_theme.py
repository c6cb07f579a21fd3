"""How the staff console looks: django-unfold's settings."""

from __future__ import annotations

from django.templatetags.static import static

CONSOLE_THEME: dict[str, object] = {
    "SITE_TITLE": "FastGPU staff",
    "SITE_HEADER": "FastGPU staff",
    "SITE_URL": "/",
    "SITE_ICON": lambda _request: static("img/mark.svg"),
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda _request: static("img/mark.svg"),
        }
    ],
    # Nobody edits here, so Django's own log of edits is always empty; the audit trail has it all.
    "SHOW_HISTORY": False,
    "SIDEBAR": {"navigation": "portal.pages.console.sidebar"},
    # The portal's accent, as a scale.
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 267)",
            "100": "oklch(94% .03 267)",
            "200": "oklch(88% .06 267)",
            "300": "oklch(80% .105 267)",
            "400": "oklch(70% .145 267)",
            "500": "oklch(58% .18 267)",
            "600": "oklch(47% .18 267)",
            "700": "oklch(42% .165 267)",
            "800": "oklch(37% .14 267)",
            "900": "oklch(32% .11 267)",
            "950": "oklch(24% .08 267)",
        }
    },
}
