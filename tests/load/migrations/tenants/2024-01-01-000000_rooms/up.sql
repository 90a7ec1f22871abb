CREATE TABLE rooms (id integer PRIMARY KEY, name text NOT NULL, visits bigint NOT NULL DEFAULT 0);
