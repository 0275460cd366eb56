-- ARGV: how many are done, their ids; how many facts to keep, their names and values; names of facts to forget.
-- Handled is handled, whoever says so; facts are the current session's.
local at, done = 4, tonumber(ARGV[3])
for from = at, at + done - 1, 1000 do
  redis.call('XACK', stream, group, unpack(ARGV, from, math.min(from + 999, at + done - 1)))
end
at = at + done
local summary = redis.pcall('XPENDING', stream, group)
local is_stale = stale()
if is_stale then return is_stale end
if not summary.err then
  if summary[1] == 0 then
    redis.call('HDEL', state, 'unfinished')
  else
    redis.call('HSET', state, 'unfinished', summary[2])
  end
end
for _ = 1, tonumber(ARGV[at]) do
  redis.call('HSET', state, ARGV[at + 1], ARGV[at + 2])
  at = at + 2
end
for each = at + 1, #ARGV do redis.call('HDEL', state, ARGV[each]) end
return 1
