"""The triggers come and go with their migration."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def triggers() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"
            " AND tgrelid::regclass::text LIKE 'billing\\_%'"
        )
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.django_db
def test_triggers_can_be_taken_back_and_put_on_again() -> None:
    loader = MigrationExecutor(connection).loader
    names = [
        "0002_ledger_triggers",
        "0008_slice_triggers",
        "0011_invoice_triggers",
        "0014_enforcement_triggers",
        "0017_reversals",
    ]
    steps = [loader.get_migration("billing", name) for name in names]
    state = loader.project_state(("billing", "0007_slices"))
    before = triggers()
    with connection.schema_editor(atomic=False) as editor:
        for step in reversed(steps):
            step.unapply(state.clone(), editor)
    assert triggers() == before - 34
    with connection.schema_editor(atomic=False) as editor:
        for step in steps:
            step.apply(state.clone(), editor)
    assert triggers() == before
