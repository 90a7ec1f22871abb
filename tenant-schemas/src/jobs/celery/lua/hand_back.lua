-- Gives back what waits for its time: another worker takes it, of whatever language.
-- KEYS: later, messages, then the lists, the most urgent first
for _, ticket in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local taken = redis.call('HGET', KEYS[2], ticket)
  if taken then
    redis.call('RPUSH', KEYS[2 + taken:sub(1, 1)], taken:sub(2))
    redis.call('HDEL', KEYS[2], ticket)
  end
end
redis.call('DEL', KEYS[1])
