DROP INDEX bookings_by_guest;
