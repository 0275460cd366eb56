-- Keep everything given, each by six arguments. ARGV[1]: a key under which only the first is kept, its id ARGV[2], for
-- ARGV[3] seconds. Gives the id that is kept under the key. What is kept already is written again in some way, so that
-- whoever waits for the disk then waits for it as well.
if ARGV[1] ~= '' then
  local known = redis.call('GET', ARGV[1])
  if known and known ~= ARGV[2] then
    redis.call('SET', ARGV[1], known, 'KEEPTTL')
    return known
  end
  redis.call('SET', ARGV[1], ARGV[2], 'EX', ARGV[3])
end
for at = 4, #ARGV, 6 do
  if keep(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]) == 0 then
    redis.call('INCR', ASYNC .. ':again')
  end
end
return ARGV[2]
