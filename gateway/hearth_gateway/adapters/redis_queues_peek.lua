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

local first = math.max(skip - length, 0) + 1
local wanted = first + limit - #elements - 1
local ids = {}

-- No more than are wanted: there may be a million.
local function collect(command, key, ...)
  if #ids >= wanted then return end
  for _, id in ipairs(redis.call(command, key, ...)) do ids[#ids + 1] = id end
end

local function collect_groups(groups)
  for _, group in ipairs(redis.call('ZRANGE', groups, 0, wanted)) do collect('LRANGE', members(group), 0, wanted) end
end

if #elements < limit then
  if is_fifo then
    collect_groups(open)
    collect_groups(blocked)
  else
    collect('ZRANGE', retries, 0, wanted)
    for _, who in ipairs(redis.call('ZRANGE', owners, 0, -1)) do collect('SMEMBERS', leases(who)) end
  end
end
for i = first, math.min(#ids, wanted) do
  local attempts, _, element = entry(ids[i])
  if attempts then
    local hidden = hidden_until(ids[i]) or TAKEN
    show(ids[i], attempts, is_later(hidden) and hidden or '', element)
  end
end
return reply
