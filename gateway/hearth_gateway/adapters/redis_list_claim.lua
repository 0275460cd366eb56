-- Lease messages. ARGV 4..: session, bytes, bytes counted beside each body, new ids (their number is the limit).
-- Gives: how many more there are now, the next due time (-1: none), then id, attempts, first received, body of each.
if not is_current(ARGV[4]) then return redis.error_reply('STALE session') end
local max_bytes, overhead, limit = tonumber(ARGV[5]), tonumber(ARGV[6]), #ARGV - 6
local reply, count, size = { 0, -1 }, 0, 0

-- The first message always fits: one too large for any event must be seen to be refused.
local function fits(body)
  if count == limit or (count > 0 and size + #body + overhead > max_bytes) then return false end
  count, size = count + 1, size + #body + overhead
  return true
end

local function lease(id, attempts, first_received, body)
  redis.call('SADD', leases(owner), id)
  for _, part in ipairs({ id, attempts, first_received, body }) do reply[#reply + 1] = part end
end

-- New messages from a list of bodies; false when the batch is full.
local function from_list(list, side)
  local index, pop = 0, 'LPOP'
  if side == 'RIGHT' then index, pop = -1, 'RPOP' end
  while true do
    local body = redis.call('LINDEX', list, index)
    if not body then return true end
    if not fits(body) then return false end
    local id = ARGV[6 + count]
    redis.call('HSET', messages, id, '0 ' .. now .. ' ' .. body)
    lease(id, '0', now, body)
    redis.call(pop, list)
  end
end

local function from_retries()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', retries, '-inf', now, 'LIMIT', 0, limit - count)) do
    local envelope = redis.call('HGET', messages, id)
    if envelope then
      local attempts, first_received, start = string.match(envelope, '^(%d+) (%d+) ()')
      local body = string.sub(envelope, start)
      if not fits(body) then return false end
      lease(id, attempts, first_received, body)
    end
    redis.call('ZREM', retries, id)
  end
  return count < limit
end

local _ = from_list(taken(owner), 'LEFT') and from_retries() and from_list(source, head)
reply[1] = redis.call('LLEN', taken(owner)) + redis.call('LLEN', source) + redis.call('ZCOUNT', retries, '-inf', now)
reply[2] = next_due()
return reply
