"""A Django project whose database, and whose Redis, a Rust program has a part in."""
import os

from psycopg2.extensions import parse_dsn

# The same URL as the Rust program's.
dsn = parse_dsn(os.environ["DATABASE_URL"])

DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": dsn["dbname"],
        "USER": dsn.get("user", ""),
        "PASSWORD": dsn.get("password", ""),
        "HOST": dsn.get("host", ""),
        "PORT": dsn.get("port", ""),
    }
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]

SHARED_APPS = ["django_tenants", "django.contrib.contenttypes", "customers"]
TENANT_APPS = ["hotels"]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS]
TENANT_MODEL = "customers.Client"
TENANT_DOMAIN_MODEL = "customers.Domain"

DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
SECRET_KEY = "a test has no secrets"
USE_TZ = True

CELERY_BROKER_URL = os.environ["CELERY_URL"]
CELERY_RESULT_BACKEND = os.environ["CELERY_URL"]
# What is told apart by queues can move by itself.
CELERY_TASK_DEFAULT_QUEUE = "python"
CELERY_TASK_ROUTES = {"rust.*": {"queue": "rust"}}
