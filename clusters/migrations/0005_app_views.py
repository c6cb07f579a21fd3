"""What the proxy reads, and how it is told to look again.

`clusters_app_access` is the same rule as `clusters.access.may_open`, in SQL, because the proxy has
to know within moments that somebody lost a right, whichever table that right was in.
"""

from __future__ import annotations

from django.db import migrations

VIEWS = """
CREATE VIEW clusters_app_route AS
SELECT a.id, a.name, a.service, a.state, a.endpoint,
    coalesce(w.public_id, d.public_id) AS subject,
    n.stops_at, coalesce(n.stops_for, '') AS stops_for
FROM clusters_app a
LEFT JOIN clusters_workload w ON w.id = a.workload_id
LEFT JOIN clusters_notebook n ON n.workload_id = a.workload_id
LEFT JOIN clusters_side d ON d.id = a.side_id
WHERE a.state <> 'closed';

CREATE VIEW clusters_app_access AS
SELECT s.digest, s.name, s.user_id, s.expires_at
FROM clusters_appsession s
JOIN clusters_app a ON a.name = s.name AND a.state <> 'closed'
LEFT JOIN clusters_workload w ON w.id = a.workload_id
LEFT JOIN clusters_side d ON d.id = a.side_id
JOIN accounts_user u ON u.id = s.user_id AND u.is_active
JOIN accounts_membership m ON m.user_id = s.user_id AND m.team_id = coalesce(w.team_id, d.team_id)
WHERE s.ended_at IS NULL AND s.expires_at > now()
    AND (s.session_key = '' OR EXISTS (
        SELECT 1 FROM django_session j
        WHERE j.session_key = s.session_key AND j.expire_date > now()))
    AND (a.service = 'tensorboard' OR m.role = 'owner' OR w.created_by_id = s.user_id
        OR a.service = 'lab' AND EXISTS (
            SELECT 1 FROM clusters_notebookguest g
            JOIN clusters_notebookshare h ON h.id = g.share_id
            WHERE h.notebook_id = w.id AND g.user_id = s.user_id AND h.revoked_at IS NULL));

CREATE FUNCTION clusters_tell_proxy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('fastgpu_apps', TG_TABLE_NAME);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_proxy AFTER INSERT OR UPDATE OR DELETE ON clusters_app
    FOR EACH STATEMENT EXECUTE FUNCTION clusters_tell_proxy();
CREATE TRIGGER tell_proxy AFTER UPDATE OR DELETE ON clusters_appsession
    FOR EACH STATEMENT EXECUTE FUNCTION clusters_tell_proxy();
CREATE TRIGGER tell_proxy AFTER UPDATE OF stops_at ON clusters_notebook
    FOR EACH STATEMENT EXECUTE FUNCTION clusters_tell_proxy();
"""

NO_VIEWS = """
DROP TRIGGER tell_proxy ON clusters_notebook;
DROP TRIGGER tell_proxy ON clusters_appsession;
DROP TRIGGER tell_proxy ON clusters_app;
DROP FUNCTION clusters_tell_proxy();
DROP VIEW clusters_app_access;
DROP VIEW clusters_app_route;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("clusters", "0004_notebooks"),
        ("accounts", "0001_initial"),
        ("sessions", "0001_initial"),
    ]

    operations = [migrations.RunSQL(VIEWS, NO_VIEWS)]
