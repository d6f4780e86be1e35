#!lua flags=allow-oom
-- Tells what became of a commit, and closes its write id where it never came.
--
-- KEYS: meta, log, writes, closed. ARGV: the write id, how many closed ones are kept.

local call = redis.call
local meta, log, writes, closed = unpack(KEYS)
local write, kept = ARGV[1], tonumber(ARGV[2])

-- Lua's own `<` goes by the locale of the server.
local function younger(one, other)
    for at = 1, 16 do
        local a, b = string.byte(one, at), string.byte(other, at)
        if a ~= b then
            return a > b
        end
    end
    return false
end

local facts = call('HMGET', meta, 'format', 'youngest', 'youngest_closed')
if facts[1] ~= '1' then
    return { 'place', facts[1] or '' }
end
local known = call('HGET', writes, write)
if known == 'closed' then
    return { 'closed' }
end
if known then
    local logged = call('XRANGE', log, known, known)[1]
    local line = logged and logged[2] or {}
    for at = 1, #line, 2 do
        if line[at] == 'a' then
            return { 'applied', line[at + 1] }
        end
    end
    return { 'unknown' }
end
if facts[2] and not younger(write, facts[2]) then
    return { 'unknown' }
end
call('ZADD', closed, 0, write)
call('HSET', writes, write, 'closed')
if call('ZCARD', closed) > kept then
    -- What is forgotten here shuts out all that is older, so the oldest goes first, however late it came.
    local oldest = call('ZPOPMIN', closed)[1]
    call('HDEL', writes, oldest)
    if not facts[3] or younger(oldest, facts[3]) then
        call('HSET', meta, 'youngest_closed', oldest)
    end
end
return { 'closed' }
