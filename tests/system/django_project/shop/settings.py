"""The least that a Django project needs."""

import os

SECRET_KEY = "for tests only"
DEBUG = False
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SHOP_DB"], "CONN_MAX_AGE": 60}}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
