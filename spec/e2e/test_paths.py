# SPDX-License-Identifier: MIT
"""Routing, policies and the upstream see one and the same path: no spelling of a path or host gets round a route."""

import pytest

from support.gateway import Gateway
from support.upstream import Seen

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" } } },
  policies = { "witness" },
  routes = {
    { name = "secret-host", match = { host = "admin.test" }, reply = { status = 403 } },
    { name = "admin", match = { path = "/admin/*" }, reply = { status = 403 } },
    { name = "exact", match = { path = "/exact" }, reply = { status = 403 } },
    { name = "moved", match = { path = "/old/*" }, rewrite = { prefix = "/new" }, upstream = "origin" },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

WITNESS = """
local perigee = require "perigee"
local Witness = perigee.policy { name = "witness", stage = "observe", schema = {} }
function Witness:on_request(req)
  req.headers["x-policy-path"] = req.path
end
return Witness
"""


@pytest.fixture(scope="module")
def gateway(origin):
    with Gateway(CONFIG, files={"policies/witness/init.lua": WITNESS}, values={"origin": origin.address}) as started:
        yield started


@pytest.mark.parametrize("target", [
    "/admin", "/admin/", "/admin/x", "/%61dmin/x", "/%61%64%6d%69%6e", "//admin/x", "///admin///x", "/./admin/x", "/a/../admin/x",
    "/a/b/../../admin", "/%2e/admin", "/a/%2e%2e/admin", "/a/%2E%2E/admin/x", "/a/.%2e/admin", "/a/./../admin/./x", "/admin/../admin/x",
    "/admin?x=/../y", "http://gateway.test/admin/x", "http://gateway.test//admin", "/admin/%2e", "/a//../admin",
])
def test_no_spelling_gets_round_a_protected_prefix(gateway, origin, target):
    assert gateway.get(target).status == 403
    assert origin.targets == []


@pytest.mark.parametrize("target", [
    "/admin%2fx", "/admin%2Fx", "/a%2f..%2fadmin", "/admin%5cx", "/admin\\x", "/a/..\\admin", "/%00", "/admin%00", "/a#b", "/a/..;/admin", "/a/..;x=1/admin",
    "/.;/admin", "/../admin", "/a/../../admin", "/%2e%2e/admin", "/..", "/%", "/%4", "/%zz", "/a%2", "/%u0061dmin", "/admin\x7f",
])
def test_a_path_that_can_be_read_in_two_ways_is_refused(gateway, origin, target):
    with gateway.connect() as client:
        assert client.get(target).status == 400
        assert client.is_at_end()
    assert origin.targets == []


@pytest.mark.parametrize("target, path", [
    ("/", "/"), ("/a", "/a"), ("/a/", "/a/"), ("/a//b", "/a/b"), ("/a/./b", "/a/b"), ("/a/b/..", "/a/"), ("/a/b/../", "/a/"), ("/a/b/.", "/a/b/"),
    ("/a;p=1/b", "/a;p=1/b"), ("/%7Euser", "/~user"), ("/a%2db", "/a-b"), ("/%e2%82%ac", "/%E2%82%AC"), ("/%252fadmin", "/%252fadmin"), ("/%252e%252e/admin", "/%252e%252e/admin"),
    ("/ADMIN/x", "/ADMIN/x"), ("/administrator", "/administrator"), ("/...", "/..."), ("/a/..b", "/a/..b"), ("/a%20b", "/a%20b"), ("/a+b", "/a+b"), ("/a%3fb", "/a%3Fb"),
    ("/exact/", "/exact/"), ("/:colon/@at/!$&'()*+,=", "/:colon/@at/!$&'()*+,="),
])
def test_policy_and_upstream_see_the_same_normal_path(gateway, target, path):
    seen = Seen(gateway.get(target))
    assert seen.target == path
    assert seen.headers.get("x-policy-path") == path


def test_the_query_is_left_alone(gateway):
    seen = Seen(gateway.get("/a/../b?x=/../y&z=%2f%00&//"))
    assert seen.target == "/b?x=/../y&z=%2f%00&//"


@pytest.mark.parametrize("target, path", [("/old", "/new"), ("/old/", "/new/"), ("/old/a/../b", "/new/b"), ("//old//a", "/new/a"), ("/x/../old/a?q=1", "/new/a?q=1")])
def test_a_rewrite_works_on_the_normal_path(gateway, target, path):
    assert Seen(gateway.get(target)).target == path


@pytest.mark.parametrize("host", ["admin.test", "ADMIN.test", "Admin.Test", "admin.test.", "admin.test:80", "ADMIN.TEST.:8080", "admin.test:65535"])
def test_no_spelling_gets_round_a_protected_host(gateway, origin, host):
    assert gateway.get("/", [("Host", host)]).status == 403
    assert gateway.get(f"http://{host}/", [("Host", "other.test")]).status == 403
    assert origin.targets == []


@pytest.mark.parametrize("host", ["xadmin.test", "admin.testx", "admin", "sub.admin.test", "other.test"])
def test_other_hosts_are_other_hosts(gateway, host):
    assert Seen(gateway.get("/", [("Host", host)])).headers.get("host") == host
