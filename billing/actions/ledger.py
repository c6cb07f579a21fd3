"""The only writer of journal entries and postings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F

from billing.choices import AccountCode, EntryKind
from billing.models import JournalEntry, LedgerAccount, Posting
from portal.lib.errors import Conflict

# Code, billing account (None: the house) and currency: one line of the chart.
Line = tuple[str, int | None, str]


@dataclass(frozen=True, slots=True)
class PostingDraft:
    """One side of an entry: debit positive, credit negative, micro-units, never 0.

    `account_id` is the team's billing account, None for an account of the house.
    """

    code: AccountCode
    amount_micros: int
    currency: str
    account_id: int | None = None

    @property
    def line(self) -> Line:
        """The line of the chart it belongs to."""
        return (self.code.value, self.account_id, self.currency)


@dataclass(frozen=True, slots=True)
class EntryDraft:
    """An entry about to be written. `idempotency_key` names the deed, not the try."""

    kind: EntryKind
    idempotency_key: str
    effective_at: datetime
    postings: tuple[PostingDraft, ...]
    memo: str = ""
    actor: str = "system"

    def content(self) -> tuple[str, Counter[tuple[Line, int]]]:
        """What must be equal for two drafts of one key to be the same deed."""
        legs = Counter((leg.line, leg.amount_micros) for leg in self.postings)
        return (self.kind.value, legs)


def post_entry(
    *,
    kind: EntryKind,
    idempotency_key: str,
    effective_at: datetime,
    postings: Sequence[PostingDraft],
    memo: str = "",
    actor: str = "system",
) -> JournalEntry:
    """Write one entry and bring the cached balances along.

    The same key with the same kind and postings returns the entry that is there; with others it
    raises Conflict. Postings that do not sum to zero make the commit fail.
    """
    draft = EntryDraft(kind, idempotency_key, effective_at, tuple(postings), memo, actor)
    return post_entries([draft])[0]


@transaction.atomic
def post_entries(drafts: Sequence[EntryDraft]) -> list[JournalEntry]:
    """`post_entry` for many at once, in a fixed number of statements; answers in their order.

    All drafts of one call belong to one billing account, which the caller has locked.
    """
    if not drafts:
        return []
    keys = [draft.idempotency_key for draft in drafts]
    if len(set(keys)) != len(keys):
        raise ValueError("two drafts carry the same idempotency key")
    # Waits for whoever is writing the same key, then leaves theirs alone.
    JournalEntry.objects.bulk_create([_row(draft) for draft in drafts], ignore_conflicts=True)
    found = {
        entry.idempotency_key: entry
        for entry in JournalEntry.objects.filter(idempotency_key__in=keys).prefetch_related(
            "postings__account"
        )
    }
    fresh: list[tuple[EntryDraft, JournalEntry]] = []
    for draft in drafts:
        entry = found[draft.idempotency_key]
        legs = list(entry.postings.all())
        if not legs:  # an entry others can see has postings, so this one is ours
            fresh.append((draft, entry))
        elif _content_of(entry, legs) != draft.content():
            raise Conflict(f"The key {draft.idempotency_key} was used for another entry.")
    _write_postings(fresh)
    return [found[key] for key in keys]


def _row(draft: EntryDraft) -> JournalEntry:
    return JournalEntry(
        kind=draft.kind,
        idempotency_key=draft.idempotency_key,
        effective_at=draft.effective_at,
        memo=draft.memo,
        actor=draft.actor,
    )


def _content_of(
    entry: JournalEntry, legs: Iterable[Posting]
) -> tuple[str, Counter[tuple[Line, int]]]:
    counted: Counter[tuple[Line, int]] = Counter()
    for leg in legs:
        line = (leg.account.code, leg.account.account_id, leg.account.currency)
        counted[(line, leg.amount_micros)] += 1
    return (entry.kind, counted)


def _write_postings(fresh: Sequence[tuple[EntryDraft, JournalEntry]]) -> None:
    moved: dict[Line, int] = defaultdict(int)
    for draft, _ in fresh:
        for leg in draft.postings:
            moved[leg.line] += leg.amount_micros
    accounts = _locked_accounts(moved)
    Posting.objects.bulk_create(
        Posting(
            entry=entry,
            account=accounts[leg.line],
            amount_micros=leg.amount_micros,
            currency=leg.currency,
        )
        for draft, entry in fresh
        for leg in draft.postings
    )
    for line, amount in moved.items():
        if amount:
            LedgerAccount.objects.filter(pk=accounts[line].pk).update(
                balance_micros=F("balance_micros") + amount
            )


def _locked_accounts(lines: Iterable[Line]) -> dict[Line, LedgerAccount]:
    """The chart's lines, made where missing, locked in one order: the team's, then the house's."""
    keys: list[int] = []
    for code, account_id, currency in lines:
        account, _ = LedgerAccount.objects.get_or_create(
            code=code, account_id=account_id, currency=currency
        )
        keys.append(account.pk)
    rows = (
        LedgerAccount.objects.select_for_update(no_key=True)
        .filter(pk__in=keys)
        # House accounts are shared by all teams: taken last, held for the shortest time.
        .order_by(F("account_id").asc(nulls_last=True), "pk")
    )
    return {(row.code, row.account_id, row.currency): row for row in rows}
