-- A migration of a tenant sees the tenant's schema alone: shared tables are named in full.
CREATE TABLE bookings (
    id integer PRIMARY KEY,
    room_id integer NOT NULL REFERENCES rooms (id),
    guest text NOT NULL,
    country_code char(2) NOT NULL REFERENCES public.countries (code)
);
