from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Client(TenantMixin):
    domain_url = models.CharField(max_length=128, unique=True)
    name = models.TextField()
    on_trial = models.BooleanField(default=True)

    class Meta:
        db_table = "clients"


class Domain(DomainMixin):
    class Meta:
        db_table = "domains"


class Plan(models.Model):
    id = models.IntegerField(primary_key=True)
    name = models.TextField()

    class Meta:
        db_table = "plans"
