-- Tells what became of a commit, and closes its write id where it never came.
--
-- KEYS: meta, log, writes, closed. ARGV: the write id, how many closed ones are kept.

local meta, log, writes, closed = unpack(KEYS)
local write, kept = ARGV[1], tonumber(ARGV[2])

local refusal = no_primary()
if refusal then
    return refusal
end

local facts = call('HMGET', meta, 'format', 'counter', 'tag', 'forgotten')
if facts[1] ~= '1' then
    return { 'place', facts[1] or '' }
end
local known = call('HGET', writes, write)
if known then
    local receipts = receipts_of(log, known)
    return receipts and { 'applied', receipts } or { 'unknown' }
end
if call('ZSCORE', closed, write) then
    return { 'closed' }
end
if outside(write, newest_of(facts[2], facts[3]), facts[4]) or call('ZCARD', closed) >= kept then
    return { 'unknown' }
end
call('ZADD', closed, 0, write)
return { 'closed' }
