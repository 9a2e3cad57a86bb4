---@meta
-- What busted and luassert give to specs, and the assertions that the test kit adds. Editors read it; it is never run.

---@param name string
---@param body fun()
function describe(name, body) end

---@param name string
---@param body fun()
function it(name, body) end

---@param name string
---@param body? fun()
function pending(name, body) end

---@param body fun()
function before_each(body) end

---@param body fun()
function after_each(body) end

---@param body fun()
function setup(body) end

---@param body fun()
function teardown(body) end

---@param body fun()
function finally(body) end

---@param name string
---@param body fun()
function insulate(name, body) end

---@param name string
---@param body fun()
function expose(name, body) end

---@class perigee.test.Expectation what a response may be asked for; negated by `has_no`
---@field status fun(status: integer)
---@field header fun(name: string, value?: string)
---@field body fun(text: string)
---@field json fun(value: any)
---@field problem fun(status: integer)

---@class perigee.test.Expect
---@field has perigee.test.Expectation
---@field has_no perigee.test.Expectation
---@field is perigee.test.Expectation

---@class perigee.test.Assert
---@overload fun(value: any, message?: any, ...): any, ...
---@field response fun(res: perigee.test.Response): perigee.test.Expect
---@field equal fun(expected: any, value: any, message?: string)
---@field equals fun(expected: any, value: any, message?: string)
---@field same fun(expected: any, value: any, message?: string)
---@field near fun(expected: number, value: number, tolerance: number)
---@field matches fun(pattern: string, value: string, init?: integer, plain?: boolean)
---@field is_true fun(value: any, message?: string)
---@field is_false fun(value: any, message?: string)
---@field is_nil fun(value: any, message?: string)
---@field is_not_nil fun(value: any, message?: string)
---@field truthy fun(value: any, message?: string)
---@field falsy fun(value: any, message?: string)
---@field has_error fun(call: fun(), message?: any)
---@field has_no perigee.test.Assert
---@field has perigee.test.Assert
---@field is perigee.test.Assert
---@field is_not perigee.test.Assert
---@field are perigee.test.Assert
---@field are_not perigee.test.Assert
assert = {}
