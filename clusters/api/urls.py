"""Routes of the API of clusters."""

from django.urls import path

from clusters.api.agent import AgentSamplesView
from clusters.api.boards import BoardView, JobBoardView, NotebookBoardView
from clusters.api.jobs import JobCancelView, JobsView, JobView
from clusters.api.notebook_access import (
    NotebookAccessView,
    NotebookSharesView,
    NotebookShareView,
)
from clusters.api.notebooks import (
    NotebookEventsView,
    NotebookKeepView,
    NotebookStartView,
    NotebookStopView,
    NotebooksView,
    NotebookView,
)
from clusters.api.outputs import JobFilesView, JobFileView, JobLogsView, NotebookLogsView
from clusters.api.pools import PoolsView
from clusters.api.proxy import AppAnswerView, KeepView, StopView, WakeView
from clusters.api.scalars import JobScalarsView, NotebookScalarsView
from clusters.api.schedules import (
    NotebookRunsView,
    ScheduleNowView,
    SchedulePauseView,
    ScheduleResumeView,
    ScheduleRunsView,
    SchedulesView,
    ScheduleView,
)
from clusters.api.terminals import JobTerminalView, NotebookTerminalView
from clusters.api.volume_files import (
    VolumeArchiveFolderView,
    VolumeArchiveView,
    VolumeFilesView,
    VolumeFileView,
)
from clusters.api.volumes import VolumesView, VolumeView

urlpatterns = [
    path("pools", PoolsView.as_view(), name="api_pools"),
    path("jobs", JobsView.as_view(), name="api_jobs"),
    path("jobs/<str:job_id>", JobView.as_view(), name="api_job"),
    path("jobs/<str:job_id>/cancel", JobCancelView.as_view(), name="api_job_cancel"),
    path("jobs/<str:job_id>/logs", JobLogsView.as_view(), name="api_job_logs"),
    path("jobs/<str:job_id>/files", JobFilesView.as_view(), name="api_job_files"),
    path("jobs/<str:job_id>/files/<path:path>", JobFileView.as_view(), name="api_job_file"),
    path("jobs/<str:job_id>/scalars", JobScalarsView.as_view(), name="api_job_scalars"),
    path("jobs/<str:job_id>/tensorboard", JobBoardView.as_view(), name="api_job_board"),
    path("tensorboards/<str:side_id>", BoardView.as_view(), name="api_board"),
    path("jobs/<str:job_id>/terminal", JobTerminalView.as_view(), name="api_job_terminal"),
    path("notebook-runs", NotebookRunsView.as_view(), name="api_notebook_runs"),
    path("schedules", SchedulesView.as_view(), name="api_schedules"),
    path("schedules/<str:schedule_id>", ScheduleView.as_view(), name="api_schedule"),
    path("schedules/<str:schedule_id>/runs", ScheduleRunsView.as_view(), name="api_schedule_runs"),
    path("schedules/<str:schedule_id>/pause", SchedulePauseView.as_view(), name="api_pause"),
    path("schedules/<str:schedule_id>/resume", ScheduleResumeView.as_view(), name="api_resume"),
    path("schedules/<str:schedule_id>/run", ScheduleNowView.as_view(), name="api_schedule_now"),
    path("notebooks", NotebooksView.as_view(), name="api_notebooks"),
    path("notebooks/<str:notebook_id>", NotebookView.as_view(), name="api_notebook"),
    path("notebooks/<str:notebook_id>/start", NotebookStartView.as_view(), name="api_start"),
    path("notebooks/<str:notebook_id>/stop", NotebookStopView.as_view(), name="api_stop"),
    path("notebooks/<str:notebook_id>/keep", NotebookKeepView.as_view(), name="api_keep"),
    path("notebooks/<str:notebook_id>/events", NotebookEventsView.as_view(), name="api_events"),
    path(
        "notebooks/<str:notebook_id>/scalars",
        NotebookScalarsView.as_view(),
        name="api_notebook_scalars",
    ),
    path("notebooks/<str:notebook_id>/logs", NotebookLogsView.as_view(), name="api_notebook_logs"),
    path(
        "notebooks/<str:notebook_id>/tensorboard",
        NotebookBoardView.as_view(),
        name="api_notebook_board",
    ),
    path("notebooks/<str:notebook_id>/access", NotebookAccessView.as_view(), name="api_access"),
    path(
        "notebooks/<str:notebook_id>/terminal",
        NotebookTerminalView.as_view(),
        name="api_notebook_terminal",
    ),
    path("notebooks/<str:notebook_id>/shares", NotebookSharesView.as_view(), name="api_shares"),
    path(
        "notebooks/<str:notebook_id>/shares/<str:share_id>",
        NotebookShareView.as_view(),
        name="api_share",
    ),
    path("volumes", VolumesView.as_view(), name="api_volumes"),
    path("volumes/<str:volume_id>", VolumeView.as_view(), name="api_volume"),
    path("volumes/<str:volume_id>/files", VolumeFilesView.as_view(), name="api_volume_files"),
    path(
        "volumes/<str:volume_id>/files/<path:path>",
        VolumeFileView.as_view(),
        name="api_volume_file",
    ),
    path("volumes/<str:volume_id>/archive", VolumeArchiveView.as_view(), name="api_volume_zip"),
    path(
        "volumes/<str:volume_id>/archive/<path:path>",
        VolumeArchiveFolderView.as_view(),
        name="api_volume_folder_zip",
    ),
    path("agent/samples", AgentSamplesView.as_view(), name="api_agent_samples"),
    path("proxy/apps/<int:app_id>/answer", AppAnswerView.as_view(), name="api_proxy_answer"),
    path("proxy/notebooks/<str:run_id>/keep", KeepView.as_view(), name="api_proxy_keep"),
    path("proxy/notebooks/<str:run_id>/stop", StopView.as_view(), name="api_proxy_stop"),
    path("proxy/terminals/<str:run_id>/wake", WakeView.as_view(), name="api_proxy_wake"),
]
