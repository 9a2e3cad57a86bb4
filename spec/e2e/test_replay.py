# SPDX-License-Identifier: MIT
"""`perigee replay`: exactly the decisions that differ, at the time when they were made, and clear words for what cannot be used."""

import json
import re
import signal
import subprocess

import pytest

from support import gateway, recordings, wait
from support.gateway import BINARY, run

CONFIG = """
return {
    upstreams = { api = { endpoints = { "10.0.0.1:80" }, timeouts = { request = "5s" } }, other = { endpoints = { "10.0.0.2:80" } } },
    policies = { $policies },
    routes = {
        { name = "open", match = { path = "/open/*" }, upstream = "api" },
        { name = "all", match = { path = "/*" }, upstream = "api", policies = { "gate" } },
    },
}
"""

GATE = """
local perigee = require "perigee"
local Gate = perigee.policy { name = "gate", stage = "auth" }
function Gate:on_request(req)
    local team = req.headers["x-team"]
    if team == "red"$edit then
        return perigee.reply(403)
    end
end
return Gate
"""

EDIT = ' or team == "blue" and req.method == "POST"'


def write(folder, name, edit="", policies="", config=CONFIG):
    folder.write(f"{name}/policies/gate/init.lua", GATE, edit=edit)
    return folder.write(f"{name}/gateway.lua", config, policies=policies)


def record(folder, exchanges, **options):
    return folder.write("recording.jsonl", recordings.text(exchanges, **options))


def replay(path, config, *options, status=None):
    result = run("replay", path, "--config", config, *options)
    if status is not None:
        assert result.returncode == status, result.stdout + result.stderr
    return result


def replay_json(path, config, *options, status):
    return json.loads(replay(path, config, "--json", *options, status=status).stdout)


def lines_of(report):
    return [exchange["line"] for exchange in report["exchanges"] if exchange["differences"]]


def kinds_of(exchange):
    return [" ".join(filter(None, (difference["kind"], difference.get("name")))) for difference in exchange["differences"]]


# ---------------------------------------------------------------- what differs


def test_ten_thousand_exchanges_and_exactly_those_that_an_edit_decides_otherwise(folder):
    teams, methods = ["green", "blue", "red", "white"], ["GET", "POST", "PUT"]
    exchanges, expected = [], []
    for i in range(10000):
        team, method = teams[i % 4], methods[i % 3]
        is_open = i % 5 == 0
        target = f"/open/{i}" if is_open else f"/shop/{i}?q={i}"
        options = {"at": i / 50, "method": method, "headers": {"x-team": team}, "route": "open" if is_open else "all"}
        if team == "red" and not is_open:
            options |= {"status": 403, "upstream": None}
        elif team == "blue" and method == "POST" and not is_open:
            expected.append(i + 2)
        exchange = recordings.exchange(target, **options)
        if options.get("status") == 403:
            exchange["response"]["headers"] = []
        exchanges.append(exchange)
    path = record(folder, exchanges)
    old, new = write(folder, "old"), write(folder, "new", EDIT)
    assert len(expected) == 667
    report = replay_json(path, new, "--only-changed", status=1)
    assert lines_of(report) == expected
    assert (report["total"], report["changed"], report["skipped"]) == (10000, len(expected), 0)
    assert all("status" in kinds_of(exchange) for exchange in report["exchanges"])
    assert replay_json(path, old, "--only-changed", status=0)["same"] == 10000
    assert lines_of(replay_json(path, new, "--only-changed", "--against", old, status=1)) == expected


@pytest.mark.parametrize("against", [False, True])
def test_every_kind_of_decision_is_told_apart(folder, against):
    def change(*pairs):
        config = CONFIG
        for before, after in pairs:
            assert before in config
            config = config.replace(before, after)
        return write(folder, "new", config=config)

    old = write(folder, "old")
    path = record(folder, [recordings.exchange("/a?b=c")])
    options = ["--against", old] if against else []
    for changes, kinds in [
        ([('name = "all"', 'name = "rest"')], ["route"]),
        ([('path = "/*" }, upstream = "api"', 'path = "/*" }, upstream = "other"')], ["upstream"]),
        ([('path = "/*" }, upstream = "api"', 'path = "/*" }, upstream = "api", rewrite = { prefix = "/v2" }')], ["request"]),
        ([("$policies", '{ "headers", request = { set = { ["x-b"] = "1" } } }')], ["request header x-b"]),
        ([("$policies", '{ "headers", response = { remove = { "content-type" } } }')], ["response header content-type"]),
        ([('upstream = "api", policies = { "gate" }', 'reply = { status = 404, headers = { ["content-type"] = "text/plain" } }')],
         ["status", "upstream"]),
    ]:
        report = replay_json(path, change(*changes), *options, status=1)
        assert kinds_of(report["exchanges"][0]) == kinds, changes
    assert replay_json(path, old, *options, status=0)["same"] == 1


def test_headers_that_change_with_every_run_do_not_count(folder):
    answer = {"date": "Sun, 01 Mar 2026 12:00:00 GMT", "x-request-id": "abc", "x-trace": "1"}
    path = record(folder, [recordings.exchange("/a", answer=answer)])
    config = write(folder, "new", policies='"request_id", { "headers", response = { set = { ["x-trace"] = "2" } } }')
    assert kinds_of(replay_json(path, config, status=1)["exchanges"][0]) == ["response header x-trace"]
    assert replay_json(path, config, "--ignore", "X-Trace", status=0)["same"] == 1


def test_a_rate_limit_sees_the_time_of_the_recording(folder):
    limit = '{ "rate_limit", limit = 2, window = "1s", by = "client", headers = "off" }'
    spread = [recordings.exchange(f"/{i}", at=i) for i in range(6)]
    burst = [recordings.exchange(f"/{i}", at=i / 100) for i in range(6)]
    old, new = write(folder, "old"), write(folder, "new", policies=limit)
    assert replay_json(record(folder, spread), new, "--against", old, status=0)["same"] == 6
    report = replay_json(record(folder, burst), new, "--against", old, status=1)
    assert lines_of(report) == [4, 5, 6, 7]
    # The other way round the limit is lifted, and the upstream is asked for what it has never answered.
    lifted = replay_json(record(folder, burst), old, "--against", new, status=1)
    assert lines_of(lifted) == [4, 5, 6, 7]


def test_exchanges_are_replayed_in_the_order_in_which_they_began(folder):
    limit = '{ "rate_limit", limit = 1, window = "1h", by = "client", headers = "off" }'
    path = record(folder, [recordings.exchange("/late", at=5), recordings.exchange("/early", at=1)])
    report = replay_json(path, write(folder, "new", policies=limit), "--only-changed", status=1)
    assert lines_of(report) == [2]


def test_an_upstream_fails_as_it_did(folder):
    exchanges = []
    for name, status in [("connect_failed", 503), ("upstream_reset", 502), ("upstream_timeout", 504), ("upstream_protocol", 502)]:
        exchange = recordings.exchange(f"/{name}", at=len(exchanges), status=status, error=name)
        attempt = exchange["attempts"][0]
        del attempt["response"]
        if name != "upstream_timeout":
            attempt["error"] = name
        exchange["response"]["headers"] = [["content-type", "application/problem+json"]]
        exchanges.append(exchange)
    exchanges.append(recordings.exchange("/fine", at=20))
    assert replay_json(record(folder, exchanges), write(folder, "new"), status=0)["same"] == 5


def test_an_answer_that_was_not_recorded_is_said_to_stand_for_one(folder):
    exchange = recordings.exchange("/a", status=403, upstream=None, headers={"x-team": "blue"})
    result = replay(record(folder, [exchange]), write(folder, "new"), status=1)
    assert "status: 403 → 200" in result.stdout
    assert "upstream: none → api" in result.stdout
    assert "whose answer is not recorded" in result.stdout


def test_a_long_body_of_a_handler_is_read(folder):
    config = CONFIG.replace("upstream = \"api\", policies = { \"gate\" }", "handler = function() return reply(200, (\"x\"):rep(3000000)) end")
    path = record(folder, [recordings.exchange("/a", at=i) for i in range(3)])
    assert replay_json(path, write(folder, "new", config=config), status=1)["changed"] == 3


# ---------------------------------------------------------------- what cannot be replayed


KEYED = '{ "key_auth", keys = { ["a-key-of-a-client"] = "alice" }, header = "x-key", query = "k" }'
MASK = "masked:0123456789abcdef"


@pytest.mark.parametrize("exchange, reason", [
    (recordings.exchange("/a", headers={"x-key": MASK}), "policy key_auth needs a credential that was masked"),
    (recordings.exchange(f"/a?x=1&k={MASK}"), "policy key_auth needs a credential that was masked"),
    (recordings.exchange("/a", error="client_gone"), "it failed by circumstance (client_gone)"),
    (recordings.exchange("/a", status=101), "it is a tunnel"),
    ({**recordings.exchange("/a"), "response": None}, None),
])
def test_what_cannot_be_replayed_is_counted_with_its_reason(folder, exchange, reason):
    known = recordings.exchange("/a", at=1, headers={"x-key": "a-key-of-a-client"}, consumer="alice")
    exchange = {name: value for name, value in exchange.items() if value is not None}
    report = replay_json(record(folder, [exchange, known]), write(folder, "new", policies=KEYED), status=0)
    assert (report["same"], report["skipped"]) == (1, 1)
    assert report["exchanges"][0]["skipped"] == (reason or "it has no response")


def test_nothing_that_could_be_replayed_is_no_success(folder):
    path = record(folder, [recordings.exchange("/a", headers={"x-key": MASK})])
    result = replay(path, write(folder, "new", policies=KEYED), status=2)
    assert "no exchange could be replayed" in result.stderr


def test_a_policy_that_hides_where_its_credentials_are_does_not_look_unchanged(folder):
    config = CONFIG.replace('upstream = "api", policies = { "gate" }', """handler = function(req)
        return reply(req.headers["authorization"] == "Bearer good" and 200 or 401) end""")
    folder.write("old/gateway.lua", config, policies="")
    folder.write("new/gateway.lua", config.replace('"Bearer good"', '"Bearer better"'), policies="")
    masked = recordings.exchange("/a", headers={"authorization": f"Bearer {MASK}"}, upstream=None)
    masked["response"]["headers"] = []
    path = record(folder, [masked, recordings.exchange("/open/b", route="open")])
    old, new = folder.path / "old/gateway.lua", folder.path / "new/gateway.lua"
    report = replay_json(path, new, "--against", old, status=0)
    assert report["exchanges"][0]["skipped"] == "a policy decides otherwise because of what was masked"
    assert "masked values, which may be the reason" in replay(path, new, status=1).stdout


def test_a_masked_value_in_an_answer_is_the_same_as_any(folder):
    exchange = recordings.exchange("/a", upstream=None)
    exchange["response"]["headers"] = [["set-cookie", f"sid={MASK}; Path=/"]]
    reply = 'reply = { headers = { ["set-cookie"] = "sid=%s; Path=%s" } }'
    path = record(folder, [exchange])
    for place, status in [("/", 0), ("/other", 1)]:
        config = CONFIG.replace('upstream = "api", policies = { "gate" }', reply % ("fresh", place))
        replay(path, write(folder, "new", config=config), status=status)


# ---------------------------------------------------------------- input that cannot be used


@pytest.mark.parametrize("line, message", [
    ("{", "the line is no JSON"),
    ("[]", "the line is no exchange"),
    ('{"perigee_recording":1}', "another recording begins here"),
    (json.dumps({**recordings.exchange("/a"), "time": "soon"}), "time is not an RFC 3339 date"),
    (json.dumps({**recordings.exchange("/a"), "request": None}), "request is missing"),
    (json.dumps({**recordings.exchange("/a"), "request": {"method": "GET", "target": "/", "headers": [["a"]]}}), "request.headers[1] is no pair"),
    (json.dumps({**recordings.exchange("/a"), "request": {"method": "GET", "target": "/", "headers": [["a", "b\r\nc: d"]]}}), "line break"),
    (json.dumps({**recordings.exchange("/a"), "request": {"method": "GET", "target": "/ HTTP/1.1", "headers": []}}), "no request target"),
    (json.dumps({**recordings.exchange("/a"), "response": {"status": "200", "headers": []}}), "response.status"),
    (json.dumps({**recordings.exchange("/a"), "attempts": [{"upstream": "api"}]}), "attempts[1].request is missing"),
])
def test_a_line_that_cannot_be_read_is_named_by_its_number(folder, line, message):
    good = recordings.text([recordings.exchange("/a")], end=False)
    path = folder.write("recording.jsonl", good + line + "\n" + json.dumps(recordings.exchange("/b")) + "\n")
    config = write(folder, "new")
    result = replay(path, config, status=2)
    assert re.search(rf"^\S+/recording\.jsonl:3: .*{re.escape(message)}", result.stderr, re.M), result.stderr
    assert result.stdout == ""
    assert replay_json(path, config, "--skip-bad", status=0)["total"] == 2


def test_a_recording_that_was_cut_off_is_named_and_its_beginning_can_be_used(folder):
    text = recordings.text([recordings.exchange("/a"), recordings.exchange("/b")], end=False)
    path = folder.write("recording.jsonl", text[:-20])
    config = write(folder, "new")
    assert "recording.jsonl:3: the line is cut off" in replay(path, config, status=2).stderr
    result = replay(path, config, "--skip-bad", status=0)
    assert "the recording was interrupted" in result.stderr


@pytest.mark.parametrize("text, message", [
    ("", "no recording"), ("hello\n", "no recording"), ('{"perigee_recording":2}\n', "has version 2"),
    ('{"perigee_recording":1}\n', "no exchange in"),
])
def test_a_file_that_is_no_recording_is_refused(folder, text, message):
    path = folder.write("recording.jsonl", text)
    assert message in replay(path, write(folder, "new"), status=2).stderr


def test_a_configuration_that_is_refused_is_told_with_its_errors(folder):
    path = record(folder, [recordings.exchange("/a")])
    config = folder.write("new/gateway.lua", "return {\n  routs = {},\n}\n")
    result = replay(path, config, status=2)
    assert "gateway.lua:2: routs:" in result.stderr and "is refused" in result.stderr


@pytest.mark.parametrize("arguments, message", [
    ([], "which recording"), (["a.jsonl"], "which configuration"), (["a", "b"], "one file too many"), (["--bogus"], "no option"),
    (["a", "--config"], "--config needs a value"), (["a", "--examples=many"], "--examples does not take"),
    (["/nowhere", "--config", "/dev/null"], "cannot read /nowhere"), (["/dev/null", "--config", "/nowhere"], "cannot read /nowhere"),
])
def test_a_wrong_argument_of_replay_is_named(arguments, message):
    result = run("replay", *arguments)
    assert result.returncode == 2
    assert message in result.stderr


# ---------------------------------------------------------------- for people


def test_the_summary_counts_and_shows_examples_by_route(folder):
    exchanges = [recordings.exchange(f"/{i}", at=i, method="POST", headers={"x-team": "blue"}) for i in range(8)]
    path = record(folder, exchanges)
    output = replay(path, write(folder, "new", EDIT), "--examples", "2", status=1).stdout
    assert "8 exchanges" in output and "8  changed" in output
    assert "route all: 8 changed" in output
    assert output.count("status: 200 → 403") == 2 and "… 6 more" in output
    changed = replay(path, write(folder, "new", EDIT), "--only-changed", status=1).stdout
    assert changed.count("status: 200 → 403") == 8 and "not replayable" not in changed


def test_the_recording_that_the_documentation_shows_can_be_replayed(folder):
    page = (gateway.TOP / "docs/operations/record-replay.md").read_text()
    text = re.search(r"^```jsonl\n(.*?)^```", page, re.M | re.S).group(1)
    assert replay_json(folder.write("recording.jsonl", text), write(folder, "new"), status=0)["same"] == 1


# ---------------------------------------------------------------- from one end to the other


LIVE = """
return {
  admin = "unix:$dir/admin.sock", access_log = "off", workers = 2,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" } } },
  policies = { "request_id", { "headers", response = { set = { ["x-edge"] = "1" } } } },
  routes = {
    { name = "shop", match = { path = "/shop/*" }, upstream = "origin", rewrite = { prefix = "/v2" } },
    { name = "all", match = { path = "/*" }, upstream = "origin" },
  },
}
"""


def test_what_a_proxy_recorded_replays_without_a_difference_until_the_configuration_changes(origin, launch, folder):
    proxy = launch(LIVE, values={"origin": origin.address})
    path = proxy.folder.path / "recording.jsonl"
    recorder = subprocess.Popen([BINARY, "record", "--admin", proxy.admin, "--out", path, "--keep-credentials"],
                                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def has(text):
        return path.exists() and text in path.read_text()

    wait.until(lambda: proxy.get("/begin") and has("/begin"), "the recording began")
    for i in range(10):
        proxy.request("POST", f"/shop/{i}?a=b", [("X-Odd", "\xe9"), ("Cookie", "a=b")], b"body" * i)
        proxy.request("HEAD", f"/head/{i}")
        proxy.get(f"/shop/./{i}/../x")
    recorder.send_signal(signal.SIGINT)
    recorder.communicate(timeout=wait.PATIENCE)
    assert recorder.returncode == 0
    same = folder.write("same.lua", LIVE, origin=origin.address)
    edited = folder.write("edited.lua", LIVE.replace('"/v2"', '"/v3"'), origin=origin.address)
    assert replay_json(path, same, status=0)["changed"] == 0
    report = replay_json(path, edited, status=1)
    for exchange in report["exchanges"]:
        is_shop = exchange["request"].split(" ")[1].startswith("/shop/")
        assert kinds_of(exchange) == (["request"] if is_shop else [])
