"""Routes of the pages of clusters."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
