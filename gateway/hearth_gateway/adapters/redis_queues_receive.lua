-- Receive messages. ARGV 4..: limit, visibility (ms, '': the queue's own), the receive's id, base of new ids, the
-- queue's ARN, the attempt's id ('': none).
-- Gives: when to look again (-1: no message has a time), the receive's id, then id, receive count, first received and
-- element of each. One received as often as its RedrivePolicy allows goes to the dead-letter queue instead.
local limit, id_base, arn, attempt = tonumber(ARGV[4]), ARGV[7], ARGV[8], ARGV[9]
local visibility_ms = tonumber(ARGV[5])
  or 1000 * tonumber(redis.call('HGET', settings, 'a:VisibilityTimeout') or 30)
local receive, until_ms = ARGV[6], string.format('%.0f', now + visibility_ms)
local reply, count = { -1, receive }, 0

local policy = redis.call('HGET', settings, 'a:RedrivePolicy')
local dead_letter_list, most = nil, nil
if policy and policy ~= '' then
  local is_read, read = pcall(cjson.decode, policy)
  if is_read and type(read) == 'table' then
    dead_letter_list = string.match(tostring(read.deadLetterTargetArn), '^arn:aws:sqs:[^:]*:[^:]*:(.+)$')
    most = tonumber(read.maxReceiveCount)
    -- Keys of Hearth's own are no queues.
    if string.sub(dead_letter_list or '', 1, 7) == 'hearth:' then dead_letter_list = nil end
  end
end

-- To the dead-letter queue, with the reason; false if that takes no messages.
local function bury(id, attempts, first, element)
  local death = string.format(
    '{"source":%s,"error":{"errorType":"Hearth.ReceivedTooOften",'
      .. '"errorMessage":"The message was received as often as the redrive policy allows."},'
      .. '"attempts":%s,"first":%s,"last":%s}',
    cjson.encode(arn), attempts, first, now)
  local _, _, group, sent, rest, _, at = parse(element)
  local fields = { id, '', group or '', sent or '', rest or '', death }
  local record = '\193hearth1\t' .. table.concat(fields, '\t') .. '\n' .. string.sub(element, at or 1)
  local pushed = redis.pcall('RPUSH', dead_letter_list, record)
  if type(pushed) == 'table' and pushed.err then return false end
  forget(id)
  return true
end

local function full() return count == limit end

local function give(id, attempts, first, element)
  local is_exhausted = most and dead_letter_list and tonumber(attempts) >= most
  if is_exhausted and bury(id, attempts, first, element) then return false end
  count = count + 1
  attempts = string.format('%.0f', attempts + 1)
  keep(id, attempts, first, element)
  redis.call('HSET', receipts, id, receive)
  redis.call('ZREM', delayed, id)
  if not is_fifo then redis.call('ZADD', retries, until_ms, id) end
  for _, part in ipairs({ id, attempts, first, element }) do reply[#reply + 1] = part end
  return true
end

-- FIFO: the same attempt again gives the same messages again, if it still holds all of them.
local attempts_made, attempts_until = stem .. ':attempts', stem .. ':attempts_until'

local function repeated()
  local before = attempt ~= '' and redis.call('HGET', attempts_made, attempt)
  if not before then return false end
  local known = cjson.decode(before)
  for _, id in ipairs(known.ids) do
    local is_held = redis.call('HGET', receipts, id) == known.receive and is_later(hidden_until(id))
    if not is_held then return false end
  end
  reply[2] = known.receive
  for _, id in ipairs(known.ids) do
    local counted, first, element = entry(id)
    hide(id, until_ms)
    for _, part in ipairs({ id, counted, first, element }) do reply[#reply + 1] = part end
  end
  return true
end

local function remember()
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', attempts_until, '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('HDEL', attempts_made, old)
    redis.call('ZREM', attempts_until, old)
  end
  if attempt == '' or count == 0 then return end
  local ids = {}
  for i = 3, #reply, 4 do ids[#ids + 1] = reply[i] end
  redis.call('HSET', attempts_made, attempt, cjson.encode({ receive = receive, ids = ids }))
  redis.call('ZADD', attempts_until, string.format('%.0f', now + 300000), attempt)
end

take_over('')
if is_fifo then
  unblock()
  if not repeated() then
    sort(id_base)
    for _ = 1, 100 do
      local group = next_group()
      if not group or count == limit then break end
      pick_of_group(group, limit - count, until_ms, full, give)
    end
    remember()
  end
else
  local _ = pick_due(limit, full, give) and pick_from_list(source, pop, id_base, full, give)
end
reply[1] = next_due()
return reply
