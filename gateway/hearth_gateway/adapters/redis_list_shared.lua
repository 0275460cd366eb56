-- The common head of every script on a queue: names, and what more than one of them does.
-- KEYS: the source list, the stem of our own keys. ARGV: head of the source (LEFT or RIGHT), owner, now (epoch ms).
-- Rule: copy before removing. Whatever refuses a write (memory, a key of another type) refuses the first one.
local source, stem = KEYS[1], KEYS[2]
local head, owner, now = ARGV[1], ARGV[2], ARGV[3]
local pop = head == 'RIGHT' and 'RPOP' or 'LPOP'
local is_fifo = string.sub(source, -5) == '.fifo'

local messages = stem .. ':messages' -- hash: id -> "<attempts> <first received, ms; 0: never> <element>"
local retries = stem .. ':retry' -- sorted set (not FIFO): id by the time it may be received (again), ms
local receipts = stem .. ':receipts' -- hash: id -> the receive that holds or held it last, if that was a receiver's
local delayed = stem .. ':delayed' -- sorted set: id by the end of its delay, ms, until it is first received
local settings = stem .. ':queue' -- hash: what the queue was created with; a:<attribute>, t:<tag>
local owners = stem .. ':owners' -- sorted set: every owner that may hold something, by its last sign of life, ms
local sessions = stem .. ':sessions' -- hash: owner -> its newest session; unlike its liveness it does not lapse
local function live(who) return stem .. ':live:' .. who end -- string with a time to live: the owner's session
local function taken(who) return stem .. ':taken:' .. who end -- list: elements held back, oldest first
local function leases(who) return stem .. ':leases:' .. who end -- set: ids of messages in the owner's hands

-- FIFO only. A group is open (its first message may be received), blocked until a time, or has no messages.
local open = stem .. ':open' -- sorted set: groups by the turn in which they opened
local blocked = stem .. ':blocked' -- sorted set: groups by the time they open again, ms
local group_of = stem .. ':groupof' -- hash: id -> group
local function members(group) return stem .. ':group:' .. group end -- list: ids, in order, held ones too
local function held(group) return stem .. ':held:' .. group end -- sorted set: ids in hands or at rest, by its end
local TAKEN = '9007199254740991' -- 2^53 - 1: no time, but "until it is settled"

-- id, sequence, group, sent (ms), JSON, death and the place of the body; nil for a plain body. See core/envelope.py.
local function parse(element)
  if string.sub(element, 1, 9) ~= '\193hearth1\t' then return nil end
  local id, sequence, group, sent, rest, death, at =
    string.match(element, '^.hearth1\t([!-~]+)\t(%d*)\t([^\t\n]*)\t(%d*)\t([^\t\n]*)\t([^\t\n]*)\n()')
  if not id or #id > 200 then return nil end
  return id, sequence, group, sent, rest, death, at
end

local function entry(id)
  local value = redis.call('HGET', messages, id)
  if not value then return nil end
  local attempts, first, at = string.match(value, '^(%d+) (%d+) ()')
  return attempts, first, string.sub(value, at)
end

local function keep(id, attempts, first, element)
  redis.call('HSET', messages, id, attempts .. ' ' .. first .. ' ' .. element)
end

local function is_later(time) return time and tonumber(time) > tonumber(now) end

-- A group is where its messages say: blocked while one is held, or while the first is delayed.
local function refresh(group)
  local first = redis.call('LINDEX', members(group), 0)
  if not first then
    redis.call('ZREM', open, group)
    redis.call('ZREM', blocked, group)
    redis.call('DEL', held(group))
    return
  end
  local last = redis.call('ZRANGE', held(group), -1, -1, 'WITHSCORES')[2]
  if not is_later(last) then
    local delay = redis.call('ZSCORE', delayed, first)
    last = is_later(delay) and delay or last
  end
  if last then
    redis.call('ZADD', blocked, last, group)
    redis.call('ZREM', open, group)
  else
    redis.call('ZADD', open, 'NX', redis.call('INCR', stem .. ':turns'), group)
    redis.call('ZREM', blocked, group)
  end
end

-- The groups whose time has come open again: every hold on them is over.
local function unblock()
  for _, group in ipairs(redis.call('ZRANGEBYSCORE', blocked, '-inf', now, 'LIMIT', 0, 200)) do
    redis.call('DEL', held(group))
    refresh(group)
  end
end

-- The message may not be received before this time; TAKEN: before it is settled.
local function hide(id, due)
  if is_fifo then
    local group = redis.call('HGET', group_of, id)
    if group then
      redis.call('ZADD', held(group), due, id)
      refresh(group)
    end
  elseif due == TAKEN then
    redis.call('ZREM', retries, id)
  else
    redis.call('ZADD', retries, due, id)
  end
end

-- When the message may be received again; nil: it is in an owner's hands, or gone.
local function hidden_until(id)
  if not is_fifo then return redis.call('ZSCORE', retries, id) end
  local group = redis.call('HGET', group_of, id)
  if not group then return nil end
  return redis.call('ZSCORE', held(group), id) or redis.call('ZSCORE', delayed, id) or '0'
end

-- The message is gone.
local function forget(id)
  redis.call('HDEL', messages, id)
  redis.call('HDEL', receipts, id)
  redis.call('ZREM', delayed, id)
  if not is_fifo then
    redis.call('ZREM', retries, id)
    return
  end
  local group = redis.call('HGET', group_of, id)
  if group then
    redis.call('HDEL', group_of, id)
    redis.call('LREM', members(group), 1, id)
    redis.call('ZREM', held(group), id)
    refresh(group)
  end
end

-- What the owner holds goes back: elements to the head of the list, in order; leases become due at once.
local function restore(who, spared)
  while redis.call('LMOVE', taken(who), source, 'RIGHT', head) do end
  for _, id in ipairs(redis.call('SMEMBERS', leases(who))) do
    if not spared[id] then
      if redis.call('HEXISTS', messages, id) == 1 then hide(id, now) end
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
      if now - known[i + 1] > FORGET_AFTER_MS then
        redis.call('ZREM', owners, other)
        redis.call('HDEL', sessions, other)
      end
    end
  end
end

-- False if a newer session has begun: a late sign of life must not bring an older one, and its late claims, back.
local function sign_of_life(session, ttl_ms)
  local newest = redis.call('HGET', sessions, owner)
  if newest and tonumber(newest) > tonumber(session) then return false end
  redis.call('ZADD', owners, now, owner)
  redis.call('HSET', sessions, owner, session)
  redis.call('SET', live(owner), session, 'PX', ttl_ms)
  return true
end

-- When there is something to receive that does not lie in the list; a group that is open has something now.
local function next_due()
  if is_fifo and redis.call('EXISTS', open) == 1 then return tonumber(now) end
  local first = redis.call('ZRANGE', is_fifo and blocked or retries, 0, 0, 'WITHSCORES')[2]
  return first and first ~= TAKEN and tonumber(first) or -1
end

local function is_current(session) return redis.call('GET', live(owner)) == session end
