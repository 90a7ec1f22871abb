CREATE INDEX bookings_by_guest ON bookings (lower(guest));
