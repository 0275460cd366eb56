-- A page of a function's invocations: heads with their scores, then statuses of those that ended, newest first. ARGV:
-- function, where to begin, how many at most, '1' to begin with those that ended. Gives how many there are, where the
-- page began, how many heads, the heads with their scores, the statuses.
local base, after, limit = ASYNC .. ':' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local going, over = redis.call('ZCARD', base .. ':due'), redis.call('ZCARD', base .. ':ended-at')
if ARGV[4] == '1' then after = math.max(after, going) end
local reply, heads, left = {going + over, after, 0}, 0, limit
if after < going then
  local rows = redis.call('ZRANGE', base .. ':due', after, math.min(going, after + limit) - 1, 'WITHSCORES')
  for at = 1, #rows, 2 do
    local record = redis.call('HGET', base .. ':events', rows[at])
    if record then
      reply[#reply + 1] = string.match(record, '^[^\n]*')
      reply[#reply + 1] = rows[at + 1]
      heads = heads + 1
    end
    left = left - 1
  end
end
if left > 0 then
  local from = math.max(0, after - going)
  for _, id in ipairs(redis.call('ZREVRANGE', base .. ':ended-at', from, from + left - 1)) do
    local status = redis.call('HGET', base .. ':ended', id)
    if status then reply[#reply + 1] = status end
  end
end
reply[3] = heads
return reply
