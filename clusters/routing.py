"""WebSocket routes."""

from django.urls import URLPattern, path

from clusters.consumers import JobConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/jobs/<str:job_id>/", JobConsumer.as_asgi(), name="job_socket"),  # type: ignore[arg-type]
]
