-- Moves records that still carry a score back to the heads of lists.
-- KEYS: unacked, unacked_index, then lists.
-- ARGV: how many of this connection's messages went back before, then for each: tag, number;
--       then for each record: tag, score, another score or '', envelope, number or '', number of lists, their places.
-- Numbers have leading zeros and are compared as texts: they are too large for Lua.
-- A message with a number goes behind those with lower numbers that are at the head already. Returns how many were
-- moved.
local before, i = {}, 2
for _ = 1, tonumber(ARGV[1]) do
  before[ARGV[i]] = ARGV[i + 1]
  i = i + 2
end

local function number_at_head(list)
  local head = redis.call('LINDEX', list, -1)
  local tag = head and string.match(string.sub(head, -100), '"delivery_tag": ?"([^"\\]+)"}}$')
  return tag and before[tag]
end

local function put(list, envelope, number)
  local aside = {}
  while number ~= '' do
    local other = number_at_head(list)
    if not other or other > number then break end
    aside[#aside + 1] = redis.call('RPOP', list)
  end
  redis.call('RPUSH', list, envelope)
  for at = #aside, 1, -1 do redis.call('RPUSH', list, aside[at]) end
end

local moved = 0
while i <= #ARGV do
  local tag, score, other, envelope = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local number, lists = ARGV[i + 4], tonumber(ARGV[i + 5])
  local held = redis.call('ZSCORE', KEYS[2], tag)
  if held and (tonumber(held) == tonumber(score) or (other ~= '' and tonumber(held) == tonumber(other))) then
    for list = 1, lists do
      put(KEYS[tonumber(ARGV[i + 5 + list])], envelope, number)
    end
    if number ~= '' then before[tag] = number end
    redis.call('ZREM', KEYS[2], tag)
    redis.call('HDEL', KEYS[1], tag)
    moved = moved + 1
  end
  i = i + 6 + lists
end
return moved
