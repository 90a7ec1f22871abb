-- Who leaves in the morning makes room for who comes in the afternoon: the last day does not count.
--
-- The constraint keeps two guests out of one room, however many book at the same moment.
-- A range of one room stands for the room: ranges are what GiST can compare without an extension.
CREATE TABLE bookings (
    id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    room_id INTEGER NOT NULL REFERENCES rooms,
    guest TEXT NOT NULL CHECK (guest <> ''),
    arrival DATE NOT NULL,
    departure DATE NOT NULL,
    CONSTRAINT at_least_one_night CHECK (arrival < departure),
    CONSTRAINT one_guest_at_a_time EXCLUDE USING gist (
        int4range(room_id, room_id, '[]') WITH &&,
        daterange(arrival, departure) WITH &&
    )
);
