-- Make everything that is taken due again; gives the recipients that have something. ARGV: stem, now.
local found = {}
for _, name in ipairs(redis.call('SMEMBERS', members(ARGV[1]))) do
  local due = ARGV[1] .. ':' .. name .. ':due'
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, TAKEN, '+inf')) do
    redis.call('ZADD', due, ARGV[2], id)
  end
  if redis.call('EXISTS', due) == 1 then
    found[#found + 1] = name
  else
    redis.call('SREM', members(ARGV[1]), name)
  end
end
return found
