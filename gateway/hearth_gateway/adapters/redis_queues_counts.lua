-- Gives how many messages are visible, in hands or at rest, and delayed. Expired ones at the head are gone first.
for _ = 1, 1000 do
  local element = redis.call('LINDEX', source, head == 'RIGHT' and -1 or 0)
  if not element or not is_expired(element, '0') then break end
  redis.call(pop, source)
end

local all = redis.call('HLEN', messages)
local waiting = redis.call('LLEN', source)
for _, who in ipairs(redis.call('ZRANGE', owners, 0, -1)) do waiting = waiting + redis.call('LLEN', taken(who)) end
local later = '(' .. now
local delays = redis.call('ZCOUNT', delayed, later, '+inf')
if not is_fifo then
  local due = redis.call('ZCOUNT', retries, '-inf', now)
  return { waiting + due, all - due - delays, delays }
end
local in_flight = 0
for _, group in ipairs(redis.call('ZRANGE', blocked, 0, -1)) do
  in_flight = in_flight + redis.call('ZCOUNT', held(group), later, '+inf')
end
return { math.max(waiting + all - in_flight - delays, 0), in_flight, delays }
