"""Orders."""

from django.db import models


class Order(models.Model):
    """Something to be shipped."""

    item = models.CharField(max_length=50)
    parcel = models.CharField(max_length=50, blank=True)
    """Number of the parcel, once it is shipped."""
