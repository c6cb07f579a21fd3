"""The staff console's view of money. Django finds these pages by importing this package."""

from billing.admin import books, payments

__all__ = ["books", "payments"]
