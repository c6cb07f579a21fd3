"""The proxy knows what people call the run behind a route, for the title of its terminal."""

from __future__ import annotations

from django.db import migrations

VIEW = """
CREATE OR REPLACE VIEW clusters_app_route AS
SELECT a.id, a.name, a.service, a.state, a.endpoint,
    coalesce(w.public_id, d.public_id) AS subject,
    n.stops_at, coalesce(n.stops_for, '') AS stops_for, coalesce(w.name, '') AS title
FROM clusters_app a
LEFT JOIN clusters_workload w ON w.id = a.workload_id
LEFT JOIN clusters_notebook n ON n.workload_id = a.workload_id
LEFT JOIN clusters_side d ON d.id = a.side_id
WHERE a.state <> 'closed';
"""

# A column can be added to a view, and not be taken away.
VIEW_BEFORE = """
DROP VIEW clusters_app_route;
CREATE VIEW clusters_app_route AS
SELECT a.id, a.name, a.service, a.state, a.endpoint,
    coalesce(w.public_id, d.public_id) AS subject,
    n.stops_at, coalesce(n.stops_for, '') AS stops_for
FROM clusters_app a
LEFT JOIN clusters_workload w ON w.id = a.workload_id
LEFT JOIN clusters_notebook n ON n.workload_id = a.workload_id
LEFT JOIN clusters_side d ON d.id = a.side_id
WHERE a.state <> 'closed';
"""


class Migration(migrations.Migration):
    dependencies = [("clusters", "0009_schedules")]

    operations = [migrations.RunSQL(VIEW, VIEW_BEFORE)]
