-- The next commit after a position of the feed that changed something.
--
-- KEYS: meta, log. ARGV: the epoch, the position and its tag.
--
-- It writes only where somebody deleted of the log, and never says that it writes nothing: a script that says so is also run
-- by a replica, which may be behind.

local meta, log = KEYS[1], KEYS[2]
local values = sub(meta, 1, -5) .. 'v:'
local epoch, position, tag = ARGV[1], ARGV[2], ARGV[3]

local refusal = no_primary()
if refusal then
    return refusal
end

local facts = call('HMGET', meta, 'format', 'epoch', 'floor', 'floor_tag', 'counter', 'tag')
if not facts[1] then
    return { 'expired' }
end
if facts[1] ~= '1' then
    return { 'place', facts[1] }
end

local entries = call('XRANGE', log, position, '+', 'COUNT', 64)
local first = 1
local stands = position == facts[3] and tag == facts[4]
if entries[1] and string.match(entries[1][1], '^%d+') == position then
    stands, first = field(entries[1], 't') == tag, 2
end
if epoch ~= facts[2] or not stands then
    return expire(meta, log, facts)
end

for at = first, #entries do
    local number, line = string.match(entries[at][1], '^%d+'), entries[at][2]
    if tonumber(number) ~= position + 1 then
        return expire(meta, log, facts, position, number, field(entries[at], 't'))
    end
    position, tag = number, field(entries[at], 't') or ''
    local version = struct.pack('>I5', tonumber(number)) .. tag
    local changes = {}
    for name_at = 1, #line, 2 do
        local action, id = line[name_at], line[name_at + 1]
        if action == 'p' or action == 'd' then
            local record = ''
            if action == 'p' and call('GETRANGE', values .. id, 2, 9) == version then
                record = call('GET', values .. id)
            end
            changes[#changes + 1] = action
            changes[#changes + 1] = id
            changes[#changes + 1] = record
        end
    end
    if #changes > 0 then
        return { 'batch', position, tag, changes }
    end
end
if #entries >= first then
    return { 'idle', position, tag }
end
if position ~= facts[5] then
    return expire(meta, log, facts, position, facts[5], facts[6])
end
return { 'nothing' }
