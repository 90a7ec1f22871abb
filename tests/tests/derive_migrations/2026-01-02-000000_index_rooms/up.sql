CREATE INDEX CONCURRENTLY rooms_number ON rooms (number);
