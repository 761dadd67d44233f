"""The application."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Named as its folder would be in a project."""

    name = "tests.instrumentations.django_project.shop"
    label = "shop"
    default_auto_field = "django.db.models.BigAutoField"
