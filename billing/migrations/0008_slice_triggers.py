"""What was metered and credited is kept, and so is what it was priced by."""

from __future__ import annotations

from django.db import migrations

# A slice may grow and shrink at its end; it is never another one's, and never goes away.
SLICES = """
CREATE FUNCTION billing_slice_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.id, NEW.account_id, NEW.interval_id, NEW.period_start,
        NEW.segment_start) IS NOT DISTINCT FROM (OLD.id, OLD.account_id, OLD.interval_id,
        OLD.period_start, OLD.segment_start)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'append_only';
END $$;
DROP TRIGGER append_only ON billing_ratedusage;
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OF id, account_id, interval_id, period_start,
    segment_start ON billing_ratedusage
    FOR EACH ROW EXECUTE FUNCTION billing_slice_kept();
"""

NO_SLICES = """
DROP TRIGGER append_only ON billing_ratedusage;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_ratedusage
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
DROP FUNCTION billing_slice_kept();
"""

CREDITS = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_usagecredit
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_usagecredit
    FOR EACH STATEMENT EXECUTE FUNCTION billing_append_only();
"""

NO_CREDITS = """
DROP TRIGGER append_only ON billing_usagecredit;
DROP TRIGGER append_only_truncate ON billing_usagecredit;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_slices")]

    operations = [
        migrations.RunSQL(SLICES, NO_SLICES),
        migrations.RunSQL(CREDITS, NO_CREDITS),
    ]
