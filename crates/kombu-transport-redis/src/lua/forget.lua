-- Forgets records that still carry the score of their claim.
-- KEYS: unacked, unacked_index. ARGV: tag, score, ... Returns the places of those that do not.
local gone, lost = {}, {}
for i = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[2], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    gone[#gone + 1] = ARGV[i]
  else
    lost[#lost + 1] = (i - 1) / 2
  end
end
if #gone > 0 then
  redis.call('ZREM', KEYS[2], unpack(gone))
  redis.call('HDEL', KEYS[1], unpack(gone))
end
return lost
