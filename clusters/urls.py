"""Routes of the pages of clusters."""

from __future__ import annotations

from django.urls import URLPattern, path

from clusters.pages import (
    boards,
    job,
    jobs,
    launch,
    notebook,
    notebook_countdown,
    notebook_deeds,
    notebook_launch,
    notebooks,
    opening,
    output,
    schedule_deeds,
    schedule_form,
    schedules,
    terminals,
    volume_files,
    volumes,
)

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
    path("jobs/<str:job_id>/scalars.json", output.job_scalars, name="job_scalars"),
    path("jobs/<str:job_id>/tensorboard/", boards.job_board, name="job_board"),
    path("jobs/<str:job_id>/terminal/", terminals.job_terminal, name="job_terminal"),
    path("tensorboards/<str:side_id>/", boards.board, name="board"),
    path("tensorboards/<str:side_id>/close/", boards.board_close, name="board_close"),
    path("notebooks/", notebooks.notebooks, name="notebooks"),
    path("notebooks/new/", notebook_launch.notebook_new, name="notebook_new"),
    path("notebooks/quote/", notebook_launch.notebook_quote, name="notebook_quote"),
    path("notebooks/schedules/", schedules.schedules, name="schedules"),
    path("notebooks/schedules/new/", schedule_form.schedule_new, name="schedule_new"),
    path("notebooks/schedules/quote/", schedule_form.schedule_quote, name="schedule_quote"),
    path("notebooks/schedules/times/", schedule_form.schedule_times, name="schedule_times"),
    path("notebooks/schedules/<str:schedule_id>/", schedules.schedule, name="schedule"),
    path(
        "notebooks/schedules/<str:schedule_id>/edit/",
        schedule_form.schedule_edit,
        name="schedule_edit",
    ),
    path(
        "notebooks/schedules/<str:schedule_id>/run/",
        schedule_deeds.schedule_run,
        name="schedule_run",
    ),
    path(
        "notebooks/schedules/<str:schedule_id>/pause/",
        schedule_deeds.schedule_pause,
        name="schedule_pause",
    ),
    path(
        "notebooks/schedules/<str:schedule_id>/resume/",
        schedule_deeds.schedule_resume,
        name="schedule_resume",
    ),
    path(
        "notebooks/schedules/<str:schedule_id>/remove/",
        schedule_deeds.schedule_remove,
        name="schedule_remove",
    ),
    path("notebooks/<str:notebook_id>/", notebook.notebook, name="notebook"),
    path("notebooks/<str:notebook_id>/status/", notebook.notebook_status, name="notebook_status"),
    path(
        "notebooks/<str:notebook_id>/start/", notebook_deeds.notebook_start, name="notebook_start"
    ),
    path("notebooks/<str:notebook_id>/stop/", notebook_deeds.notebook_stop, name="notebook_stop"),
    path("notebooks/<str:notebook_id>/keep/", notebook_deeds.notebook_keep, name="notebook_keep"),
    path(
        "notebooks/<str:notebook_id>/countdown/",
        notebook_countdown.notebook_countdown,
        name="notebook_countdown",
    ),
    path(
        "notebooks/<str:notebook_id>/stops/", notebook_deeds.notebook_stops, name="notebook_stops"
    ),
    path(
        "notebooks/<str:notebook_id>/remove/",
        notebook_deeds.notebook_remove,
        name="notebook_remove",
    ),
    path(
        "notebooks/<str:notebook_id>/shares/",
        notebook_deeds.notebook_shares,
        name="notebook_shares",
    ),
    path(
        "notebooks/<str:notebook_id>/shares/<str:share_id>/revoke/",
        notebook_deeds.notebook_share_revoke,
        name="notebook_share_revoke",
    ),
    path(
        "notebooks/<str:notebook_id>/log/download",
        notebook.notebook_log_download,
        name="notebook_log_download",
    ),
    path(
        "notebooks/<str:notebook_id>/telemetry.json",
        notebook.notebook_telemetry,
        name="notebook_telemetry",
    ),
    path(
        "notebooks/<str:notebook_id>/scalars.json",
        notebook.notebook_scalars,
        name="notebook_scalars",
    ),
    path(
        "notebooks/<str:notebook_id>/tensorboard/",
        boards.notebook_board,
        name="notebook_board",
    ),
    path(
        "notebooks/<str:notebook_id>/terminal/",
        terminals.notebook_terminal,
        name="notebook_terminal",
    ),
    path("notebooks/<str:notebook_id>/idle.json", notebook.notebook_idle, name="notebook_idle"),
    path("open/<str:name>/", opening.open_app, name="open_app"),
    path("shared/<str:secret>/", opening.shared, name="shared"),
    path("volumes/", volumes.volumes, name="volumes"),
    path("volumes/<str:volume_id>/", volumes.volume, name="volume"),
    path("volumes/<str:volume_id>/tensorboard/", boards.volume_board, name="volume_board"),
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
