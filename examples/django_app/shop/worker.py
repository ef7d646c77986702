"""What workers start from, ``windlass worker --app shop.worker:app``: Django first, then the tasks."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from shop.tasks import app  # noqa: E402 - models can be imported only after the setup

__all__ = ["app"]
