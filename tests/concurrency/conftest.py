"""The Stripe sandbox of billing's tests."""

from __future__ import annotations

from tests.billing.conftest import box, box_process

__all__ = ["box", "box_process"]
