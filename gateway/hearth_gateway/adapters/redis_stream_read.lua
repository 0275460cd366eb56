-- ARGV: after which entry ('>': what nobody has read), most entries, most bytes, most pending ones.
-- Gives: how it went, whether that is all, the entries; one that the stream has no more comes without fields.
local is_stale = stale()
if is_stale then return is_stale end
local after, limit, most_bytes = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local is_new = after == '>'
if is_new then
  local summary = redis.pcall('XPENDING', stream, group)
  if summary.err then return failure(summary) end
  limit = math.min(limit, tonumber(ARGV[6]) - summary[1])
  if limit <= 0 then return {'held', 0, {}} end
end
local taken, size, largest, chunk, is_last = {}, 0, 1, 1, 0
while #taken < limit and size < most_bytes do
  local want = math.min(chunk, limit - #taken)
  local reply = redis.pcall('XREADGROUP', 'GROUP', group, CONSUMER, 'COUNT', want, 'STREAMS', stream, after)
  if reply and reply.err then return failure(reply) end
  local rows = reply and reply[1] and reply[1][2] or {}
  for _, row in ipairs(rows) do
    local bytes = 0
    for _, part in ipairs(row[2] or {}) do bytes = bytes + #part end
    size, largest = size + bytes, math.max(largest, bytes)
    taken[#taken + 1] = row
  end
  if #rows < want then
    is_last = 1
    break
  end
  if not is_new then after = taken[#taken][1] end
  -- Twice as many next time, if as many of the largest so far would still fit.
  chunk = math.max(1, math.min(chunk * 2, math.floor((most_bytes - size) / largest)))
end
if is_new and #taken > 0 then
  redis.call('HSET', state, 'read', taken[#taken][1])
  redis.call('HSETNX', state, 'unfinished', taken[1][1])
end
return {'ok', is_last, taken}
