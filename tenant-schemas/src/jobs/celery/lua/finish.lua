-- Is done with a message, and sends what follows from it, unless it was given to another worker.
-- KEYS: in work, messages, a list
-- ARGV: the ticket, a message for the list, if any
if redis.call('HDEL', KEYS[2], ARGV[1]) == 0 then
  return 0
end
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] then
  redis.call('LPUSH', KEYS[3], ARGV[2])
end
return 1
