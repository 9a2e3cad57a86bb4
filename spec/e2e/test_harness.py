# SPDX-License-Identifier: MIT
"""The harness itself: clients and upstreams joined without a gateway between them."""

import socket

import pytest

from support import client, http1, metrics, wait
from support.upstream import Seen, Upstream, free_address


def test_client_and_upstream_understand_each_other():
    with Upstream() as upstream, client.Client(upstream.address) as c:
        seen = Seen(c.request("POST", "/a?b", [("X-A", "1")], b"body"))
        assert (seen.method, seen.target, seen.length, seen.is_chunked) == ("POST", "/a?b", 4, False)
        assert seen.headers.get("x-a") == "1"
        assert upstream.complete_targets == ["/a?b"]


def test_chunked_bodies_and_trailers_are_read_on_both_sides():
    def answer(wire, request):
        wire.read_request_body(request)
        assert (request.body, request.trailers.get("x-sum")) == (b"onetwo", "2")
        wire.send_head(200, [("Transfer-Encoding", "chunked")])
        wire.send(http1.chunk(b"one") + b"0\r\nX-End: yes\r\n\r\n")

    with Upstream(answer=answer) as upstream, client.Client(upstream.address) as c:
        body = http1.chunk(b"one") + http1.chunk(b"two") + b"0\r\nX-Sum: 2\r\n\r\n"
        response = c.request("POST", "/", [("Transfer-Encoding", "chunked")], body)
        assert (response.body, response.chunks, response.trailers.get("x-end")) == (b"one", [3], "yes")
        assert upstream.failures == []


def test_a_body_that_is_cut_short_is_noticed():
    def answer(wire, _request):
        wire.send_head(200, [("Content-Length", "5")])
        wire.send(b"abc")
        wire.close()

    with Upstream(answer=answer) as upstream, pytest.raises(http1.Closed):
        client.get(upstream.address, "/")


def test_ambiguous_framing_is_noticed():
    def answer(wire, _request):
        wire.send_head(200, [("Content-Length", "5"), ("Transfer-Encoding", "chunked")])

    with Upstream(answer=answer) as upstream, pytest.raises(AssertionError):
        client.get(upstream.address, "/")


def test_interim_responses_are_kept_apart():
    def answer(wire, _request):
        wire.send_head(103, [("Link", "</a>")])
        wire.respond(200, [], b"end")

    with Upstream(answer=answer) as upstream:
        response = client.get(upstream.address, "/")
        assert [message.status for message in response.interim] == [103]
        assert response.body == b"end"


def test_upstream_remembers_requests_that_never_became_complete():
    with Upstream() as upstream:
        with client.Client(upstream.address) as c:
            c.send(b"POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfour")
        wait.until(lambda: upstream.connections and upstream.connections[0].is_closed.is_set(), "the connection was closed")
        assert (upstream.targets, upstream.complete_targets) == (["/half"], [])
        assert upstream.connections[0].log.endswith(b"four")


def test_an_end_is_told_from_bytes():
    with Upstream() as upstream, client.Client(upstream.address) as c:
        assert c.get("/").status == 200
        upstream.close_connections()
        assert c.is_at_end()


def test_unix_sockets_work_on_both_sides(folder):
    with Upstream(address=f"unix:{folder.path}/u.sock") as upstream:
        assert client.get(upstream.address, "/").status == 200


def test_free_address_refuses_connections():
    with pytest.raises(ConnectionRefusedError):
        client.Client(free_address())


def test_waiting_ends():
    with pytest.raises(AssertionError, match="until pigs flew"):
        wait.until(lambda: False, "pigs flew", 0.05)


def test_a_silent_peer_does_not_hang_a_test(monkeypatch):
    monkeypatch.setattr(wait, "PATIENCE", 0.05)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with client.Client("127.0.0.1:%d" % listener.getsockname()[1]) as c, pytest.raises(AssertionError, match="no bytes"):
            c.read_head()


def test_metrics_are_read():
    text = '# HELP a_total x\n# TYPE a_total counter\na_total{r="x\\"y",code="200"} 3\na_total{r="z",code="200"} 4\n'
    read = metrics.Metrics(text)
    assert read.find("a_total", r='x\\"y') == [3]
    assert read.sum("a_total", code="200") == 7


@pytest.mark.parametrize("text", ["a_total 1\n", "# TYPE a counter\na{x=1} 1\n", "# TYPE a counter\na 1\na 1\n", "# TYPE a counter\na one\n"])
def test_metrics_that_are_malformed_are_noticed(text):
    with pytest.raises(AssertionError):
        metrics.Metrics(text)
