DROP TABLE rooms; DROP TABLE tenants;
