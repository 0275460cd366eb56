-- Take what has been due for longest: id and record. ARGV: stem, recipient, now, '1' to only look.
local base = ARGV[1] .. ':' .. ARGV[2]
for _ = 1, 100 do
  local id = redis.call('ZRANGEBYSCORE', base .. ':due', '-inf', ARGV[3], 'LIMIT', 0, 1)[1]
  if not id then return false end
  local record = redis.call('HGET', base .. ':events', id)
  if record then
    if ARGV[4] ~= '1' then redis.call('ZADD', base .. ':due', TAKEN, id) end
    return {id, record}
  end
  redis.call('ZREM', base .. ':due', id)
end
return false
