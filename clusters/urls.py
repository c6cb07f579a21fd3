"""Routes of the pages of clusters."""

from __future__ import annotations

from django.urls import URLPattern, path

from clusters.pages import job, jobs, launch, output, volume_files, volumes

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
    path("volumes/", volumes.volumes, name="volumes"),
    path("volumes/<str:volume_id>/", volumes.volume, name="volume"),
    path("volumes/<str:volume_id>/rename/", volumes.volume_rename, name="volume_rename"),
    path("volumes/<str:volume_id>/resize/", volumes.volume_resize, name="volume_resize"),
    path("volumes/<str:volume_id>/remove/", volumes.volume_remove, name="volume_remove"),
    path("volumes/<str:volume_id>/files/<path:path>", volume_files.volume_file, name="volume_file"),
    path("volumes/<str:volume_id>/folder/", volume_files.volume_folder, name="volume_folder"),
    path("volumes/<str:volume_id>/move/", volume_files.volume_move, name="volume_move"),
    path("volumes/<str:volume_id>/delete/", volume_files.volume_delete, name="volume_delete"),
    path("volumes/<str:volume_id>/known/", volume_files.volume_known, name="volume_known"),
    path("volumes/<str:volume_id>/zip/", volume_files.volume_zip, name="volume_zip"),
    path("volumes/<str:volume_id>/unpack/", volume_files.volume_unpack, name="volume_unpack"),
]
