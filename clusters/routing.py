"""WebSocket routes."""

from typing import Any

from django.urls import URLPattern, path

from clusters.consumers import JobConsumer, NotebookConsumer

job: Any = JobConsumer.as_asgi()  # Django's stubs know views only
notebook: Any = NotebookConsumer.as_asgi()

websocket_urlpatterns: list[URLPattern] = [
    path("ws/jobs/<str:job_id>/", job, name="job_socket"),
    path("ws/notebooks/<str:notebook_id>/", notebook, name="notebook_socket"),
]
