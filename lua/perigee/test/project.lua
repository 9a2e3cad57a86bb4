-- SPDX-License-Identifier: MIT
--
-- The files that a gateway under test is made of: those the test gives as text, then those beside or above the spec file (or
-- below a folder that the test names). What is not there comes from the binary, as always.

local coverage = require "perigee.test._core.coverage"

local project = {}

local PARENTS_MAX = 32

local function parent_of(folder)
    if folder == "." or folder == "/" then
        return nil
    end
    return folder:match("^(.+)/[^/]+$") or (folder:sub(1, 1) == "/" and "/" or ".")
end

--- The folder of a file.
---@param path string
---@return string
function project.folder(path)
    return parent_of(path) or "."
end

-- The folder and those above it, up to the one where the test was started, or the root.
local function folders_above(folder)
    local list = {}
    while folder and #list < PARENTS_MAX do
        list[#list + 1] = folder
        folder = parent_of(folder)
    end
    return list
end

-- The bytes of a file on disk, or nil. The gate of a reload (test/gate.lua) puts its own in this place.
function project._read(path)
    local file = io.open(path, "rb")
    local text = file and file:read("*a") -- nil for a folder
    if file then
        file:close()
    end
    return text
end

local function is_inside(path)
    return path:sub(1, 1) ~= "/" and not ("/" .. path .. "/"):find("/../", 1, true)
end

--- A function that gives the text of a file by its path, or nil.
---@param folder string where to begin
---@param climbs boolean look in the folders above too
---@param texts? table<string, string> files that a test gives
---@return fun(path: string): string|nil
function project.reader(folder, climbs, texts)
    local folders = climbs and folders_above(folder) or { folder }
    local function find(path)
        if path:sub(1, 1) == "/" then
            return path, project._read(path)
        elseif is_inside(path) then
            for _, candidate in ipairs(folders) do
                local text = project._read(candidate .. "/" .. path)
                if text then
                    return candidate .. "/" .. path, text
                end
            end
        end
    end
    return function(path)
        if texts and texts[path] then
            coverage.note(path)
            return texts[path]
        end
        local real, text = find(path)
        coverage.note(path, text and real, text)
        return text
    end
end

return project
