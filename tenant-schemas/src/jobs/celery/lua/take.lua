-- Takes the next message, after giving back to their lists those that are due again: what was put
-- away first in line, what was lost with its worker last, with a space in front for each time.
-- KEYS: in work, later, messages, then the lists, the most urgent first
-- ARGV: the ticket under which it is taken, for how many milliseconds
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for due = 1, 2 do
  for _, ticket in ipairs(redis.call('ZRANGEBYSCORE', KEYS[due], '-inf', now, 'LIMIT', 0, 100)) do
    local taken = redis.call('HGET', KEYS[3], ticket)
    if taken then
      local list, message = KEYS[3 + taken:sub(1, 1)], taken:sub(2)
      if due == 1 then
        redis.call('LPUSH', list, ' ' .. message)
      else
        redis.call('RPUSH', list, message)
      end
      redis.call('HDEL', KEYS[3], ticket)
    end
    redis.call('ZREM', KEYS[due], ticket)
  end
end
for list = 1, #KEYS - 3 do
  local message = redis.call('RPOP', KEYS[3 + list])
  if message then
    redis.call('HSET', KEYS[3], ARGV[1], list .. message)
    redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
    return {list, message}
  end
end
return false
