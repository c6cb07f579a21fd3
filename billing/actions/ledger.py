"""The only writer of journal entries and postings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F, Q

from billing.choices import AccountCode, EntryKind
from billing.models import JournalEntry, LedgerAccount, Posting
from portal.lib.errors import Conflict
from portal.lib.rows import update_rows

# Code, billing account (None: the house) and currency: one line of the chart.
Line = tuple[str, int | None, str]
# Kind, the entry it reverses, and how often which amount stands on which line.
Content = tuple[str, int | None, Counter[tuple[Line, int]]]


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
    """An entry about to be written. `idempotency_key` names the deed, not the try.

    `reverses_id` is the entry that this one mirrors, which the database judges at the commit: each
    line of the other is undone, a team's credit and its debt taken together. Once for each entry.
    """

    kind: EntryKind
    idempotency_key: str
    effective_at: datetime
    postings: tuple[PostingDraft, ...]
    memo: str = ""
    actor: str = "system"
    reverses_id: int | None = None

    def content(self) -> Content:
        """What must be equal for two drafts of one key to be the same deed."""
        legs = Counter((leg.line, leg.amount_micros) for leg in self.postings)
        return (self.kind.value, self.reverses_id, legs)


def post_entry(
    *,
    kind: EntryKind,
    idempotency_key: str,
    effective_at: datetime,
    postings: Sequence[PostingDraft],
    memo: str = "",
    actor: str = "system",
    reverses: JournalEntry | None = None,
) -> JournalEntry:
    """Write one entry and bring the cached balances along.

    The same key with the same kind and postings returns the entry that is there; with others it
    raises Conflict. Postings that do not sum to zero, or do not mirror what they reverse, make the
    commit fail; so does a second entry that reverses the same one.
    """
    reverses_id = reverses.pk if reverses else None
    legs = tuple(postings)
    draft = EntryDraft(kind, idempotency_key, effective_at, legs, memo, actor, reverses_id)
    return post_entries([draft])[0]


@transaction.atomic(savepoint=False)
def post_entries(drafts: Sequence[EntryDraft]) -> list[JournalEntry]:
    """`post_entry` for many at once, in a fixed number of statements; answers in their order.

    The caller has locked every billing account the drafts belong to.
    """
    if not drafts:
        return []
    keys = [draft.idempotency_key for draft in drafts]
    if len(set(keys)) != len(keys):
        raise ValueError("two drafts carry the same idempotency key")
    rows = [_row(draft) for draft in drafts]
    ours = _insert_new(rows)
    entries = {row.idempotency_key: row for row in rows if row.idempotency_key in ours}
    known = [draft for draft in drafts if draft.idempotency_key not in ours]
    entries |= _same_as_before(known)
    _write_postings(
        [(draft, entries[key]) for draft, key in zip(drafts, keys, strict=True) if key in ours]
    )
    return [entries[key] for key in keys]


def _row(draft: EntryDraft) -> JournalEntry:
    return JournalEntry(
        kind=draft.kind,
        idempotency_key=draft.idempotency_key,
        effective_at=draft.effective_at,
        memo=draft.memo,
        actor=draft.actor,
        reverses_id=draft.reverses_id,
    )


# In SQL, because Django's `ignore_conflicts` does not tell which rows are new.
_INSERT = """
INSERT INTO billing_journalentry
    (kind, idempotency_key, effective_at, recorded_at, memo, actor, reverses_id)
SELECT * FROM unnest(
    %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[],
    %s::bigint[]
)
ON CONFLICT (idempotency_key) DO NOTHING
RETURNING id, idempotency_key
"""


def _insert_new(rows: Sequence[JournalEntry]) -> set[str]:
    """Write the rows whose key is new, giving them their ids; returns those keys.

    Waits for whoever is writing the same key, then leaves theirs alone.
    """
    columns = (
        "kind", "idempotency_key", "effective_at", "recorded_at", "memo", "actor", "reverses_id",
    )  # fmt: skip
    values = [[getattr(row, column) for row in rows] for column in columns]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, values)
        ids = {key: pk for pk, key in cursor.fetchall()}
    for row in rows:
        row.pk = ids.get(row.idempotency_key)
    return set(ids)


def _same_as_before(drafts: Sequence[EntryDraft]) -> dict[str, JournalEntry]:
    """The entries that stand under the drafts' keys. Raises Conflict where one differs."""
    if not drafts:
        return {}
    keys = [draft.idempotency_key for draft in drafts]
    entries = JournalEntry.objects.filter(idempotency_key__in=keys)
    found = {
        entry.idempotency_key: entry for entry in entries.prefetch_related("postings__account")
    }
    for draft in drafts:
        entry = found[draft.idempotency_key]
        if _content_of(entry, entry.postings.all()) != draft.content():
            raise Conflict(f"The key {draft.idempotency_key} was used for another entry.")
    return found


def _content_of(entry: JournalEntry, legs: Iterable[Posting]) -> Content:
    counted: Counter[tuple[Line, int]] = Counter()
    for leg in legs:
        line = (leg.account.code, leg.account.account_id, leg.account.currency)
        counted[(line, leg.amount_micros)] += 1
    return (entry.kind, entry.reverses_id, counted)


def _write_postings(fresh: Sequence[tuple[EntryDraft, JournalEntry]]) -> None:
    moved: dict[Line, int] = defaultdict(int)
    for draft, _ in fresh:
        for leg in draft.postings:
            moved[leg.line] += leg.amount_micros
    if not moved:
        return
    accounts = _locked_accounts(list(moved))
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
        accounts[line].balance_micros += amount
    update_rows([accounts[line] for line, amount in moved.items() if amount], ["balance_micros"])


def _locked_accounts(lines: Sequence[Line]) -> dict[Line, LedgerAccount]:
    """The chart's lines, made where missing, locked in one order: the team's, then the house's."""
    found = _lock(lines)
    missing = [line for line in lines if line not in found]
    if not missing:
        return found
    LedgerAccount.objects.bulk_create(
        [
            LedgerAccount(code=code, account_id=account_id, currency=currency)
            for code, account_id, currency in missing
        ],
        ignore_conflicts=True,
    )
    return _lock(lines)


def _lock(lines: Sequence[Line]) -> dict[Line, LedgerAccount]:
    wanted = set(lines)
    teams = {account_id for _, account_id, _ in lines if account_id is not None}
    house = {code for code, account_id, _ in lines if account_id is None}
    rows = (
        LedgerAccount.objects.select_for_update(no_key=True)
        .filter(Q(account__in=teams) | Q(account__isnull=True, code__in=house))
        # House accounts are shared by all teams: taken last, held for the shortest time.
        .order_by(F("account_id").asc(nulls_last=True), "pk")
    )
    found = {(row.code, row.account_id, row.currency): row for row in rows}
    return {line: row for line, row in found.items() if line in wanted}
