"""What was done to keep to a limit stays on record."""

from __future__ import annotations

from django.db import migrations

KEPT = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_enforcementaction
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_enforcementaction
    FOR EACH STATEMENT EXECUTE FUNCTION billing_append_only();
"""

NOT_KEPT = """
DROP TRIGGER append_only ON billing_enforcementaction;
DROP TRIGGER append_only_truncate ON billing_enforcementaction;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0013_pool_label")]

    operations = [migrations.RunSQL(KEPT, NOT_KEPT)]
