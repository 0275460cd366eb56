-- Change a queue's settings. ARGV 4..: the number of fields to take back, these, then fields and values to set.
-- Gives 0 if there is no such queue.
if redis.call('EXISTS', settings) == 0 then return 0 end
local taken_back = tonumber(ARGV[4])
for at = 5 + taken_back, #ARGV, 2 do redis.call('HSET', settings, ARGV[at], ARGV[at + 1]) end
for at = 5, 4 + taken_back do redis.call('HDEL', settings, ARGV[at]) end
return 1
