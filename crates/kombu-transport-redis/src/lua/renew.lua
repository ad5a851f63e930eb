-- Gives records that still carry the score of their claim a new one.
-- KEYS: unacked_index. ARGV: new score, then tag, score, ... Returns the places of those that do not.
local lost = {}
for i = 2, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i])
  else
    lost[#lost + 1] = (i - 2) / 2
  end
end
return lost
