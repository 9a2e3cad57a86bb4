# SPDX-License-Identifier: MIT
"""What a policy does in one call of C is refused or ends soon, and the worker serves the next request."""

import pytest

from support import wait
from support.checks import check_problem
from support.gateway import Gateway

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  routes = { { name = "all", match = {}, policies = { "probe" }, reply = "passed" } },
}
"""

POLICY = """
local perigee = require "perigee"
local Probe = perigee.policy { name = "probe", stage = "auth" }
local long = ("a"):rep(1000000)
local attacks = {
    pattern = function() return (("a"):rep(5000)):find(".-.-.-.-.-b") end,
    method = function() return long:match("(.-)*(.-)*(.-)*b") end,
    gsub = function() return (long:gsub("a", long)) end,
    plain = function() return long:find(("a"):rep(500000) .. "b", 1, true) end,
    rep = function() return ("x"):rep(2 ^ 30) end,
    concat = function() local t = {} for i = 1, 1100 do t[i] = long end return table.concat(t) end,
    format = function() return ("%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s"):format(
        long, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long) end,
    nested = function() local function f() return (("x"):gsub("x", f)) end return f() end,
    coroutines = function() local function f() return coroutine.wrap(f)() end return f() end,
    chunk = function() return assert(load(("x = 1 "):rep(1000000))) end,
    unpack = function() return unpack({}, 1, 2 ^ 30) end,
    width = function() return ("%99999d"):format(1) end,
    groups = function() local r = perigee.regex.compile "(a)" r.groups = 2 ^ 30 return r:match "a" end,
    random = function() return perigee.crypto.random(0 / 0) end,
}
function Probe:on_request(req)
    local attack = attacks[req.path:sub(2)]
    if attack then
        return perigee.reply(200, tostring((attack())))
    end
end
return Probe
"""

# What each attack ends with, in the log.
REFUSED = {
    "pattern": "pattern too costly",
    "method": "pattern too costly",
    "gsub": "the result of gsub has more than 16 MiB",
    "rep": "the result of string.rep has more than 16 MiB",
    "concat": "the result of table.concat has more than 16 MiB",
    "format": "the result of string.format has more than 16 MiB",
    "nested": "stack overflow",
    "coroutines": "stack overflow|the CPU budget",  # whichever comes first
    "chunk": "the chunk has more than 16 KiB",
    "unpack": "too many results to unpack",
    "width": "invalid option",
    "groups": "read-only",
    "random": "0 to 65536 bytes",
}


@pytest.fixture(scope="module")
def gateway():
    with Gateway(CONFIG, files={"policies/probe/init.lua": POLICY}) as started:
        yield started


def check_alive(gateway, worker):
    """The worker that was attacked is the one that answers."""
    assert gateway.get("/").body == b"passed"
    assert gateway.workers() == [worker]


@pytest.mark.parametrize("attack", REFUSED)
def test_a_call_that_would_run_long_fails_its_exchange_only(gateway, attack):
    worker = gateway.workers()[0]
    before = len(gateway.lines)
    answer = gateway.get(f"/{attack}")
    check_problem(answer, 503)
    said = wait.until(lambda: gateway.lines[before:], "the failure was logged")
    assert any(reason in "\n".join(said) for reason in REFUSED[attack].split("|"))
    check_alive(gateway, worker)


def test_a_long_plain_search_is_linear(gateway):
    worker = gateway.workers()[0]
    assert gateway.get("/plain").body == b"nil"
    check_alive(gateway, worker)
