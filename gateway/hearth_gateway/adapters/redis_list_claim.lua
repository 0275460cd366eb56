-- Lease messages. ARGV 4..: session, bytes, bytes counted beside each body, limit, base of new ids.
-- Gives: how many more there are now, the next due time (-1: none), the queue's RedrivePolicy ('': none), then id,
-- attempts, first received and element of each. Of a FIFO queue they are all of one group.
if not is_current(ARGV[4]) then return redis.error_reply('STALE session') end
local max_bytes, overhead, limit, id_base = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local reply, count, size = { 0, -1, redis.call('HGET', settings, 'a:RedrivePolicy') or '' }, 0, 0

-- The first message always fits: one too large for any event must be seen to be refused.
local function full(element)
  return count == limit or (count > 0 and size + #element + overhead > max_bytes)
end

local function lease(id, attempts, first_received, element, is_new)
  count, size = count + 1, size + #element + overhead
  redis.call('SADD', leases(owner), id)
  if not is_new then
    redis.call('HDEL', receipts, id)
    redis.call('ZREM', delayed, id)
    if not is_fifo then redis.call('ZREM', retries, id) end
  end
  for _, part in ipairs({ id, attempts, first_received, element }) do reply[#reply + 1] = part end
  return true
end

if is_fifo then
  unblock()
  sort(id_base)
  for _ = 1, 100 do
    local group = next_group()
    if not group or count > 0 then break end
    pick_of_group(group, limit, TAKEN, full, lease)
  end
  reply[1] = redis.call('ZCARD', open) + redis.call('LLEN', source)
else
  local _ = pick_from_list(taken(owner), 'LPOP', id_base, full, lease)
    and pick_due(limit - count, full, lease)
    and pick_from_list(source, pop, id_base, full, lease)
  reply[1] = redis.call('LLEN', taken(owner)) + redis.call('LLEN', source) + redis.call('ZCOUNT', retries, '-inf', now)
end
reply[2] = next_due()
return reply
