-- What the transitions of events and parcels share. Both are kept alike: under a stem and a recipient (a function, or
-- a target) a hash `:events` of records by id and a sorted set `:due` of ids by due time; what is taken has the score
-- TAKEN.
local TAKEN = 9007199254740991
local ASYNC, DEAD = 'hearth:async', 'hearth:dead'

local function members(stem)
  return stem .. (stem == ASYNC and ':functions' or ':recipients')
end

-- Keep something new. With `ordered` its time is later than that of everything kept before it for the recipient.
local function keep(stem, recipient, id, record, due, ordered)
  local base = stem .. ':' .. recipient
  if redis.call('HSETNX', base .. ':events', id, record) == 0 then return 0 end
  if ordered == '1' then
    local last = tonumber(redis.call('GET', base .. ':last') or '0')
    due = math.max(tonumber(due), last + 1 / 1024)
    redis.call('SET', base .. ':last', due, 'PX', 86400000)
  end
  redis.call('SADD', members(stem), recipient)
  redis.call('ZADD', base .. ':due', due, id)
  return 1
end

local function forget(stem, recipient, id)
  local base = stem .. ':' .. recipient
  redis.call('HDEL', base .. ':events', id)
  redis.call('ZREM', base .. ':due', id)
  if redis.call('ZCARD', base .. ':due') == 0 then redis.call('SREM', members(stem), recipient) end
end

-- Remove what is older than `cutoff`, and the oldest beyond `most`; a bounded number at a time. Gives how many.
local function trim(records, order, cutoff, most)
  local old = redis.call('ZRANGEBYSCORE', order, '-inf', cutoff, 'LIMIT', 0, 100)
  local over = math.min(100, redis.call('ZCARD', order) - #old - tonumber(most))
  if over > 0 then
    for _, id in ipairs(redis.call('ZRANGE', order, #old, #old + over - 1)) do old[#old + 1] = id end
  end
  for _, id in ipairs(old) do
    redis.call('HDEL', records, id)
    redis.call('ZREM', order, id)
  end
  return #old
end

-- Put a dead letter into its box. Gives how many others had to go for it.
local function bury(box, id, letter, at, cutoff, most)
  local base = DEAD .. ':' .. box
  redis.call('HSET', base .. ':letters', id, letter)
  redis.call('ZADD', base .. ':at', at, id)
  redis.call('SADD', DEAD .. ':boxes', box)
  return trim(base .. ':letters', base .. ':at', cutoff, most)
end

-- Note how an invocation ended, for as long as that is told.
local function note(name, id, status, at, cutoff, most, ttl)
  local base = ASYNC .. ':' .. name
  redis.call('HSET', base .. ':ended', id, status)
  redis.call('ZADD', base .. ':ended-at', at, id)
  redis.call('EXPIRE', base .. ':ended', ttl)
  redis.call('EXPIRE', base .. ':ended-at', ttl)
  redis.call('SADD', ASYNC .. ':ended', name)
  trim(base .. ':ended', base .. ':ended-at', cutoff, most)
end
