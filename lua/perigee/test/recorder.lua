-- SPDX-License-Identifier: MIT
--
-- Watches LuaJIT compile hooks and handlers, and says what it could not: which line of a script keeps the code around it
-- interpreted, and why. Only what runs for an exchange counts, and only lines of scripts: what the SDK does inside is not
-- their matter.
--
-- A trace that is given up ("abort") may be tried again, from elsewhere, and succeed. A reason that lies in the line itself makes
-- a finding at once, one that lies in its surroundings only when the function was in no trace at the end, and one that lies in
-- where the recording began never. A trace that is left for a C function and continued behind it ("stitch") is a finding too
-- when it is a script that calls that function.
--
-- LuaJIT calls the listeners between any two instructions, also between a search of the SDK and the reading of what it found
-- (_core/bounded): they search with LuaJIT's own functions, and `is_mine` must not search at all.

local jit = require "jit"
local util = require "jit.util"

local getinfo, pcall, tonumber, tostring, type = debug.getinfo, pcall, tonumber, tostring, type
local find, gsub, match = string.find, string.gsub, string.match
local funcinfo, traceinfo = util.funcinfo, util.traceinfo

local recorder = {}

local DEPTH = 64

-- Reasons by the text of LuaJIT's lj_traceerr.h: those that lie in where the recording began, and in the surroundings.
local NO_MATTER = {
    "error thrown or hook called", "trace too short", "retry recording", "leaving loop", "inner loop", "down-recursion",
    "return to lower frame", "symbol not in cache", "guard would always fail", "mcode", "machine code",
}
local SURROUNDINGS = {
    "unroll limit", "trace too", "too many", "type instability", "looping index", "blacklisted", "PHI", "register",
}

-- What bytecodes and functions are in the source. The names are LuaJIT's.
local IN_WORDS = {
    FNEW = "makes a function", UCLO = "leaves a block whose local a function holds", VARG = "uses ...",
    ISNEXT = "loops with pairs or next", ITERN = "loops with pairs or next",
    TSETM = "makes a table of a list of unknown length",
    CALLM = "passes on a list of unknown length", CAT = "joins strings",
}

-- The functions that end what runs anyway.
local IGNORED = { error = true }

-- The chains of _core/: what runs for an exchange runs below one of them.
local CHAINS = {
    ["=chain"] = true, ["@lua/perigee/_core/chain.lua"] = true, ["@lua/perigee/_core/outcome.lua"] = true,
    ["@lua/perigee/_core/onion.lua"] = true,
}

local has_names, names = pcall(require, "jit.vmdef")
names = has_names and names or { traceerr = {}, bcnames = "", ffnames = {} }

-- Of the recording: is_mine, recorded and compiled (functions), seen (those of the trace under way), last (function), starts
-- (number of traces begun), findings, order.
local state

local function is_script(source)
    return source:sub(1, 1) == "@" and source:sub(1, 13) ~= "@lua/perigee/" and state.is_mine(source:sub(2))
end

-- The frames of scripts on the stack: innermost line, and the function that the chain called; nil outside of exchanges.
local function find_script()
    local line, entry
    for level = 3, DEPTH do
        local info = getinfo(level, "Sl")
        if not info then
            return nil
        elseif CHAINS[info.source] then
            return line, entry
        elseif is_script(info.source) then
            line, entry = line or info, info
        end
    end
end

local function note(line, entry, reason, is_lasting)
    local file, key = line.source:sub(2), line.source .. ":" .. line.currentline .. ":" .. reason
    local finding = state.findings[key]
    if not finding then
        finding = {
            file = file, line = line.currentline, reason = reason, entry = entry.linedefined,
            inside = line.source .. ":" .. line.linedefined, is_lasting = is_lasting,
        }
        state.findings[key] = finding
        state.order[#state.order + 1] = finding
    end
end

local function bytecode_name(number)
    return match(names.bcnames:sub(number * 6 + 1, number * 6 + 6), "%S+") or tostring(number)
end

local function function_name(func)
    local info = funcinfo(func)
    return info.ffid and names.ffnames[info.ffid] or nil
end

local function is_one_of(text, parts)
    for _, part in ipairs(parts) do
        if find(text, part, 1, true) then
            return true
        end
    end
    return false
end

-- An abort in words, and whether it lasts; nil when it is no matter.
local function explain(code, argument)
    local text = names.traceerr[code] or "reason " .. tostring(code)
    if is_one_of(text, NO_MATTER) then
        return nil
    elseif is_one_of(text, SURROUNDINGS) then
        return text, false
    elseif type(argument) == "number" and find(text, "bytecode", 1, true) then
        local name = bytecode_name(argument)
        return (IN_WORDS[name] and IN_WORDS[name] .. " " or "") .. "(NYI: bytecode " .. name .. ")", true
    elseif type(argument) == "function" then
        return "calls " .. (function_name(argument) or "a C function") .. " (" .. gsub(text, "%%s", "") .. ")", true
    end
    return (gsub(text, "%%[ds]", tostring(argument))), true
end

-- Is the code that was recorded last a script's own, or a C function that a script called?
local function is_own(func)
    local info = funcinfo(func)
    if info.source then
        return is_script(info.source)
    end
    local level = 4 -- below this function and those of the handler
    local caller = getinfo(level, "S")
    while caller and caller.what == "C" do
        level = level + 1
        caller = getinfo(level, "S")
    end
    return caller ~= nil and is_script(caller.source)
end

local function on_abort(func, code, argument)
    local reason, is_lasting = explain(tonumber(code), argument)
    local line, entry = find_script()
    if reason and line and is_own(func) then
        note(line, entry, reason, is_lasting)
    end
end

local function on_stop(trace)
    for key in pairs(state.seen) do
        state.compiled[key] = true
    end
    local name = state.last and traceinfo(trace).linktype == "stitch" and function_name(state.last)
    if name and name ~= "C" and not IGNORED[name] then
        local line, entry = find_script()
        if line and is_own(state.last) then
            note(line, entry, "calls " .. name .. ", which is not compiled", true)
        end
    end
end

local function on_trace(what, trace, func, _, code, argument)
    if what == "start" then
        state.seen, state.last, state.starts = {}, nil, state.starts + 1
    elseif what == "abort" then
        on_abort(func, code, argument)
    elseif what == "stop" then
        on_stop(trace)
    end
end

local function on_record(_, func)
    state.last = func
    local info = funcinfo(func)
    if info.source then
        local key = info.source .. ":" .. info.linedefined
        state.seen[key], state.recorded[key] = true, true
    end
end

--- Listens again. Code is compiled after a few runs from now on, so that a hundred are enough to tell.
function recorder.resume()
    jit.opt.start("hotloop=5", "hotexit=5")
    jit.attach(on_trace, "trace")
    jit.attach(on_record, "record")
end

--- Listens no more, until it is resumed; code is compiled as ever.
function recorder.pause()
    jit.attach(on_trace)
    jit.attach(on_record)
    jit.opt.start("hotloop=56", "hotexit=10")
end

--- Begins, and listens.
---@param is_mine fun(file: string): boolean which scripts are looked at; without a search
function recorder.start(is_mine)
    state = { is_mine = is_mine, recorded = {}, compiled = {}, seen = {}, starts = 0, findings = {}, order = {} }
    recorder.resume()
end

--- How often LuaJIT has begun to record: when that stands still, everything has been tried.
---@return integer
function recorder.starts()
    return state.starts
end

--- Ends.
---@return { file: string, line: integer, reason: string, entry: integer }[] findings `entry` is the line where the hook begins
---@return integer count functions of those scripts that LuaJIT recorded
function recorder.stop()
    recorder.pause()
    local findings, count = {}, 0
    for _, finding in ipairs(state.order) do
        if finding.is_lasting or not state.compiled[finding.inside] then
            findings[#findings + 1] = finding
        end
    end
    for key in pairs(state.recorded) do
        local source, line = key:match("^(.*):(%-?%d+)$")
        count = count + (tonumber(line) > 0 and is_script(source) and 1 or 0)
    end
    return findings, count
end

return recorder
