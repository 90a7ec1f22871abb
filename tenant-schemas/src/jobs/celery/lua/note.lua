-- Puts a message that says more in the place of one that is in work: if it is lost, it says it still.
-- KEYS: messages
-- ARGV: the ticket, the message
local taken = redis.call('HGET', KEYS[1], ARGV[1])
if taken then
  redis.call('HSET', KEYS[1], ARGV[1], taken:sub(1, 1) .. ARGV[2])
end
