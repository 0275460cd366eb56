-- What claim and receive share: which messages come next, and that expired ones do not.
-- `full(element)` says that this one does not fit any more; `give(id, attempts, first, element, is_new)` hands it out,
-- and is false if it went elsewhere instead; `is_new`: nothing but `messages` knows of it yet. `id_base` is 24
-- characters of a UUID that is new in each call.
local made = 0
local function new_id(id_base)
  made = made + 1
  return id_base .. string.format('%012x', made)
end

local retention_ms = nil
if redis.call('EXISTS', settings) == 1 then
  retention_ms = 1000 * tonumber(redis.call('HGET', settings, 'a:MessageRetentionPeriod') or 345600)
end

-- A dead letter is as old as its death; a plain push carries no time, so that its first receipt counts.
local function is_expired(element, first)
  if not retention_ms then return false end
  local id, _, _, sent, _, death = parse(element)
  local since = tonumber(id and (string.match(death, '"last":(%d+)') or sent) or first) or 0
  return since > 0 and now - since > retention_ms
end

-- The id of an element that becomes a message: its own, unless a message of that id is here already.
local function id_for(element, id_base)
  local id = parse(element)
  if id and redis.call('HEXISTS', messages, id) == 0 then return id end
  return new_id(id_base)
end

local FULL, GIVEN, GONE = 'full', 'given', 'gone'

-- New messages from a list of elements; false once the batch is full.
local function pick_from_list(list, side, id_base, full, give)
  local index = side == 'RPOP' and -1 or 0
  while true do
    local element = redis.call('LINDEX', list, index)
    if not element then return true end
    if not is_expired(element, '0') then
      if full(element) then return false end
      local id = id_for(element, id_base)
      keep(id, '0', now, element)
      give(id, '0', now, element, true)
    end
    redis.call(side, list)
  end
end

-- A message that is on the books.
local function pick(id, full, give)
  local attempts, first, element = entry(id)
  if not attempts then return GONE end
  if is_expired(element, first) then
    forget(id)
    return GONE
  end
  if full(element) then return FULL end
  if first == '0' then
    first = now
    keep(id, attempts, first, element)
  end
  return give(id, attempts, first, element, false) and GIVEN or GONE
end

-- Messages whose time has come (again); false once the batch is full.
local function pick_due(limit, full, give)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', retries, '-inf', now, 'LIMIT', 0, limit)) do
    local outcome = pick(id, full, give)
    if outcome == FULL then return false end
    if outcome == GONE then redis.call('ZREM', retries, id) end
  end
  return true
end

-- FIFO: elements of the list join their groups, in order. A plain body's group is the empty one.
local function sort(id_base)
  if redis.call('ZCARD', open) >= 32 then return end
  for i = 1, 1000 do
    local element = redis.call('LINDEX', source, head == 'RIGHT' and -1 or 0)
    if not element then return end
    if not is_expired(element, '0') then
      local _, _, group = parse(element)
      group = group or ''
      local id = id_for(element, id_base)
      keep(id, '0', '0', element)
      redis.call('HSET', group_of, id, group)
      redis.call('RPUSH', members(group), id)
      if not redis.call('ZSCORE', open, group) and not redis.call('ZSCORE', blocked, group) then refresh(group) end
    end
    redis.call(pop, source)
    if i % 200 == 0 and redis.call('ZCARD', open) > 0 then return end
  end
end

-- FIFO: the first messages of a group that is open; they block it until `due`. False once the batch is full. What is
-- given stays in the group, before what comes next; what is gone makes room for it.
local function pick_of_group(group, limit, due, full, give)
  local room, given = true, 0
  for _ = 1, limit + 1000 do
    local id = given < limit and redis.call('LINDEX', members(group), given)
    if not id or is_later(redis.call('ZSCORE', delayed, id)) then break end
    local outcome = pick(id, full, give)
    if outcome == FULL then
      room = false
      break
    end
    if outcome == GIVEN then
      redis.call('ZADD', held(group), due, id)
      given = given + 1
    else
      redis.call('LREM', members(group), 1, id)
    end
  end
  refresh(group)
  return room
end

-- FIFO: the group whose turn it is; nil if none is open.
local function next_group() return redis.call('ZRANGE', open, 0, 0)[1] end
