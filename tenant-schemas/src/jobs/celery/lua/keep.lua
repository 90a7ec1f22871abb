-- Keeps messages that are still in work.
-- KEYS: in work
-- ARGV: for how many milliseconds, then the tickets
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for ticket = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', now + ARGV[1], ARGV[ticket])
end
