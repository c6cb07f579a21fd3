"""Which bytes were handed out as which document."""

from __future__ import annotations

from billing.choices import FileKind
from billing.models import CreditNote, DocumentFile, Invoice


def note_file(document: Invoice | CreditNote, kind: FileKind, sha256: str, size: int) -> None:
    """Keep the digest of a file, once for the same bytes; a draft's is not worth keeping."""
    if isinstance(document, Invoice):
        if document.is_draft:
            return
        found = DocumentFile(invoice=document, kind=kind, sha256=sha256, size=size)
    else:
        found = DocumentFile(credit_note=document, kind=kind, sha256=sha256, size=size)
    DocumentFile.objects.bulk_create([found], ignore_conflicts=True)
