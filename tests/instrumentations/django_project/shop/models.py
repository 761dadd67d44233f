"""What the shop keeps."""

from __future__ import annotations

from django.db import models


class Tag(models.Model):
    """A word for invoices."""

    word: models.CharField[str, str] = models.CharField(max_length=50)


class Customer(models.Model):
    """Who buys."""

    name: models.CharField[str, str] = models.CharField(max_length=100)
    card: models.CharField[str, str] = models.CharField(max_length=100, default="")


class Invoice(models.Model):
    """What a customer owes."""

    customer: models.ForeignKey[Customer, Customer] = models.ForeignKey(
        Customer, on_delete=models.CASCADE, related_name="invoices"
    )
    total: models.IntegerField[int, int] = models.IntegerField(default=0)
    tags: models.ManyToManyField[Tag, Tag] = models.ManyToManyField(Tag)
