"""What the admin shows of the shop."""

from django.contrib import admin

from tests.instrumentations.django_project.shop.models import Customer, Invoice

admin.site.register([Customer, Invoice])
