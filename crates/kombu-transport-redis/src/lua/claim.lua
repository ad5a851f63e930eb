-- Takes messages from lists and records them as unacked, all or nothing per list.
-- KEYS: unacked, unacked_index, log, then for each queue its lists by step.
-- ARGV: steps, most bytes, watch, seconds that the log lives, a fresh tag, then for each queue: limit, no_ack, the
--       record's end.
-- Returns a time, then for each message: queue, step, tag, envelope. The first message that is recorded has that
-- time for its score, and each later one a microsecond more, so that whoever restores them knows their order.
local steps, budget = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local start, recorded = time[1] * 1000000 + time[2], 0

local function score_of(place)
  local micros = start + place
  return string.format('%d.%06d', math.floor(micros / 1000000), micros % 1000000)
end

local score = score_of(0)
local out, log, seen, fresh = {score}, {}, {}, 0
local taken, bytes = 0, 0

local function note(text) log[#log + 1] = #text .. ':' .. text end

local function new_tag()
  fresh = fresh + 1
  return ARGV[5] .. '-' .. fresh
end

-- Publishers of Kombu write the tag last, a UUID of 36 letters; others may write it anywhere.
local function tag_of(envelope)
  local uuid = string.sub(envelope, -39, -4)
  if string.sub(envelope, -56, -40) == '"delivery_tag": "' and string.sub(envelope, -3) == '"}}'
    and not string.find(uuid, '"', 1, true) and not string.find(uuid, '\\', 1, true) then
    return uuid
  end
  local tag = string.match(string.sub(envelope, -100), '"delivery_tag": ?"([^"\\]+)"}}$')
  if tag then return tag end
  local good, fields = pcall(cjson.decode, envelope)
  if good and type(fields) == 'table' and type(fields.properties) == 'table'
    and type(fields.properties.delivery_tag) == 'string' then
    return fields.properties.delivery_tag
  end
  return new_tag()
end

local function record_of(envelope, tail)
  if string.sub(envelope, 1, 1) == '{' and string.sub(envelope, -1) == '}' then
    return '[' .. envelope .. tail
  end
  return '[' .. cjson.encode(envelope) .. tail
end

-- Records envelopes that were popped; an error, and nothing recorded, if that cannot be.
local function record(envelopes, tags, tail)
  local index, hash = {}, {}
  for i, envelope in ipairs(envelopes) do
    local tag = tag_of(envelope)
    if seen[tag] then tag = new_tag() end
    seen[tag] = true
    tags[i] = tag
    index[2 * i - 1], index[2 * i] = score_of(recorded + i - 1), tag
  end
  local added = redis.pcall('ZADD', KEYS[2], 'NX', unpack(index))
  if type(added) == 'table' then return added end
  -- The same tag in two queues: Kombu gives copies of a message one tag.
  if added < #envelopes then
    for i, tag in ipairs(tags) do
      local held = redis.call('ZSCORE', KEYS[2], tag)
      if tonumber(held) ~= tonumber(index[2 * i - 1]) then
        tags[i] = new_tag()
        redis.call('ZADD', KEYS[2], index[2 * i - 1], tags[i])
      end
    end
  end
  for i, envelope in ipairs(envelopes) do
    hash[2 * i - 1], hash[2 * i] = tags[i], record_of(envelope, tail)
  end
  local written = redis.pcall('HSET', KEYS[1], unpack(hash))
  if type(written) == 'table' and written.err then
    redis.call('ZREM', KEYS[2], unpack(tags))
    return written
  end
  recorded = recorded + #envelopes
end

local key, arg, queue = 4, 6, 0
while KEYS[key] do
  local limit, no_ack, tail = tonumber(ARGV[arg]), ARGV[arg + 1] == '1', ARGV[arg + 2]
  for step = 0, steps - 1 do
    local list = KEYS[key + step]
    while limit > 0 and bytes < budget do
      local count = 8
      if taken > 0 then count = math.max(1, math.floor((budget - bytes) * taken / bytes)) end
      local envelopes = redis.call('RPOP', list, math.min(limit, count, 200))
      if not envelopes then break end
      local tags = {}
      if not no_ack then
        local refused = record(envelopes, tags, tail)
        if refused then
          for i = #envelopes, 1, -1 do redis.call('RPUSH', list, envelopes[i]) end
          return refused
        end
        note(list)
        note(tostring(#envelopes))
      end
      for i, envelope in ipairs(envelopes) do
        out[#out + 1] = queue
        out[#out + 1] = step
        out[#out + 1] = tags[i] or ''
        out[#out + 1] = envelope
        bytes = bytes + #envelope
        if not no_ack then note(tags[i]) end
      end
      taken = taken + #envelopes
      limit = limit - #envelopes
    end
  end
  key, arg, queue = key + steps, arg + 3, queue + 1
end
if #log > 0 then
  redis.call('SET', KEYS[3], #score .. ':' .. score .. table.concat(log), 'EX', ARGV[4])
end
if taken == 0 and ARGV[3] == '1' then
  -- Reading makes the server tell this client of the next change.
  redis.call('EXISTS', unpack(KEYS, 4))
end
return out
