-- Enter a queue, unless it is there. ARGV 4..: fields and values of its settings. Gives all fields as they are now.
if redis.call('EXISTS', settings) == 0 then
  for at = 4, #ARGV, 2 do redis.call('HSET', settings, ARGV[at], ARGV[at + 1]) end
end
return redis.call('HGETALL', settings)
