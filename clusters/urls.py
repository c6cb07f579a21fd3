"""Routes of the pages of clusters."""

from __future__ import annotations

from django.urls import URLPattern, path

from clusters.pages import job, jobs, launch, output

urlpatterns: list[URLPattern] = [
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/new/", launch.job_new, name="job_new"),
    path("jobs/quote/", launch.job_quote, name="job_quote"),
    path("jobs/<str:job_id>/", job.job, name="job"),
    path("jobs/<str:job_id>/status/", job.job_status, name="job_status"),
    path("jobs/<str:job_id>/cancel/", job.job_cancel, name="job_cancel"),
    path("jobs/<str:job_id>/files/", job.job_files, name="job_files"),
    path("jobs/<str:job_id>/files/<path:path>", output.job_file, name="job_file"),
    path("jobs/<str:job_id>/log", output.job_log, name="job_log"),
    path("jobs/<str:job_id>/log/download", output.job_log_download, name="job_log_download"),
    path("jobs/<str:job_id>/telemetry.json", output.job_telemetry, name="job_telemetry"),
]
