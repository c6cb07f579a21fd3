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
    migration = MigrationExecutor(connection).loader.get_migration(
        "billing", "0002_ledger_triggers"
    )
    state = MigrationExecutor(connection).loader.project_state(("billing", "0001_initial"))
    before = triggers()
    with connection.schema_editor(atomic=False) as editor:
        migration.unapply(state.clone(), editor)
    assert triggers() == 0
    with connection.schema_editor(atomic=False) as editor:
        migration.apply(state.clone(), editor)
    assert triggers() == before == 10
