"""Every route of the portal. Each has a row in tests/rights.csv."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from billing.api.prices import PricesView
from portal.pages import dashboard, health, home, mailbox, theme

api: list[URLPattern | URLResolver] = [
    path("", include("clusters.api.urls")),
    path("billing/", include("billing.api.urls")),
    path("prices", PricesView.as_view(), name="api_prices"),
    path("schema", SpectacularAPIView.as_view(), name="api_schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="api_schema"), name="api_docs"),
    re_path(r"", health.api_not_found, name="api_not_found"),
]

urlpatterns = [
    path("", home.home, name="home"),
    path("pools/now/", home.home_pools, name="home_pools"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("dashboard/", dashboard.dashboard, name="dashboard"),
    path("mailbox/", mailbox.mailbox, name="mailbox"),
    path("mailbox/<str:message_id>/", mailbox.mailbox_message, name="mailbox_message"),
    path("theme/", theme.theme, name="theme"),
    path("account/", include("allauth.account.urls")),
    path("", include("accounts.urls")),
    path("", include("clusters.urls")),
    path("", include("billing.urls")),
    path("api/v1/", include(api)),
    path("admin/", admin.site.urls),
]

handler400 = "portal.middleware.bad_request"
handler403 = "portal.middleware.forbidden"
handler404 = "portal.middleware.not_found"
handler500 = "portal.middleware.server_error"
