"""Many rows changed at once, each to values of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.db import connection, models


def update_rows(rows: Collection[models.Model], columns: Sequence[str]) -> None:
    """Save `columns` of `rows`, all of one model, in one statement.

    What Django's `bulk_update` does, whose CASE for each row and column costs more to build than
    PostgreSQL takes to carry it out.
    """
    if not rows:
        return
    meta = next(iter(rows))._meta
    by_name = {field.name: field for field in meta.concrete_fields}
    key = next(field for field in meta.concrete_fields if field.primary_key)
    names, arrays, values = [], [], []
    for field in (key, *(by_name[name] for name in columns)):
        attribute = field.get_attname()
        column = field.db_column or attribute
        names.append(connection.ops.quote_name(column))
        arrays.append(f"%s::{field.cast_db_type(connection)}[]")
        values.append([field.get_db_prep_save(getattr(row, attribute), connection) for row in rows])
    changes = ", ".join(f"{name} = new.{name}" for name in names[1:])
    sql = (
        f"UPDATE {connection.ops.quote_name(meta.db_table)} AS old SET {changes} "  # noqa: S608
        f"FROM unnest({', '.join(arrays)}) AS new ({', '.join(names)}) "
        f"WHERE old.{names[0]} = new.{names[0]}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
