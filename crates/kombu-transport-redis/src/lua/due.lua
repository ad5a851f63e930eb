-- Finds records older than a time, the newest of them first.
-- KEYS: unacked, unacked_index. ARGV: seconds, how many to skip, how many.
-- Returns for each: tag, score, record.
local time = redis.call('TIME')
local due = string.format('%.6f', time[1] + time[2] / 1000000 - tonumber(ARGV[1]))
local found = redis.call(
  'ZRANGE', KEYS[2], due, '-inf', 'BYSCORE', 'REV', 'LIMIT', ARGV[2], ARGV[3], 'WITHSCORES')
local out = {}
for i = 1, #found, 2 do
  out[#out + 1] = found[i]
  out[#out + 1] = found[i + 1]
  out[#out + 1] = redis.call('HGET', KEYS[1], found[i])
end
return out
