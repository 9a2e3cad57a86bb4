-- SPDX-License-Identifier: MIT
--
-- Lines of a chunk that can run: those of its bytecode that some path from the beginning of a function reaches. Unreachable
-- instructions are left out, for LuaJIT writes some behind every `return`, and they would count as never covered.
--
-- Which operations return is found by compiling samples, so that nothing depends on the numbers of one version of LuaJIT.

local band, rshift = bit.band, bit.rshift

local lines = {}

local JUMP_MODE = 13 -- kind of operand D: a jump
local JUMP_BIAS = 0x8000
local FUNCTION_HEADER = 0 -- place of an instruction that no hook sees

local RETURNS = { "", "local a = 1 return a", "local a, b return a, b", "return ...", "return f()", "return f(g())" }

local function operation(util, chunk, pc)
    local instruction, mode = util.funcbc(chunk, pc)
    if not instruction then
        return nil
    end
    local target = band(rshift(mode, 7), 15) == JUMP_MODE and pc + 1 + rshift(instruction, 16) - JUMP_BIAS or nil
    return band(instruction, 0xff), target
end

local function last_operation(util, text)
    local chunk, pc = assert(loadstring(text)), 1
    while operation(util, chunk, pc + 1) do
        pc = pc + 1
    end
    return (operation(util, chunk, pc))
end

-- Operations after which the next instruction is not run; the plain jump; and the last of the comparisons, which skip one.
local function kinds(util)
    local ends = {}
    for _, text in ipairs(RETURNS) do
        ends[last_operation(util, text)] = true
    end
    local sample = assert(loadstring "local a if a then a() end")
    local compare, jump
    for pc = 1, math.huge do
        local code, target = operation(util, sample, pc)
        if target then
            compare, jump = operation(util, sample, pc - 1), code
            break
        end
    end
    return { ends = ends, jump = jump, compare = compare }
end

-- Places that may be run after `pc`.
local function successors(util, known, chunk, pc)
    local code, target = operation(util, chunk, pc)
    if known.ends[code] then
        return nil, nil
    elseif code == known.jump then
        local before = operation(util, chunk, pc - 1)
        return target, before <= known.compare and pc > 1 and pc + 1 or nil
    end
    return target, pc + 1
end

local function mark(util, known, chunk, found)
    local seen, todo = {}, { 1 }
    while #todo > 0 do
        local pc = table.remove(todo)
        if not seen[pc] and operation(util, chunk, pc) then
            seen[pc] = true
            found[util.funcinfo(chunk, pc).currentline] = true
            local one, other = successors(util, known, chunk, pc)
            todo[#todo + 1] = one
            todo[#todo + 1] = other
        end
    end
end

local function walk(util, known, chunk, found)
    mark(util, known, chunk, found)
    for i = -1, -math.huge, -1 do
        local constant = util.funck(chunk, i)
        if constant == nil then
            break
        elseif type(constant) == "proto" then
            walk(util, known, constant, found)
        end
    end
end

--- Lines of a text in Lua that can run; nil when it does not compile.
---@param text string
---@return table<integer, true>|nil
function lines.of(text)
    local chunk = loadstring(text, "=coverage")
    if not chunk then
        return nil
    end
    local util, found = require "jit.util", {}
    walk(util, kinds(util), chunk, found)
    found[FUNCTION_HEADER] = nil
    return found
end

return lines
