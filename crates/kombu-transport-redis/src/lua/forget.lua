-- Forgets records that still carry the score of their claim.
-- KEYS: unacked, unacked_index. ARGV: tag, score, ... Returns the places of those that do not.
local tags, gone, lost = {}, {}, {}
for i = 1, #ARGV, 2 do tags[#tags + 1] = ARGV[i] end
local scores = redis.call('ZMSCORE', KEYS[2], unpack(tags))
for i, tag in ipairs(tags) do
  local score = scores[i]
  if score and tonumber(score) == tonumber(ARGV[2 * i]) then
    gone[#gone + 1] = tag
  else
    lost[#lost + 1] = i - 1
  end
end
if #gone > 0 then
  redis.call('ZREM', KEYS[2], unpack(gone))
  redis.call('HDEL', KEYS[1], unpack(gone))
end
return lost
