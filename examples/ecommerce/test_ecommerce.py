# SPDX-License-Identifier: MIT
"""The shop as a newcomer meets it: everything started by `run`, used through the gateway, and closed again."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from shop import HERE, PARTS, Shop, bearer, run_to_end, token
from support import client, process, wait
from support.checks import check_problem


@pytest.fixture(scope="module")
def shop():
    """The shop of all tests that break nothing."""
    shop = Shop()
    try:
        yield shop.wait_open()
        shop.stop()
    finally:
        shop.kill()


@pytest.fixture
def launch():
    """Opens shops that a test may break or close itself."""
    with contextlib.ExitStack() as stack:
        def start(**variables):
            shop = Shop(**variables)
            stack.callback(shop.kill)
            return shop.wait_open()

        yield start


# ---------------------------------------------------------------- https


def secure_curl(shop, *arguments):
    """What curl prints of a request over TLS that trusts the certificate of this start only: body, version, status."""
    command = ["curl", "-sS", "--cacert", shop.logs / "shop.pem", "-w", "\n%{http_version} %{http_code}", *arguments]
    done = subprocess.run([*command[:-1], f"https://127.0.0.1:{shop.base + 363}{arguments[-1]}"], check=True, capture_output=True, text=True,
                          timeout=wait.PATIENCE)
    body, _, rest = done.stdout.rpartition("\n")
    return body, *rest.split()


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("openssl"), reason="curl and openssl are not installed")
@pytest.mark.parametrize("option, version", [("--http2", "2"), ("--http1.1", "1.1")])
def test_the_shop_is_open_over_tls_with_both_versions_of_http(shop, option, version):
    body, *rest = secure_curl(shop, option, "/products")
    assert (rest, json.loads(body)) == ([version, "200"], json.loads(shop.get("/products").body))
    assert secure_curl(shop, option, "/users/me")[2] == "401"
    authorization = "%s: %s" % shop.logged_in()[0]
    order = json.dumps({"items": [{"product": "3", "quantity": 1}]})
    body, _, status = secure_curl(shop, option, "-H", authorization, "-H", "x-user: root", "-d", order, "/orders")
    assert status == "201", body
    assert json.loads(secure_curl(shop, option, "-H", authorization, f"/orders/{json.loads(body)['id']}")[0])["status"] == "paid"


def test_the_key_of_the_certificate_is_for_the_shop_alone(shop):
    for path in (shop.logs, shop.logs / "shop.key"):
        assert path.stat().st_mode & 0o077 == 0


# ---------------------------------------------------------------- the catalogue

def test_the_catalogue_is_public(shop):
    response = shop.get("/products")
    assert response.status == 200
    assert response.headers.get("content-type") == "application/json"
    products = json.loads(response.body)
    assert len(products) == 3
    for product in products:
        assert json.loads(shop.get(f"/products/{product['id']}").body) == product


def test_a_product_that_is_not_there_is_404(shop):
    assert shop.get("/products/99").status == 404


def test_what_no_route_takes_is_404(shop):
    for method, target in (("GET", "/"), ("GET", "/charges"), ("DELETE", "/products/1"), ("GET", "/users/root")):
        check_problem(shop.request(method, target, shop.logged_in("root")), 404)


def test_who_asks_too_often_waits_and_others_do_not(shop):
    greedy = http.client.HTTPConnection("127.0.0.1", shop.base, source_address=("127.0.0.2", 0), timeout=wait.PATIENCE)
    for admitted in range(10000):  # the bucket fills again while they run
        greedy.request("GET", "/products/1")
        response = greedy.getresponse()
        body = response.read()
        if response.status != 200:
            break
    greedy.close()
    assert response.status == 429 and admitted >= 100
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == 429
    assert shop.get("/products/1").status == 200


# ---------------------------------------------------------------- who is who

def test_login_gives_a_token(shop):
    response = shop.login("root", "toor")
    assert response.status == 200
    assert list(json.loads(response.body)) == ["token"]


@pytest.mark.parametrize("user, password", [("ada", "toor"), ("ada", ""), ("nobody", "lovelace"), ("", "")])
def test_login_refuses_what_does_not_fit(shop, user, password):
    response = shop.login(user, password)
    assert response.status == 401
    assert b"token" not in response.body


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"user":"ada"}', b'{"user":["ada"],"password":"lovelace"}'])
def test_login_refuses_what_it_does_not_understand(shop, body):
    assert shop.request("POST", "/login", body=body).status == 400


def test_a_user_sees_herself(shop):
    response = shop.get("/users/me", shop.logged_in("ada"))
    assert response.status == 200
    assert json.loads(response.body) == {"user": "ada", "name": "Ada Lovelace", "role": "customer"}


@pytest.mark.parametrize("target", ["/users/me", "/users", "/orders/1"])
def test_without_a_token_the_answer_is_401(shop, target):
    response = shop.get(target)
    check_problem(response, 401)
    assert response.headers.get("www-authenticate").startswith("Bearer")


FORGED = {
    "expired": lambda: token({"exp": int(time.time()) - 1}),
    "without an end": lambda: token({"exp": None}),
    "of another issuer": lambda: token({"iss": "elsewhere"}),
    "signed with another key": lambda: token(key=b"k" * 40),
    "not signed": lambda: token(alg="none"),
    "with claims changed after signing": lambda: ".".join([token().split(".")[0], token({"role": "admin"}).split(".")[1],
                                                           token().split(".")[2]]),
    "no token at all": lambda: "lovelace",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_bad_token_is_refused(shop, name):
    response = shop.get("/users/me", bearer(FORGED[name]()))
    check_problem(response, 401)
    assert "invalid_token" in response.headers.get("www-authenticate")


def test_a_token_made_with_the_key_is_good(shop):
    """So the tests above fail for the reason they name."""
    assert shop.get("/users/me", bearer(token())).status == 200


def test_only_an_admin_sees_all_users(shop):
    check_problem(shop.get("/users", shop.logged_in("ada")), 403)
    response = shop.get("/users", shop.logged_in("root"))
    assert response.status == 200
    assert [user["user"] for user in json.loads(response.body)] == ["ada", "root"]


@pytest.mark.parametrize("name", ["x-user", "X-User", "X-USER"])
def test_a_client_cannot_say_who_it_is(shop, name):
    forged = [(name, "root"), ("x-role", "admin")]
    check_problem(shop.get("/users/me", forged), 401)
    assert json.loads(shop.get("/users/me", [*forged, *shop.logged_in("ada")]).body)["user"] == "ada"
    check_problem(shop.get("/users", [*forged, *shop.logged_in("ada")]), 403)


# ---------------------------------------------------------------- orders

def test_an_order_is_priced_paid_and_kept(shop):
    prices = {product["id"]: product["price"] for product in json.loads(shop.get("/products").body)}
    items = [{"product": "3", "quantity": 2}, {"product": 1, "quantity": 1}]  # ids are strings or numbers
    response = shop.request("POST", "/orders", shop.logged_in("ada"), {"items": items})
    assert response.status == 201, response
    order = json.loads(response.body)
    assert order == {"id": order["id"], "status": "paid", "total": 2 * prices["3"] + prices["1"]}
    kept = shop.get(f"/orders/{order['id']}", shop.logged_in("ada"))
    assert kept.status == 200 and json.loads(kept.body) == order


def test_an_order_is_its_owners_business(shop):
    order = json.loads(shop.order(user="ada").body)
    for headers in (shop.logged_in("root"), [*shop.logged_in("root"), ("X-User", "ada")]):
        response = shop.get(f"/orders/{order['id']}", headers)
        assert response.status == 404
        assert b"total" not in response.body
    check_problem(shop.get(f"/orders/{order['id']}"), 401)
    assert shop.get("/orders/999999", shop.logged_in("ada")).status == 404


@pytest.mark.parametrize("body, status", [
    (b"", 400), (b"{", 400), (b'{"items":[]}', 400), (b'{"items":[{"product":"3"}]}', 400),
    (b'{"items":[{"product":"3","quantity":0}]}', 400), (b'{"items":[{"product":"3","quantity":1.5}]}', 400),
    (b'{"items":[{"product":"99","quantity":1}]}', 422), (b'{"items":[{"product":"../login","quantity":1}]}', 422),
    (b'{"items":[{"product":"3\\u0000","quantity":1}]}', 422), (b" " * 70000, 413),
])
def test_an_order_that_makes_no_sense_is_refused(shop, body, status):
    assert shop.request("POST", "/orders", shop.logged_in("ada"), body).status == status


def test_nobody_orders_without_a_token(shop):
    check_problem(shop.request("POST", "/orders", body={"items": [{"product": "3", "quantity": 1}]}), 401)


# ---------------------------------------------------------------- the mesh

def ids_of(shop, part):
    return [line.get("request_id") for line in shop.exchanges(part)]


def test_one_request_id_goes_through_all_hops(shop):
    response = shop.request("POST", "/orders", [*shop.logged_in("ada"), ("X-Request-Id", "mine")],
                            {"items": [{"product": "3", "quantity": 1}]})
    assert response.status == 201
    request_id = response.headers.get("x-request-id")
    assert re.fullmatch(r"[0-9a-f]{32}", request_id), "the gateway gives ids itself"

    def hops():
        counts = {part: ids_of(shop, part).count(request_id) for part in PARTS}
        return {part: count for part, count in counts.items() if count}

    # Its own sidecar sees an order three times: coming in, and going out to product and to payment. A line is written after the
    # answer has been sent, so the last ones come a little later.
    wait.until(lambda: sum(hops().values()) >= 9, "all nine hops had been logged")
    payment = "payment1" if "payment1" in hops() else "payment2"
    assert hops() == {"gateway": 1, "order-sidecar": 3, "order": 1, "product-sidecar": 1, "product": 1,
                      f"{payment}-sidecar": 1, payment: 1}


def test_both_payment_instances_get_their_share(shop):
    ids = {shop.order().headers.get("x-request-id") for _ in range(4)}

    def shares():
        return [len(ids.intersection(ids_of(shop, instance))) for instance in ("payment1", "payment2")]

    wait.until(lambda: sum(shares()) == 4, "all four charges had been logged")
    assert shares() == [2, 2]


def payment_endpoints(shop):
    """What the order service's sidecar thinks of the payment instances."""
    upstreams = json.loads(client.fetch(f"127.0.0.1:{shop.base + 1833}", "GET", "/upstreams", [("Host", "localhost")]).body)
    payment, = (upstream for upstream in upstreams if upstream["name"] == "payment")
    return [endpoint["state"] for endpoint in payment["endpoints"]]


def test_a_dead_payment_instance_costs_no_order(launch):
    shop = launch()
    shop.kill_part("payment1")
    answers = [shop.order() for _ in range(8)]
    assert [answer.status for answer in answers] == [201] * 8
    check_kept_as_answered(shop, answers)
    wait.until(lambda: payment_endpoints(shop) == ["unhealthy", "healthy"], "the checks found payment1 dead")
    assert shop.get("/products").status == 200
    shop.start_again("payment1")
    assert [shop.order().status for _ in range(4)] == [201] * 4
    shop.stop()


def check_kept_as_answered(shop, answers):
    for answer in answers:
        order = json.loads(answer.body)
        kept = json.loads(shop.get(f"/orders/{order['id']}", shop.logged_in()).body)
        assert order["status"] == kept["status"] == ("paid" if answer.status == 201 else "unpaid")


@contextlib.contextmanager
def chaos(shop, mode):
    """payment1 misbehaves for as long as the block lasts."""
    def switch(mode):
        response = client.fetch(f"127.0.0.1:{shop.base + 924}", "POST", "/chaos", body=mode.encode())
        assert response.status == 200 and json.loads(response.body) == {"chaos": mode, "instance": "payment1"}

    switch(mode)
    try:
        yield
    finally:
        switch("off")


def test_a_payment_instance_that_answers_errors_costs_no_order(launch):
    shop = launch()
    with chaos(shop, "errors"):
        answers = [shop.order() for _ in range(8)]
        assert [answer.status for answer in answers] == [201] * 8
        assert shop.get("/products").status == 200
        wait.until(lambda: payment_endpoints(shop) == ["ejected", "healthy"], "payment1 was ejected")
    check_kept_as_answered(shop, answers)

    def charged_by(instance):
        return sum(line["status"] == 201 for line in shop.exchanges(instance) if line["route"] == "charge")

    wait.until(lambda: charged_by("payment2") == 8, "all eight charges had been logged")
    assert charged_by("payment1") == 0
    shop.stop()


def test_a_slow_payment_instance_delays_its_orders_and_nobody_else(shop):
    with chaos(shop, "slow"), contextlib.ExitStack() as stack:
        customers = [stack.enter_context(client.Client(shop.address)) for _ in range(2)]
        body = json.dumps({"items": [{"product": "3", "quantity": 1}]}).encode()
        for customer in customers:
            customer.send_request("POST", "/orders", shop.logged_in(), body)
        assert shop.get("/products").status == 200
        answers = [customer.read_response() for customer in customers]
    assert [answer.status for answer in answers] == [201, 201]
    check_kept_as_answered(shop, answers)

    def durations():
        ids = {answer.headers.get("x-request-id") for answer in answers}
        return [line["duration_ms"] for line in shop.exchanges("order-sidecar") if line.get("request_id") in ids and line["route"] == "payment"]

    wait.until(lambda: len(durations()) == 2, "both charges had been logged")
    assert min(durations()) < 2000 <= max(durations())


@pytest.mark.parametrize("mode", [b"", b"on", b"errors and more, far too much of it"])
def test_the_chaos_switch_knows_three_positions(shop, mode):
    assert client.fetch(f"127.0.0.1:{shop.base + 924}", "POST", "/chaos", body=mode).status == 400
    assert shop.get("/chaos").status == 404  # not a matter of customers


# ---------------------------------------------------------------- opening and closing

def test_what_it_prints_works_line_by_line(launch):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    shop = launch()
    lines = [line.strip() for line in shop.output if re.match(r"  (curl|TOKEN=)", line)]
    result = subprocess.run(["bash", "-eu", "-c", "\n".join(lines)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                            timeout=3 * wait.PATIENCE, check=True)
    assert re.findall(r"HTTP/1\.1 (\d{3})", result.stdout) == ["200", "401", "200", "201", "200", "403"]
    assert result.stdout.count("HTTP/2 200") == bool(shutil.which("openssl"))
    assert '"generation": 1' in result.stdout
    shop.stop()


def test_it_uses_no_colours_where_nobody_looks(shop):
    assert "\x1b" not in shop.text


def test_it_names_every_part_and_its_process(shop):
    pids = shop.pids()
    assert sorted(pids) == sorted(PARTS)
    assert all(map(process.is_running, pids.values()))


def begin_order(shop):
    """An order that is under way: its head is sent and its body is not complete."""
    body = json.dumps({"items": [{"product": "3", "quantity": 1}]}).encode()
    customer = client.Client(shop.address)
    customer.send_request("POST", "/orders", [*shop.logged_in(), ("Content-Length", str(len(body)))])
    customer.send(body[:5])
    wait.until(lambda: gateway_connections(shop) == 1, "the gateway had accepted it")
    return customer, body[5:]


def gateway_connections(shop):
    status = json.loads(client.get(f"127.0.0.1:{shop.base + 1821}", "/status", [("Host", "localhost")]).body)
    return sum(worker["connections"] for worker in status["workers"])


def is_refused(shop):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", shop.base)) != 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_after_the_order_that_is_under_way(launch, number):
    shop = launch()
    family = shop.family()
    customer, rest = begin_order(shop)
    shop.send(number)
    wait.until(lambda: is_refused(shop), "nobody was let in any more")
    customer.send(rest)
    response = customer.read_response()
    assert response.status == 201 and json.loads(response.body)["status"] == "paid"
    assert shop.wait_end() == 0
    assert shop.output[-1] == "The shop is closed."
    assert shop.error_text == ""
    shop.check_left_nothing(family)


def test_a_second_ctrl_c_waits_for_nobody(launch):
    # Processes that do not end quickly enough are killed here, and some may be looking for their leaks.
    shop = launch(ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
    family = shop.family()
    customer, _ = begin_order(shop)
    shop.send(signal.SIGINT)
    wait.until(lambda: is_refused(shop), "nobody was let in any more")
    shop.send(signal.SIGINT)
    assert shop.wait_end() == 0
    assert b" 201 " not in customer.read_rest()  # nothing, or that a service has gone: nobody waited for the rest of the order
    shop.check_left_nothing(family)


def test_without_its_gateway_the_shop_closes(launch):
    shop = launch()
    family = shop.family()
    shop.kill_part("gateway")
    assert shop.wait_end() == 1
    shop.check_left_nothing(family)


def test_when_the_script_is_killed_the_parts_end_too(launch):
    shop = launch()
    family = shop.family()
    shop.send(signal.SIGKILL)
    shop.wait_end()
    wait.until(lambda: not any(map(process.is_running, family)), "all processes had ended")


def test_a_taken_port_is_named_with_a_way_out(shop):
    second = run_to_end(shop.base)
    assert second.returncode == 1
    assert "user did not start" in second.stderr
    assert f"127.0.0.1:{shop.base + 921}" in second.stderr and "in use" in second.stderr
    assert "ECOMMERCE_PORT_BASE=" in second.stderr
    assert shop.get("/products").status == 200


@pytest.mark.parametrize("base", ["shop", "0", "65000", "80.5"])
def test_a_port_that_cannot_be_is_refused(base):
    result = run_to_end(base)
    assert result.returncode == 1
    assert "ECOMMERCE_PORT_BASE is a whole number" in result.stderr


def test_a_missing_binary_is_named(tmp_path):
    result = run_to_end(10000, PERIGEE=str(tmp_path / "perigee"))
    assert result.returncode == 1
    assert f"there is no {tmp_path}/perigee" in result.stderr and "make" in result.stderr


def test_its_scripts_can_be_run():
    assert os.access(HERE / "run", os.X_OK)
