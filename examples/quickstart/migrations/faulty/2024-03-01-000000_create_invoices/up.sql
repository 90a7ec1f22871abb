CREATE TABLE invoices (
    id integer PRIMARY KEY
);
ALTER TABLE invoices
    ADD COLUMN amount monney NOT NULL;
