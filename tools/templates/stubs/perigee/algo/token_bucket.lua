---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- A token bucket as arithmetic: the time is passed in, the state is the caller's. The bucket holds at most `burst` tokens and
-- gains `rate` of them a second; a call takes its cost or nothing. The same rule as the shared buckets of perigee.shared, for one
-- worker's own use and for tests.

---@class perigee.TokenBucket
---@field tokens number
---@field at number seconds; when `tokens` was right
local TokenBucket = {}

---@class perigee.algo.token_bucket.module
local token_bucket = {}

--- A full bucket.
---@param burst number most tokens
---@param now number seconds
---@return perigee.TokenBucket
function token_bucket.new(burst, now) end

--- Takes `cost` tokens if they are there. A clock that goes back counts as standing still.
---@param bucket perigee.TokenBucket
---@param rate number tokens a second; more than 0
---@param burst number most tokens
---@param cost number
---@param now number seconds
---@return boolean is_taken
---@return number remaining tokens left, with fractions
---@return number retry_after seconds until `cost` tokens are there; 0 when taken, infinite when cost is above burst
function token_bucket.take(bucket, rate, burst, cost, now) end

return token_bucket
