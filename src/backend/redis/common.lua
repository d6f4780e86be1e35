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

