-- Tells what became of a commit, and closes its write id where it never came.
--
-- KEYS: meta, log, writes, closed. ARGV: the write id, how many closed ones are kept.

local meta, log, writes, closed = unpack(KEYS)
local write, kept = ARGV[1], tonumber(ARGV[2])

local facts = call('HMGET', meta, 'format', 'youngest', 'youngest_closed')
if facts[1] ~= '1' then
    return { 'place', facts[1] or '' }
end
local known = call('HGET', writes, write)
if known == 'closed' then
    return { 'closed' }
end
if known then
    local receipts = field(call('XRANGE', log, known, known)[1], 'a')
    return receipts and { 'applied', receipts } or { 'unknown' }
end
if facts[2] and not younger(write, facts[2]) then
    return { 'unknown' }
end
call('ZADD', closed, 0, write)
call('HSET', writes, write, 'closed')
if call('ZCARD', closed) > kept then
    -- What is forgotten here shuts out all that is older, so the oldest goes first, however late it came. It is shut out
    -- before it is forgotten: a script that is stopped in between is not rolled back.
    local oldest = call('ZRANGEBYLEX', closed, '-', '+', 'LIMIT', 0, 1)[1]
    if not facts[3] or younger(oldest, facts[3]) then
        call('HSET', meta, 'youngest_closed', oldest)
    end
    call('HDEL', writes, oldest)
    call('ZREM', closed, oldest)
end
return { 'closed' }
