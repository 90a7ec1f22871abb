"""Does what it is asked, a line of JSON each, so that Django is loaded once for a test."""
import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()

from celery import Celery
from celery.result import AsyncResult
from django_tenants.utils import schema_context

from customers.models import Client
from hotels.tasks import add_room_in_rust
from project.celery import app


def send(schema, task, args=(), kwargs=None, **options):
    """Sends a task from a tenant's scope."""
    with schema_context(schema):
        return app.send_task(task, args, kwargs, **options).id


def send_without_tenant(task, args=(), kwargs=None, **options):
    """Sends a task as a project does that knows nothing of tenants."""
    return Celery.send_task(app, task, args, kwargs, **options).id


def delay_in_rust(schema, name):
    """Sends a task from a tenant's scope in the way that Django code does."""
    with schema_context(schema):
        return add_room_in_rust.delay(name).id


def result(id):
    """Waits for a task, as the program would that sent it."""
    try:
        return {"is": AsyncResult(id, app=app).get(timeout=60)}
    except Exception as error:
        return {"raises": type(error).__name__, "message": str(error)}


def save_client(schema):
    """Saves a tenant, which django-tenants makes a schema for."""
    client = Client(schema_name=schema, domain_url=f"{schema}.my-domain.com", name=f"The {schema}")
    client.save(verbosity=0)
    return client.id


ASKED = {f.__name__: f for f in (send, send_without_tenant, delay_in_rust, result, save_client)}

for line in sys.stdin:
    name, args, kwargs = json.loads(line)
    print(json.dumps(ASKED[name](*args, **kwargs)), flush=True)
