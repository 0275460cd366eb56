-- ARGV: after which entry, whether the stream is another one.
local is_stale = stale()
if is_stale then return is_stale end
if redis.call('EXISTS', stream) == 1 then
  local made = redis.pcall('XGROUP', 'CREATE', stream, group, ARGV[3])
  if made.err and string.find(made.err, 'BUSYGROUP', 1, true) then return 0 end
  if made.err then return made end
end
if ARGV[4] == '1' then
  redis.call('DEL', state)
  redis.call('HSET', state, 'session', session)
end
redis.call('HSET', state, 'read', ARGV[3])
redis.call('HDEL', state, 'unfinished')
return 1
