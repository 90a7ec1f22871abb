from django.db import connection

from project.celery import app

from .models import Room


def add(name):
    Room.objects.create(id=Room.objects.count() + 1, name=name)
    return {"schema": connection.schema_name, "rooms": Room.objects.count()}


@app.task
def add_room(name):
    return add(name)


@app.task(bind=True)
def add_room_at_second_try(self, name):
    if self.request.retries < 1:
        raise self.retry(countdown=0.2)
    return add(name)


@app.task(name="rust.add_room")
def add_room_in_rust(name):
    raise NotImplementedError("a Rust worker runs it")
