-- What several scripts need; it stands before each of them.

local call, sub = redis.call, string.sub

local LAST = 1099511627774

-- Whether one text of bytes is above another of its length. Numbers of Lua end at 53 bits, and its own `<` of texts goes by
-- the locale of the server.
local function above(one, other)
    for at = 1, #one do
        local a, b = string.byte(one, at), string.byte(other, at)
        if a ~= b then
            return a > b
        end
    end
    return false
end

-- The newest version.
local function newest_of(counter, tag)
    return struct.pack('>I5', math.min(tonumber(counter) or 0, LAST)) .. (tag or '\0\0\0')
end

-- Whether a write id that is not remembered may be a forgotten one, or is not from this namespace.
local function outside(write, newest, forgotten)
    return above(sub(write, 1, 8), newest) or not (forgotten and above(write, forgotten))
end

-- What an entry of the log has under a name.
local function field(entry, name)
    local line = entry and entry[2] or {}
    for at = 1, #line, 2 do
        if line[at] == name then
            return line[at + 1]
        end
    end
end

-- The receipts of the commit that a write id is remembered with: 8 bytes of fingerprint, then its place in the log.
local function receipts_of(log, known)
    local at = sub(known, 9)
    return field(call('XRANGE', log, at, at)[1], 'a')
end

-- What a script must answer where this is no primary. A replica may be behind; one that takes writes runs scripts all the
-- same.
local function no_primary()
    local told = redis.pcall('INFO', 'replication')
    if type(told) ~= 'string' then
        return redis.error_reply('NOPERM the user may not run INFO')
    end
    if not string.find(told, 'role:master', 1, true) then
        return redis.error_reply('READONLY it is a replica')
    end
end

-- Where the log goes on behind a gap after a position: nothing where there is none. Commits have consecutive numbers, so what
-- somebody deleted by hand is missed. Of the facts the counter is the fifth, its tag the sixth.
local function behind_gap(log, position, facts)
    local after = string.format('%.0f', position + 1)
    local entry = call('XRANGE', log, after, '+', 'COUNT', 1)[1]
    if not entry then
        if position ~= facts[5] then
            return facts[5], facts[6]
        end
        return
    end
    local number = string.match(entry[1], '^%d+')
    if number ~= after then
        return number, field(entry, 't')
    end
end

-- Ends a watch, and names the oldest place, which must stand: where it is before the gap that was found after a position, or
-- has one right after it, it is moved behind that. Of the facts the epoch is the second, the oldest place the third and its
-- tag the fourth.
local function expire(meta, log, facts, position, number, tag)
    local floor, floor_tag = facts[3], facts[4]
    if not number or tonumber(floor) > tonumber(position) then
        number, tag = behind_gap(log, floor, facts)
    end
    if tag and tonumber(number) > tonumber(floor) then
        floor, floor_tag = number, tag
        call('HSET', meta, 'floor', floor, 'floor_tag', floor_tag)
    end
    return { 'expired', facts[2], floor, floor_tag }
end

