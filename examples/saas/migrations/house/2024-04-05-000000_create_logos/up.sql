-- One row at most.
CREATE TABLE logos (
    id INTEGER PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    content_type TEXT NOT NULL,
    bytes BYTEA NOT NULL
);
