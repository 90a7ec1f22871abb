-- Hotels that were signed up: the queue of those that wait for their schema, and who gets the keys.
CREATE TABLE openings (
    hotel_id INTEGER PRIMARY KEY REFERENCES hotels (id) ON DELETE CASCADE,
    -- Whether the job is to be done, for the first time or again.
    waiting BOOLEAN NOT NULL DEFAULT true,
    -- Where the page is that watches.
    ticket TEXT UNIQUE,
    email TEXT,
    -- Until the owner's account is there. The password itself is nowhere.
    password_hash TEXT
);
