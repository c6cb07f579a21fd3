"""Routes of accounts; signing in and up is django-allauth's, below /account/."""

from django.urls import path

from accounts.pages import api_keys, settings, team

urlpatterns = [
    path("settings/", settings.settings, name="settings"),
    path("settings/api-keys/", api_keys.api_keys, name="api_keys"),
    path("settings/api-keys/<str:key_id>/revoke/", api_keys.api_key_revoke, name="api_key_revoke"),
    path("team/", team.team, name="team"),
    path("team/switch/", team.team_switch, name="team_switch"),
]
