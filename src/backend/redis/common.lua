-- What several scripts need; it stands before each of them.

local call, sub = redis.call, string.sub

-- Whether a write id is younger than another. Lua's own `<` goes by the locale of the server.
local function younger(one, other)
    for at = 1, 16 do
        local a, b = string.byte(one, at), string.byte(other, at)
        if a ~= b then
            return a > b
        end
    end
    return false
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

