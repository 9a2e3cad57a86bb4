-- SPDX-License-Identifier: MIT
--
-- Shares as they are written in configurations: "5%", "0.5%".

local percent = {}

--- Whole millionths of a written share; nil and a message when the text is none.
---@param text string
---@return integer|nil millionths
---@return string|nil message
function percent.parse(text)
    local digits = text:match("^(%d+%.?%d*)%%$")
    local share = digits and #digits <= 9 and tonumber(digits)
    if not share or share > 100 then
        return nil, 'expected a share such as "5%"'
    end
    return math.floor(share * 10000 + 0.5)
end

--- A check that the text is a share within two others.
---@param min string
---@param max string
---@return fun(text: string): string|nil
function percent.check(min, max)
    local low, high = percent.parse(min), percent.parse(max)
    return function(text)
        local millionths, message = percent.parse(text)
        if not millionths then
            return message
        elseif millionths < low or millionths > high then
            return "must be " .. min .. " to " .. max
        end
        return nil
    end
end

return percent
