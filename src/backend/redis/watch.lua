-- Where a watch begins.
--
-- KEYS: meta, log. ARGV: nothing to begin now; or the epoch, the position and the tag to begin after.
--
-- It writes only where somebody deleted of the log, and never says that it writes nothing: a script that says so is also run
-- by a replica, which may be behind.

local meta, log = KEYS[1], KEYS[2]

local refusal = no_primary()
if refusal then
    return refusal
end

local facts = call('HMGET', meta, 'format', 'epoch', 'floor', 'floor_tag', 'counter', 'tag')
if facts[1] ~= '1' then
    return { 'place', facts[1] or '' }
end

if not ARGV[1] then
    local last = call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    if not last or string.match(last[1], '^%d+') ~= facts[5] then
        -- No entry stands there. It is the oldest place now, or was it before.
        call('HSET', meta, 'floor', facts[5], 'floor_tag', facts[6])
    end
    return { 'from', facts[2], facts[5], facts[6] }
end

local epoch, position, tag = ARGV[1], ARGV[2], ARGV[3]
local stands = position == facts[3] and tag == facts[4]
if epoch == facts[2] and not stands then
    -- A number of a commit that a failover has taken back is none of this log's.
    local entry = call('XRANGE', log, position, position)[1]
    stands = entry and field(entry, 't') == tag
end
if epoch ~= facts[2] or not stands then
    return expire(meta, log, facts)
end
return { 'from', epoch, position, tag }
