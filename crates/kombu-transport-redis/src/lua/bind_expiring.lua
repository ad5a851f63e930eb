-- Binds a queue that expires, and moves the deadline of the exchange's bindings.
-- KEYS: bindings, deadlines. ARGV: member, exchange, milliseconds.
local time = redis.call('TIME')
redis.call('SADD', KEYS[1], ARGV[1])
local deadline = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
return redis.call('ZADD', KEYS[2], 'GT', string.format('%d', deadline), ARGV[2])
