"""Celery, whose tasks run in the tenant that they were sent from."""
import os

from django.db import connection
from tenant_schemas_celery.app import CeleryApp, get_schema_name_from_task
from tenant_schemas_celery.task import TenantTask

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")


class GuardedTask(TenantTask):
    """A task that does not run in `public` because its tenant is gone.

    `tenant-schemas-celery` turns to the tenant in a signal, and Celery logs
    what fails in a signal and goes on.
    """

    abstract = True

    def __call__(self, *args, **kwargs):
        schema = get_schema_name_from_task(self, kwargs)
        if schema != connection.schema_name:
            raise LookupError(f"no tenant has the schema {schema}")
        return super().__call__(*args, **kwargs)


class GuardedApp(CeleryApp):
    task_cls = GuardedTask


app = GuardedApp("project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
