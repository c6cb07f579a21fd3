"""The staff console's view of money. Django finds these pages by importing this package."""

from billing.admin import books, documents, payments

__all__ = ["books", "documents", "payments"]
