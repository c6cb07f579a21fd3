"""The workload proxy: HTTP and WebSockets from `<name>.apps.<host>` to what a workload serves.

A process of its own without Django, so that what people have open stays open while the portal
restarts. What it shall do stands in the database, see docs/explanation/notebooks.md.
"""
