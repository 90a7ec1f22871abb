-- Puts a message away until its time has come: by the clock of Redis, which says what is due.
-- KEYS: in work, later
-- ARGV: the ticket, for how many milliseconds
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
