-- The head of an invocation's record and its score, or its status after its end, which has no score. ARGV: id.
for _, name in ipairs(redis.call('SMEMBERS', ASYNC .. ':functions')) do
  local record = redis.call('HGET', ASYNC .. ':' .. name .. ':events', ARGV[1])
  local score = record and redis.call('ZSCORE', ASYNC .. ':' .. name .. ':due', ARGV[1])
  if score then return {string.match(record, '^[^\n]*'), score} end
end
for _, name in ipairs(redis.call('SMEMBERS', ASYNC .. ':ended')) do
  local status = redis.call('HGET', ASYNC .. ':' .. name .. ':ended', ARGV[1])
  if status then return {status} end
  if redis.call('EXISTS', ASYNC .. ':' .. name .. ':ended') == 0 then redis.call('SREM', ASYNC .. ':ended', name) end
end
return false
