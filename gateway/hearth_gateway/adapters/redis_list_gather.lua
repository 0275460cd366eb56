-- Hold more bodies back. ARGV 4..: session, limit, bytes. Gives the count and the bytes held.
if not is_current(ARGV[4]) then return redis.error_reply('STALE session') end
local limit, max_bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
local size = 0
local held = redis.call('LRANGE', taken(owner), 0, -1)
for _, body in ipairs(held) do size = size + #body end
local count = #held
while count < limit and size < max_bytes do
  local body = redis.call('LMOVE', source, taken(owner), head, 'RIGHT')
  if not body then break end
  count, size = count + 1, size + #body
end
return { count, size }
