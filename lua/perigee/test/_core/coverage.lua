-- SPDX-License-Identifier: MIT
--
-- Which lines of policies and configurations the specs ran. Only files that were read from disk count: texts that a spec gives
-- are no product, and shipped policies have specs of their own. The JIT is off meanwhile, since compiled code calls no hook.

local bytecode_lines = require "perigee.test._core.bytecode_lines"
local testing = require "perigee._core.testing"

local coverage = { is_on = false }

local FOLDER = "policies" -- what nobody has loaded is looked for here
local DEPTH_MAX = 8

---@class perigee.test.Covered
---@field path string
---@field number integer of its counters
---@field active table<integer, true> lines that can run
---@field last integer its last line

local files = {} ---@type table<string, perigee.test.Covered|false> by path; false: no Lua

--- Counts from now on.
function coverage.begin()
    coverage.is_on = true
    jit.off()
    jit.flush()
    testing.cover_start()
end

--- Goes on counting: something else may have taken the hook.
function coverage.resume()
    if coverage.is_on then
        testing.cover_start()
    end
end

local function normalize(path)
    local top = require("lfs").currentdir() .. "/"
    if path:sub(1, #top) == top then
        path = path:sub(#top + 1)
    end
    return (path:gsub("^%./", ""))
end

local function new_file(path, text)
    local active = bytecode_lines.of(text)
    local last = select(2, text:gsub("\n", "")) + 1
    local number = active and testing.cover_file(last)
    return number and { path = path, number = number, active = active, last = last } or false
end

--- A script was read: what runs under its name from now on is the file `real`, or nothing that counts.
---@param name string as the configuration knows it
---@param real string|nil path on disk
---@param text string|nil
function coverage.note(name, real, text)
    if not coverage.is_on or not name:find("%.lua$") then
        return
    end
    local path = real and normalize(real)
    if path and files[path] == nil then
        files[path] = new_file(path, text)
    end
    local file = path and files[path]
    testing.cover_name("@" .. name, file and file.number or nil)
end

-- ---------------------------------------------------------------- files that nobody has loaded

local function visit(folder, depth, found)
    local lfs = require "lfs"
    if lfs.attributes(folder, "mode") ~= "directory" or depth > DEPTH_MAX then
        return
    end
    for name in lfs.dir(folder) do
        local path = folder .. "/" .. name
        if name:find("%.lua$") and not name:find("_spec%.lua$") then
            found[#found + 1] = path
        elseif not name:find("^%.") then
            visit(path, depth + 1, found)
        end
    end
end

local function add_unloaded()
    local found = {}
    visit(FOLDER, 1, found)
    for _, path in ipairs(found) do
        local file = files[path] == nil and io.open(path, "rb")
        if file then
            files[path] = new_file(path, file:read("*a"))
            file:close()
        end
    end
end

-- ---------------------------------------------------------------- results

---@class perigee.test.Coverage
---@field path string
---@field counts table<integer, integer> how often each line that can run ran
---@field lines integer[] these lines in order
---@field covered integer how many of them ran

local function result_of(file)
    local counts, lines, covered = testing.cover_counts(file.number), {}, 0
    for line = 1, file.last do
        if file.active[line] then
            lines[#lines + 1] = line
            covered = covered + (counts[line] > 0 and 1 or 0)
        end
    end
    return { path = file.path, counts = counts, lines = lines, covered = covered }
end

--- Stops counting: a result for each file, by path.
---@return perigee.test.Coverage[]
function coverage.finish()
    testing.cover_stop()
    coverage.is_on = false
    add_unloaded()
    local results = {}
    for _, file in pairs(files) do
        if file then
            results[#results + 1] = result_of(file)
        end
    end
    table.sort(results, function(a, b) return a.path < b.path end)
    return results
end

return coverage
