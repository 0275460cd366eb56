-- Look at messages. ARGV 4..: how many to skip, how many to give. Those in the list come first, in order, then those
-- that were received or delayed once. Gives id ('': it has none yet), receive count, until when it is hidden ('': it
-- is not; TAKEN: until it is settled) and element of each.
local skip, limit = tonumber(ARGV[4]), tonumber(ARGV[5])
local reply = {}

local function show(id, attempts, hidden, element)
  for _, part in ipairs({ id, attempts, hidden, element }) do reply[#reply + 1] = part end
end

local length = redis.call('LLEN', source)
local elements
if head == 'RIGHT' then
  elements = redis.call('LRANGE', source, -skip - limit, -skip - 1)
else
  elements = redis.call('LRANGE', source, skip, skip + limit - 1)
end
for _, element in ipairs(elements) do
  local id = parse(element)
  local delay = id and redis.call('ZSCORE', delayed, id)
  show('', '0', is_later(delay) and delay or '', element)
end

local ids = {}
local function collect(found)
  for _, id in ipairs(found) do ids[#ids + 1] = id end
end
if #elements < limit then
  if is_fifo then
    for _, groups in ipairs({ open, blocked }) do
      for _, group in ipairs(redis.call('ZRANGE', groups, 0, -1)) do
        collect(redis.call('LRANGE', members(group), 0, -1))
      end
    end
  else
    collect(redis.call('ZRANGE', retries, 0, math.max(skip - length, 0) + limit))
    for _, who in ipairs(redis.call('ZRANGE', owners, 0, -1)) do collect(redis.call('SMEMBERS', leases(who))) end
  end
end
local first = math.max(skip - length, 0) + 1
for i = first, math.min(#ids, first + limit - #elements - 1) do
  local attempts, _, element = entry(ids[i])
  if attempts then
    local hidden = hidden_until(ids[i]) or TAKEN
    show(ids[i], attempts, is_later(hidden) and hidden or '', element)
  end
end
return reply
