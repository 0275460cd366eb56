-- Send messages. ARGV 4..: the number of messages; then id, deduplication id ('': none), delay (ms, '': the queue's
-- own), group, and the envelope from behind the sequence number on, of each.
-- Gives id, sequence number ('' if not FIFO) and 1 for a duplicate, of each.
local reply, at = {}, 5
local dedups, dedup_until = stem .. ':dedups', stem .. ':dedup_until'
local own_delay_ms = 1000 * tonumber(redis.call('HGET', settings, 'a:DelaySeconds') or 0)
local is_by_group = redis.call('HGET', settings, 'a:DeduplicationScope') == 'messageGroup'

local function answer(id, sequence, is_duplicate)
  for _, part in ipairs({ id, sequence, is_duplicate }) do reply[#reply + 1] = part end
end

for _, old in ipairs(redis.call('ZRANGEBYSCORE', dedup_until, '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('HDEL', dedups, old)
  redis.call('ZREM', dedup_until, old)
end

-- Whether a message of this deduplication id came in the last five minutes.
local function is_known(key)
  local known = redis.call('HGET', dedups, key)
  if not known or not is_later(redis.call('ZSCORE', dedup_until, key)) then return false end
  answer(string.match(known, '^(.*) (%d+)$'))
  reply[#reply + 1] = 1
  return true
end

local function send(id, dedup, delay_ms, group, tail)
  local key = is_by_group and group .. '\t' .. dedup or dedup
  local sequence = ''
  if is_fifo then
    if dedup ~= '' and is_known(key) then return end
    sequence = string.format('%020.0f', redis.call('INCR', stem .. ':sequence'))
  end
  local element = '\193hearth1\t' .. id .. '\t' .. sequence .. tail
  local due = string.format('%.0f', now + delay_ms)
  if delay_ms > 0 and not is_fifo then
    if redis.call('HEXISTS', messages, id) == 0 then
      keep(id, '0', '0', element)
      redis.call('ZADD', retries, due, id)
      redis.call('ZADD', delayed, due, id)
    end
  else
    redis.call('RPUSH', source, element)
    if delay_ms > 0 then redis.call('ZADD', delayed, due, id) end
  end
  if is_fifo and dedup ~= '' then
    redis.call('HSET', dedups, key, id .. ' ' .. sequence)
    redis.call('ZADD', dedup_until, string.format('%.0f', now + 300000), key)
  end
  answer(id, sequence, 0)
end

for _ = 1, tonumber(ARGV[4]) do
  send(ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]) or own_delay_ms, ARGV[at + 3], ARGV[at + 4])
  at = at + 5
end
return reply
