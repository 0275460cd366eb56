-- ARGV: cursor, how many at once. Gives the next cursor and how many were gone.
local is_stale = stale()
if is_stale then return is_stale end
local reply = redis.pcall('XAUTOCLAIM', stream, group, CONSUMER, 0, ARGV[3], 'COUNT', ARGV[4], 'JUSTID')
if reply.err then return failure(reply) end
-- Redis 6.2 has no third element: there, entries that are gone are noticed when they are read.
return {'ok', reply[1], reply[3] and #reply[3] or 0}
