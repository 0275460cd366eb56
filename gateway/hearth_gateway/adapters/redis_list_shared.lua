-- The common head of every transition: names, and what more than one of them does.
-- KEYS: the source list, the stem of our own keys. ARGV: head of the source (LEFT or RIGHT), owner, now (epoch ms).
-- Rule: copy before removing. Whatever refuses a write (memory, a key of another type) refuses the first one.
local source, stem = KEYS[1], KEYS[2]
local head, owner, now = ARGV[1], ARGV[2], ARGV[3]

local messages = stem .. ':messages' -- hash: id -> "<failed attempts> <first received, ms> <body>"
local retries = stem .. ':retry' -- sorted set: id by due time, ms
local owners = stem .. ':owners' -- sorted set: every owner that may hold something, by its last sign of life, ms
local function live(who) return stem .. ':live:' .. who end -- string with a time to live: the owner's session
local function taken(who) return stem .. ':taken:' .. who end -- list: bodies held back, oldest first
local function leases(who) return stem .. ':leases:' .. who end -- set: ids of messages in the owner's hands

-- What the owner holds goes back: bodies to the head of the list, in order; leases become due at once.
local function restore(who, keep)
  while redis.call('LMOVE', taken(who), source, 'RIGHT', head) do end
  for _, id in ipairs(redis.call('SMEMBERS', leases(who))) do
    if not keep[id] then
      if redis.call('HEXISTS', messages, id) == 1 then redis.call('ZADD', retries, now, id) end
      redis.call('SREM', leases(who), id)
    end
  end
end

-- A silent owner stays on the books for an hour: a request it sent before it died may still arrive.
local FORGET_AFTER_MS = 3600000

local function take_over(previous_run)
  local known = redis.call('ZRANGE', owners, 0, -1, 'WITHSCORES')
  for i = 1, #known, 2 do
    local other = known[i]
    local is_previous = previous_run ~= '' and string.sub(other, 1, #previous_run + 1) == previous_run .. '/'
    if other ~= owner and (is_previous or redis.call('EXISTS', live(other)) == 0) then
      restore(other, {})
      if now - known[i + 1] > FORGET_AFTER_MS then redis.call('ZREM', owners, other) end
    end
  end
end

local function sign_of_life(session, ttl_ms)
  redis.call('ZADD', owners, now, owner)
  redis.call('SET', live(owner), session, 'PX', ttl_ms)
end

local function next_due()
  local first = redis.call('ZRANGE', retries, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or -1
end

local function is_current(session) return redis.call('GET', live(owner)) == session end
