# SPDX-License-Identifier: MIT
"""TLS with clients and with upstreams: certificates, names, versions, resumption, who is let in, and reloads of all that."""

import hashlib
import json
import os
import socket
import ssl
import subprocess

import pytest

from support import wait
from support.checks import check_problem
from support.gateway import run
from support.metrics import Metrics
from support.tls import RSA, Authority, TlsClient, TlsUpstream, client_context
from support.upstream import Seen, Upstream

MIB = 1024 * 1024

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 2,
  listeners = { { address = "127.0.0.1:0", tls = { cert = "site.pem", key = "site.key", EXTRA } }, MORE },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = {
    { name = "fixed", match = { path = "/fixed" }, reply = "fixed" },
    { name = "scheme", match = { path = "/scheme" }, handler = function(req) return reply(200, req.scheme) end },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""


def config(extra="", more=""):
    return CONFIG.replace("EXTRA", extra).replace("MORE", more)


@pytest.fixture(scope="module")
def stranger():
    """An authority that nobody trusts unless the test says so."""
    stranger = Authority("stranger")
    yield stranger
    stranger.remove()


@pytest.fixture(scope="module")
def site(authority):
    return authority.issue("site.test", "localhost", "IP:127.0.0.1")


@pytest.fixture
def start(origin, launch, site):
    """Starts a gateway with a TLS listener: start(extra settings of tls, files=…)."""
    def start(extra="", more="", files=None, text=None, **options):
        files = {"site.pem": site.cert, "site.key": site.key, **(files or {})}
        return launch(text or config(extra, more), files=files, values={"origin": origin.address}, **options)

    return start


def connect(gateway, context, server_name="site.test", session=None):
    return TlsClient(gateway.address, context, server_name, session)


def get(gateway, context, target="/fixed", **options):
    with connect(gateway, context, **options) as client:
        return client.get(target)


def refuses(gateway, context, **options):
    """Does the handshake, or the first read after it, fail with an alert or the end of the connection?"""
    try:
        with connect(gateway, context, **options) as client:
            client.send_request("GET", "/fixed")
            return not client.fill()
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return True


# ---------------------------------------------------------------- the way to the clients


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_curl_is_served_over_tls_with_both_versions_of_http(start, curl, authority, version):
    gateway = start()
    command = [curl, "-sS", "--cacert", authority.cert_file, "--http2" if version == "2" else "--http1.1", "-w", " %{http_version}",
               f"https://{gateway.address}/fixed"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == f"fixed {version}"


def test_requests_are_passed_on_with_their_scheme(start, authority):
    gateway = start()
    with connect(gateway, client_context(authority)) as client:
        seen = Seen(client.request("POST", "/echo", body=b"x" * MIB))
        assert (seen.length, seen.headers.get("x-forwarded-proto")) == (MIB, "https")
        assert client.get("/scheme").text() == "https"


def test_a_large_response_arrives_whole(start, origin, authority):
    origin.answer = lambda wire, request: wire.respond(200, body=os.urandom(16) * (MIB // 16) + b"end")
    body = get(start(), client_context(authority), "/large").body
    assert (len(body), body[-3:]) == (MIB + 3, b"end")


def test_plain_and_tls_listeners_stand_side_by_side(start, authority):
    gateway = start(more='{ address = "127.0.0.1:0" }')
    assert get(gateway, client_context(authority)).text() == "fixed"
    assert gateway.get("/scheme", listener=1).text() == "http"


def failed_handshakes(gateway):
    samples = Metrics(gateway.ask("GET", "/metrics").text()).samples
    return sum(value for name, _, value in samples if name == "perigee_tls_handshakes_failed_total")


def test_who_speaks_http_without_tls_is_told_so(start, origin):
    gateway = start()
    with gateway.connect() as client:
        response = client.request("POST", "/echo", body=b"x" * MIB)
        assert (response.status, response.headers.get("content-type"), response.headers.get("connection")) == (400, "text/plain", "close")
        assert "https" in response.text()
        assert client.is_at_end()
    assert failed_handshakes(gateway) == 1
    assert origin.heads == []


@pytest.mark.parametrize("data", [b"\x00", b"\x80\x2e\x01", b"hello\r\n"])
def test_who_speaks_neither_gets_no_response(start, data):
    with start().connect() as client:
        client.send(data + bytes(100))
        rest = client.read_rest()
    assert b"HTTP/" not in rest
    assert rest[:1] in (b"", b"\x15")  # an alert


def test_who_says_nothing_is_given_up(start):
    gateway = start(text=config().replace("tls = {", 'timeouts = { headers = "100ms" }, tls = {'))
    with gateway.connect() as client:
        assert client.is_at_end()
    assert failed_handshakes(gateway) == 1


def test_a_handshake_that_takes_too_long_is_given_up(start):
    gateway = start(text=config().replace("tls = {", 'timeouts = { headers = "100ms" }, tls = {'))
    with gateway.connect() as client:
        client.send(b"\x16\x03\x01")
        assert client.is_at_end()
    assert failed_handshakes(gateway) == 1


def test_a_client_hello_in_single_bytes_is_read(start, authority):
    gateway = start()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(authority).wrap_bio(incoming, outgoing, server_hostname="site.test")
    with gateway.connect() as wire:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    wire.send(bytes([byte]))
                incoming.write(wire.read_some())
    assert tls.version() == "TLSv1.3"


# ---------------------------------------------------------------- names, versions, protocols


def test_the_certificate_is_chosen_by_server_name(start, authority, site):
    exact, wildcard = authority.issue("a.shop.test"), authority.issue("*.shop.test")
    given = authority.issue("c.test")
    text = config().replace('cert = "site.pem", key = "site.key",', """certificates = {
      { cert = "site.pem", key = "site.key" }, { cert = "exact.pem", key = "exact.key" },
      { cert = "wildcard.pem", key = "wildcard.key" }, { cert = "given.pem", key = "given.key", hosts = { "d.test" } } }""")
    gateway = start(text=text, files={
        "exact.pem": exact.cert, "exact.key": exact.key, "wildcard.pem": wildcard.cert, "wildcard.key": wildcard.key,
        "given.pem": given.cert, "given.key": given.key})
    context = client_context(authority)
    context.check_hostname = False
    shown = {}
    for name in ("site.test", "a.shop.test", "A.Shop.Test", "b.shop.test", "b.b.shop.test", "shop.test", "c.test", "d.test", None):
        with connect(gateway, context, server_name=name) as client:
            shown[name] = client.peer
    assert shown == {
        "site.test": site.der, "a.shop.test": exact.der, "A.Shop.Test": exact.der, "b.shop.test": wildcard.der,
        "b.b.shop.test": site.der, "shop.test": site.der, "c.test": site.der, "d.test": given.der, None: site.der}


def test_the_kind_of_key_is_what_the_client_can_check(start, authority, site):
    rsa = authority.issue("site.test", "localhost", "IP:127.0.0.1", kind=RSA)
    text = config().replace('cert = "site.pem", key = "site.key",', """certificates = {
      { cert = "site.pem", key = "site.key" }, { cert = "rsa.pem", key = "rsa.key" } }""")
    gateway = start(text=text, files={"rsa.pem": rsa.cert, "rsa.key": rsa.key})
    for ciphers, expected in (("ECDHE+aECDSA", site), ("ECDHE+aRSA", rsa)):
        context = client_context(authority, version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)
        with connect(gateway, context) as client:
            assert client.peer == expected.der


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("least, spoken", [("1.2", ["TLSv1.2", "TLSv1.3"]), ("1.3", ["TLSv1.3"])])
def test_old_versions_are_not_spoken(start, authority, least, spoken):
    gateway = start(f'min_version = "{least}"')
    seen = []
    for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = client_context(authority, version=version, ciphers="ALL:@SECLEVEL=0")
        try:
            with connect(gateway, context) as client:
                seen.append(client.sock.version())
        except (ssl.SSLError, ConnectionResetError):
            pass
    assert seen == spoken


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"])
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(start, authority, cipher):
    context = client_context(authority, version=ssl.TLSVersion.TLSv1_2, ciphers=f"{cipher}:@SECLEVEL=0")
    assert refuses(start(), context)


@pytest.mark.parametrize("extra, offered, agreed", [
    ("", None, None), ("", ["http/1.1"], "http/1.1"), ("", ["http/1.1", "h2"], "h2"), ("", ["h2", "x"], "h2"),
    ('alpn = { "http/1.1" }', ["h2", "http/1.1"], "http/1.1"),
])
def test_the_protocol_is_agreed_on(start, authority, extra, offered, agreed):
    with connect(start(extra), client_context(authority, alpn=offered)) as client:
        assert client.sock.selected_alpn_protocol() == agreed


@pytest.mark.parametrize("extra, offered", [("", ["x"]), ('alpn = { "h2" }', ["http/1.1"]), ('alpn = { "http/1.1" }', ["h2"])])
def test_no_protocol_in_common_is_no_connection(start, authority, extra, offered):
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        connect(start(extra), client_context(authority, alpn=offered))


# ---------------------------------------------------------------- resumption


def session_of(gateway, context, **options):
    """A session, which comes after the first response at the latest."""
    with connect(gateway, context, **options) as client:
        assert client.get("/fixed").status == 200
        assert client.sock.session.has_ticket
        return client.sock.session


def resumes(gateway, context, session, **options):
    with connect(gateway, context, session=session, **options) as client:
        assert client.get("/fixed").text() == "fixed"
        return client.sock.session_reused


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_on_every_worker(start, authority, version):
    gateway = start()
    context = client_context(authority, version=version)
    session = session_of(gateway, context)
    held = []

    def reached():
        held.append(connect(gateway, context, session=session))
        assert held[-1].get("/fixed").text() == "fixed"
        assert held[-1].sock.session_reused
        return all(worker["connections"] > 0 for worker in gateway.ask_json("/status")["workers"])

    wait.until(reached, "both workers had resumed a session")
    for client in held:
        client.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_after_reloads(start, authority, version):
    gateway = start()
    context = client_context(authority, version=version)
    session = session_of(gateway, context)
    for _ in range(3):
        gateway.reload(config('min_version = "1.2"'))
        gateway.reload(config())
        assert resumes(gateway, context, session)


def test_openssl_resumes_too(start, folder, authority):
    gateway = start()
    command = ["openssl", "s_client", "-connect", gateway.address, "-servername", "site.test", "-CAfile", str(authority.cert_file), "-ign_eof"]
    request = "GET /fixed HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"
    for options, kind in (("-sess_out", "New, TLSv1.3"), ("-sess_in", "Reused, TLSv1.3")):
        done = subprocess.run([*command, options, str(folder.path / "session")], input=request, capture_output=True, text=True,
                              check=True, timeout=wait.PATIENCE)
        assert kind in done.stdout
        assert "\r\nfixed" in done.stdout or "\nfixed" in done.stdout
        assert "Verify return code: 0 (ok)" in done.stdout


# ---------------------------------------------------------------- stapled OCSP responses


def shown_status(gateway, authority, *options):
    """What openssl says of the certificate's status, from a handshake that asks for it."""
    command = ["openssl", "s_client", "-connect", gateway.address, "-servername", "site.test", "-CAfile", str(authority.cert_file),
               "-status", *options]
    out = subprocess.run(command, input="", capture_output=True, text=True, timeout=wait.PATIENCE, check=True).stdout
    assert "Verify return code: 0 (ok)" in out
    return out


def serial_of(certificate):
    shown = subprocess.run(["openssl", "x509", "-in", certificate.cert_file, "-noout", "-serial"], check=True, capture_output=True, text=True)
    return shown.stdout.strip().partition("=")[2]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_an_ocsp_response_is_stapled(start, authority, site, version):
    gateway = start('ocsp = "site.ocsp"', files={"site.ocsp": authority.staple(site)})
    out = shown_status(gateway, authority, version)
    assert "OCSP Response Status: successful (0x0)" in out
    assert "Cert Status: good" in out
    assert f"Serial Number: {serial_of(site)}" in out
    assert get(gateway, client_context(authority)).text() == "fixed"  # to who does not ask


def test_an_ocsp_response_is_renewed_by_a_reload(start, authority, site):
    gateway = start()
    assert "OCSP response: no response sent" in shown_status(gateway, authority)
    gateway.write("site.ocsp", authority.staple(site))
    gateway.reload(config('ocsp = "site.ocsp"'))
    assert "Cert Status: good" in shown_status(gateway, authority)


def test_each_kind_of_key_has_its_own_ocsp_response(start, authority, site):
    rsa = authority.issue("site.test", "localhost", "IP:127.0.0.1", kind=RSA)
    text = config().replace('cert = "site.pem", key = "site.key",', """certificates = {
      { cert = "site.pem", key = "site.key", ocsp = "site.ocsp" }, { cert = "rsa.pem", key = "rsa.key", ocsp = "rsa.ocsp" } }""")
    gateway = start(text=text, files={"rsa.pem": rsa.cert, "rsa.key": rsa.key, "site.ocsp": authority.staple(site),
                                      "rsa.ocsp": authority.staple(rsa)})
    for kind, certificate in (("ECDHE-ECDSA-AES128-GCM-SHA256", site), ("ECDHE-RSA-AES128-GCM-SHA256", rsa)):
        out = shown_status(gateway, authority, "-tls1_2", "-cipher", kind)
        assert f"Serial Number: {serial_of(certificate)}" in out


# ---------------------------------------------------------------- client certificates


@pytest.fixture
def member(authority):
    return authority.issue("member.test")


CLIENT_AUTH = 'client_ca = "clients.pem", client_auth = "%s"'


@pytest.mark.parametrize("auth", ["none", "optional", "require"])
def test_client_certificates_are_asked_for_as_configured(start, authority, stranger, member, auth):
    extra = "" if auth == "none" else CLIENT_AUTH % auth
    gateway = start(extra, files={"clients.pem": authority.cert})
    impostor = stranger.issue("member.test")
    let_in = {
        "with": not refuses(gateway, client_context(authority, member)),
        "without": not refuses(gateway, client_context(authority)),
        "wrong": not refuses(gateway, client_context(authority, impostor)),
    }
    assert let_in == {"with": True, "without": auth != "require", "wrong": auth == "none"}


WHO = """
    { name = "who", match = { path = "/who" }, handler = function(req)
      local tls = req.client.tls
      local peer = tls and tls.peer
      return reply(200, {
        tls = tls and { version = tls.version, cipher = tls.cipher, server_name = tls.server_name, alpn = tls.alpn },
        peer = peer and { subject = peer.subject, issuer = peer.issuer, san = peer.san, spiffe_id = peer.spiffe_id,
                          fingerprint = peer.fingerprint },
        spiffe_id = req.client.spiffe_id,
      })
    end },
"""


def config_with_who(extra="", more=""):
    return config(extra, more).replace('    { name = "all"', WHO + '    { name = "all"')


def test_scripts_see_what_was_agreed_on(start, curl, authority):
    gateway = start(text=config_with_who(more='{ address = "127.0.0.1:0" }'))
    with connect(gateway, client_context(authority, version=ssl.TLSVersion.TLSv1_2)) as client:
        cipher, version, _ = client.sock.cipher()
        seen = json.loads(client.get("/who").body)["tls"]
    assert (cipher, version) == ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2")
    assert seen == {"version": version, "cipher": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "server_name": "site.test"}
    command = [curl, "-sS", "--cacert", authority.cert_file, "--http2", f"https://{gateway.address}/who"]
    seen = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["tls"]
    assert (seen["version"], seen["alpn"], "server_name" in seen) == ("TLSv1.3", "h2", False)
    assert json.loads(gateway.get("/who", listener=1).body) == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_scripts_see_who_the_client_is_also_when_it_resumes(start, authority, version):
    gateway = start(text=config_with_who(CLIENT_AUTH % "optional"), files={"clients.pem": authority.cert})
    spiffe_id = "spiffe://td.test/orders"
    member = authority.issue(f"URI:{spiffe_id}", "orders.test", "IP:192.0.2.1", subject="orders")
    expected = {"subject": "CN=orders", "issuer": "CN=authority", "san": [spiffe_id, "orders.test", "192.0.2.1"],
                "spiffe_id": spiffe_id, "fingerprint": hashlib.sha256(member.der).hexdigest()}
    context, session = client_context(authority, member, version=version), None
    for is_resumed in (False, True):
        with connect(gateway, context, session=session) as client:
            who = json.loads(client.get("/who").body)
            session = client.sock.session
            assert (client.sock.session_reused, who["peer"], who["spiffe_id"]) == (is_resumed, expected, spiffe_id)
    assert "peer" not in json.loads(get(gateway, client_context(authority), "/who").body)


LATE = """
local perigee = require "perigee"
local seen = perigee.shared "seen"
local Late = perigee.policy { name = "late", stage = "observe", schema = {} }

function Late:on_request()
  seen:set("state", "waits")
  perigee.sleep(60)
end

function Late:on_log(req)
  seen:set("state", req.client.tls.peer.san[1])
end

return Late
"""


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
def test_scripts_see_who_the_client_was_when_it_has_gone(start, curl, authority, member, alpn):
    routes = """{ name = "late", match = { path = "/late" }, policies = { "late" }, reply = "late" },
    { name = "seen", match = { path = "/seen" }, handler = function() return reply(200, require("perigee").shared("seen"):get("state") or "") end },
    { name = "all" """
    gateway = start(text=config(CLIENT_AUTH % "optional").replace('{ name = "all"', routes),
                    files={"clients.pem": authority.cert, "policies/late/init.lua": LATE})
    context = client_context(authority)
    command = [curl, "-sS", "--cacert", authority.cert_file, "--cert", member.cert_file, "--key", member.key_file,
               "--http2" if alpn == "h2" else "--http1.1", f"https://{gateway.address}/late"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as client:
        wait.until(lambda: get(gateway, context, "/seen").text() == "waits", "the request had come")
        client.kill()
    wait.until(lambda: get(gateway, context, "/seen").text() == "member.test", "the exchange was logged")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_worth_nothing_once_others_vouch_for_clients(start, authority, stranger, member, version):
    gateway = start(CLIENT_AUTH % "require", files={"clients.pem": authority.cert})
    context = client_context(authority, member, version=version)
    session = session_of(gateway, context)
    assert resumes(gateway, context, session)
    gateway.write("clients.pem", stranger.cert)
    gateway.reload()
    assert refuses(gateway, context, session=session)
    gateway.write("clients.pem", authority.cert)
    gateway.reload()
    assert resumes(gateway, context, session)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_without_a_certificate_does_not_get_around_one(start, authority, version):
    gateway = start()
    context = client_context(authority, version=version)
    session = session_of(gateway, context)
    gateway.write("clients.pem", authority.cert)
    gateway.reload(config(CLIENT_AUTH % "optional"))
    optional = session_of(gateway, context)
    gateway.reload(config(CLIENT_AUTH % "require"))
    assert refuses(gateway, context, session=session)
    assert refuses(gateway, context, session=optional)


@pytest.mark.parametrize("sans", [
    ["URI:spiffe://td.test/a", "URI:spiffe://td.test/b"], ["URI:spiffe://td.test/*"], ["URI:spiffe://TD.test/a"], ["URI:spiffe://td.test/"],
    ["URI:spiffe://td.test/a", "URI:https://td.test/"], ["URI:spiffe://td.test/a/../b"],
])
def test_a_spiffe_id_that_breaks_the_rules_lets_nobody_in(start, authority, sans):
    gateway = start(CLIENT_AUTH % "optional", files={"clients.pem": authority.cert})
    assert not refuses(gateway, client_context(authority, authority.issue("URI:spiffe://td.test/a")))
    assert refuses(gateway, client_context(authority, authority.issue(*sans)))


# ---------------------------------------------------------------- reloads


def test_a_reload_brings_the_new_certificate_to_new_connections(start, authority, site):
    gateway = start()
    context = client_context(authority)
    renewed = authority.issue("site.test", "localhost", "IP:127.0.0.1")
    with connect(gateway, context) as kept:
        assert kept.peer == site.der
        gateway.write("site.pem", renewed.cert)
        gateway.write("site.key", renewed.key)
        assert {peer_of(gateway, context) for _ in range(4)} == {site.der}
        gateway.reload()
        assert {peer_of(gateway, context) for _ in range(16)} == {renewed.der}
        assert kept.get("/fixed").text() == "fixed"


def peer_of(gateway, context):
    with connect(gateway, context) as client:
        return client.peer


def test_a_new_certificate_is_noticed_where_files_are_watched(start, authority, site):
    gateway = start(text=config().replace("workers = 2", "workers = 1, watch = true"))
    context = client_context(authority)
    renewed = authority.issue("site.test")
    gateway.write("site.key", renewed.key)
    gateway.write("site.pem", renewed.cert)
    wait.until(lambda: peer_of(gateway, context) == renewed.der, "the new certificate was shown")


def test_a_renewal_through_the_links_of_an_acme_client_is_noticed(start, folder, authority, site):
    """certbot has links to the newest files in live/, and moves new links over them."""
    live = folder.path / "live" / "site.test"
    text = config().replace("workers = 2", "workers = 1, watch = true").replace(
        'cert = "site.pem", key = "site.key"', f'cert = "{live}/fullchain.pem", key = "{live}/privkey.pem"')

    def write(number, certificate):
        for name, content in (("fullchain", certificate.cert), ("privkey", certificate.key)):
            file = folder.write(f"archive/{name}{number}.pem", content)
            live.mkdir(parents=True, exist_ok=True)
            fresh = live / f"{name}.new"
            fresh.symlink_to(file)
            fresh.rename(live / f"{name}.pem")

    write(1, site)
    gateway = start(text=text)
    context = client_context(authority)
    assert peer_of(gateway, context) == site.der
    renewed = authority.issue("site.test")
    write(2, renewed)
    wait.until(lambda: peer_of(gateway, context) == renewed.der, "the new certificate was shown")


@pytest.fixture
def live(folder, authority):
    """A folder as other programs write them, and what is in it: lego's pair, certbot's folder, and files that are neither."""
    names = {name: authority.issue(f"{name}.test") for name in ("a", "b", "c", "later")}
    folder.write("live/a.test.crt", names["a"].cert)
    folder.write("live/a.test.key", names["a"].key)
    folder.write("live/b.test/fullchain.pem", names["b"].cert)
    folder.write("live/b.test/privkey.pem", names["b"].key)
    folder.write("live/c.pem", names["c"].cert)
    folder.write("live/c.key", names["c"].key)
    for name in ("README", "a.test.issuer.crt", "lonely.key", "later.test/fullchain.pem", ".hidden.crt", ".hidden.key"):
        folder.write(f"live/{name}", names["later"].cert if name.startswith("later") else "nothing")
    return folder, names


def in_directory(folder, before="", workers="workers = 1, watch = true"):
    tls = f'tls = {{ {before}directory = "{folder.path}/live/"'
    return config().replace('tls = { cert = "site.pem", key = "site.key"', tls).replace("workers = 2", workers)


def shown_for(gateway, authority, name):
    context = client_context(authority)
    context.check_hostname = False
    with connect(gateway, context, server_name=name) as client:
        return client.peer


def test_certificates_of_a_folder_are_shown_for_the_names_in_them(start, live, authority, site):
    folder, names = live
    gateway = start(text=in_directory(folder))
    assert {name: shown_for(gateway, authority, f"{name}.test") for name in ("a", "b", "c", "later")} == {
        "a": names["a"].der, "b": names["b"].der, "c": names["c"].der, "later": names["a"].der}
    gateway.reload(in_directory(folder, 'cert = "site.pem", key = "site.key", '))
    wait.until(lambda: shown_for(gateway, authority, "later.test") == site.der, "the one that is named is shown to all others")
    assert shown_for(gateway, authority, "b.test") == names["b"].der


def test_a_new_certificate_in_a_folder_comes_by_itself_and_with_a_reload(start, live, authority):
    folder, names = live
    gateway = start(text=in_directory(folder))
    folder.write("live/later.test/privkey.pem", names["later"].key)
    wait.until(lambda: shown_for(gateway, authority, "later.test") == names["later"].der, "the completed one was shown")
    fresh = authority.issue("fresh.test")
    folder.write("live/fresh.key", fresh.key)
    folder.write("live/fresh.crt", fresh.cert)
    wait.until(lambda: shown_for(gateway, authority, "fresh.test") == fresh.der, "the new one was shown")
    (folder.path / "live/fresh.crt").unlink()
    gateway.reload()
    wait.until(lambda: shown_for(gateway, authority, "fresh.test") == names["a"].der, "it has gone")


def test_a_bad_pair_in_a_folder_changes_nothing(start, live, authority, stranger):
    folder, names = live
    gateway = start(text=in_directory(folder, workers="workers = 1"))
    folder.write("live/b.test/privkey.pem", stranger.key)
    result = gateway.command("reload")
    assert result.returncode == 1
    assert f"tls.directory: '{folder.path}/live/b.test/fullchain.pem': the key does not fit the certificate" in result.stderr
    assert shown_for(gateway, authority, "b.test") == names["b"].der
    assert stranger.key.split("\n")[1] not in gateway.ask("GET", "/generations").text() + result.stderr


def test_the_challenge_of_an_acme_client_passes(start, origin):
    token = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
    origin.answer = lambda wire, request: wire.respond(200, [("Content-Type", "text/plain")], f"{request.target.rpartition('/')[2]}.key".encode())
    gateway = start(text=config(more='{ address = "127.0.0.1:0" }').replace(
        '{ name = "all", match = {}, upstream = "origin" }', """{ name = "acme", match = { path = "/.well-known/acme-challenge/*" }, upstream = "origin" },
    { name = "rest", match = { path = "/*" }, redirect = { location = "https://site.test/", status = 301 } }"""))
    response = gateway.get(f"/.well-known/acme-challenge/{token}", listener=1)
    assert (response.status, response.text()) == (200, f"{token}.key")
    assert gateway.get("/.well-known/other", listener=1).status == 301


def test_a_certificate_that_cannot_be_used_changes_nothing(start, authority, site, stranger):
    gateway = start()
    gateway.write("site.key", stranger.key)
    result = gateway.command("reload")
    assert result.returncode == 1
    assert "gateway.lua:6: listeners[1].tls: the key does not fit the certificate" in result.stderr
    assert peer_of(gateway, client_context(authority)) == site.der
    assert gateway.ask_json("/status")["generation"] == 1


def test_a_rollback_shows_the_old_certificate_again(start, authority, site):
    gateway = start()
    renewed = authority.issue("site.test")
    gateway.write("site.pem", renewed.cert)
    gateway.write("site.key", renewed.key)
    gateway.reload()
    assert gateway.command("rollback").returncode == 0
    assert {peer_of(gateway, client_context(authority)) for _ in range(8)} == {site.der}


def test_tls_comes_and_goes_with_reloads(start, authority):
    gateway = start()
    plain = config().replace('tls = { cert = "site.pem", key = "site.key",  }', "")
    assert "tls" not in plain
    gateway.reload(plain)
    assert gateway.get("/scheme").text() == "http"
    gateway.reload(config())
    assert get(gateway, client_context(authority), "/scheme").text() == "https"


def test_keys_are_never_shown(start, authority, site):
    gateway = start()
    renewed = authority.issue("site.test")
    gateway.write("site.pem", renewed.cert)
    gateway.write("site.key", renewed.key)
    gateway.reload()
    diff = gateway.ask("GET", "/generations/diff?generation=2").text()
    assert "Secret file site.key differs" in diff
    for key in (site.key, renewed.key):
        assert not any(line in diff for line in key.split("\n")[1:-2])


# ---------------------------------------------------------------- files that are wrong


BAD_LISTENER = """return {
  listeners = {
    {
      address = "127.0.0.1:0",
      tls = {
        SETTINGS
      },
    },
  },
  routes = { { name = "a", match = {}, reply = "a" } },
}
"""


def check(folder, name="gateway.lua"):
    result = run("check", folder.path / name)
    assert "PRIVATE" not in result.stderr + result.stdout
    return result.returncode, result.stderr.replace(f"{folder.path}/", "").strip()


@pytest.fixture
def bench(folder, site, authority):
    """A folder with good and bad files."""
    encrypted = subprocess.run(["openssl", "pkey", "-in", site.key_file, "-aes256", "-passout", "pass:x"], check=True, capture_output=True)
    for name, text in {"site.pem": site.cert, "site.key": site.key, "empty.pem": "", "text.pem": "no certificate\n",
                       "locked.key": encrypted.stdout.decode(), "ca.pem": authority.cert, "ca.key": authority.key,
                       "rsa.key": authority.issue("site.test", kind=RSA).key, "other.ocsp": authority.staple(authority),
                       "cut.pem": site.cert + authority.cert[:-60], "empty/README": "x", "pairs/a.crt": site.cert, "pairs/a.key": authority.key,
                       "texts/a/fullchain.pem": "no certificate", "texts/a/privkey.pem": site.key, "blank/a.crt": site.cert, "blank/a.key": "",
                       "fine/a.pem": site.cert, "fine/a.key": site.key}.items():
        folder.write(name, text)
    return folder


@pytest.mark.parametrize("settings, path, message", [
    ('cert = "gone.pem", key = "site.key"', "tls.cert", "the file 'gone.pem' does not exist"),
    ('cert = "site.pem", key = "gone.key"', "tls.key", "the file 'gone.key' does not exist"),
    ('cert = "site.pem", key = "/gone.key"', "tls.key", "the file '/gone.key' does not exist"),
    ('cert = "empty.pem", key = "site.key"', "tls.cert", "the file 'empty.pem' is empty"),
    ('cert = "text.pem", key = "site.key"', "tls", "the certificate cannot be read"),
    ('cert = "cut.pem", key = "site.key"', "tls", "the certificate cannot be used"),
    ('cert = "site.pem", key = "text.pem"', "tls", "the key cannot be read"),
    ('cert = "site.pem", key = "locked.key"', "tls", "the key cannot be read"),
    ('cert = "site.pem", key = "ca.key"', "tls", "the key does not fit the certificate"),
    ('cert = "site.pem", key = "rsa.key"', "tls", "the key does not fit the certificate"),
    ('cert = "site.pem", key = "site.key", ocsp = "text.pem"', "tls", "the OCSP response is not a successful one in DER form"),
    ('cert = "site.pem", key = "site.key", ocsp = "other.ocsp"', "tls", "the OCSP response is about another certificate"),
    ('cert = "site.pem", key = "site.key", client_auth = "require", client_ca = "gone.pem"', "tls.client_ca", "does not exist"),
    ('cert = "site.pem", key = "site.key", client_auth = "require", client_ca = "text.pem"', "tls", "client_ca has no certificate in it"),
    ('certificates = { { cert = "site.pem", key = "site.key" }, { cert = "site.pem", key = "ca.key" } }', "tls.certificates[2]",
     "the key does not fit the certificate"),
    ('certificates = { { cert = "site.pem", key = "site.key" }, { cert = "gone.pem", key = "ca.key" } }', "tls.certificates[2].cert",
     "the file 'gone.pem' does not exist"),
    ('directory = "gone"', "tls.directory", "'gone': there is no such folder"),
    ('directory = "site.pem"', "tls.directory", "'site.pem': there is no such folder"),
    ('directory = "empty"', "tls.directory", "'empty': there is no certificate with its key in the folder"),
    ('directory = "../x"', "tls.directory", "'../x': the folder cannot be read"),
    ('directory = "pairs"', "tls.directory", "'pairs/a.crt': the key does not fit the certificate"),
    ('directory = "texts"', "tls.directory", "'texts/a/fullchain.pem': the certificate cannot be read"),
    ('directory = "blank"', "tls.directory", "'blank/a.key': the file is empty"),
    ('certificates = { { cert = "site.pem", key = "ca.key" } }, directory = "fine"', "tls", "the key does not fit the certificate"),
    ('cert = "../site.pem", key = "site.key"', "tls.cert", "the file '../site.pem' cannot be read"),
])
def test_a_bad_file_of_a_listener_is_an_error_with_its_place(bench, settings, path, message):
    bench.write("gateway.lua", BAD_LISTENER.replace("SETTINGS", settings))
    status, text = check(bench)
    assert status == 1
    line = 6 if "." in path else 5
    assert text.startswith(f"gateway.lua:{line}: listeners[1].{path}: "), text
    assert message in text


@pytest.mark.parametrize("settings, path, message", [
    ('ca = "gone.pem"', "tls.ca", "the file 'gone.pem' does not exist"),
    ('ca = "text.pem"', "tls", "ca has no certificate in it"),
    ('cert = "site.pem", key = "ca.key"', "tls", "the key does not fit the certificate"),
])
def test_a_bad_file_of_an_upstream_is_an_error_with_its_place(bench, settings, path, message):
    bench.write("gateway.lua", f"""return {{
  upstreams = {{ u = {{ endpoints = {{ "127.0.0.1:1" }},
    tls = {{ {settings} }} }} }},
  routes = {{ {{ name = "a", match = {{}}, upstream = "u" }} }},
}}
""")
    status, text = check(bench)
    assert status == 1
    assert text.startswith(f"gateway.lua:3: upstreams.u.{path}: "), text
    assert message in text


def test_a_bad_file_is_found_in_json_too(bench):
    tls = {"cert": "gone.pem", "key": "site.key"}
    bench.write("gateway.json", json.dumps({"listeners": [{"address": "127.0.0.1:0", "tls": tls}], "routes": []}, indent=2))
    status, text = check(bench, "gateway.json")
    assert status == 1
    assert text.startswith("gateway.json:6: listeners[1].tls.cert: "), text


# ---------------------------------------------------------------- the way to the upstreams


TO_TLS = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { secure = { endpoints = { "$secure" }, tls = { TLS }, SETTINGS } },
  routes = { { name = "all", match = {}, upstream = "secure" } },
}
"""


@pytest.fixture
def secure(authority, site):
    with TlsUpstream(site) as upstream:
        yield upstream
    assert upstream.failures == []


@pytest.fixture
def towards(launch, authority, stranger, member):
    """Starts a gateway in front of a TLS upstream: towards(upstream, settings of its tls)."""
    files = {"ca.pem": authority.cert, "stranger.pem": stranger.cert, "member.pem": member.cert, "member.key": member.key}

    def towards(upstream, tls='ca = "ca.pem"', settings=""):
        text = TO_TLS.replace("TLS", tls).replace("SETTINGS", settings)
        return launch(text, files=files, values={"secure": upstream.address})

    return towards


def check_refused(response, upstream):
    check_problem(response, 503, "tls_failed")
    assert upstream.heads == []


def test_an_upstream_that_verifies_is_spoken_with(secure, towards):
    seen = Seen(towards(secure).request("POST", "/echo", body=b"y" * MIB))
    assert (seen.length, seen.method) == (MIB, "POST")


def test_a_large_response_comes_through_tls(secure, towards):
    secure.answer = lambda wire, request: wire.respond(200, body=b"z" * MIB)
    assert towards(secure).get("/").body == b"z" * MIB


def test_upstreams_are_verified_by_default(secure, towards):
    check_refused(towards(secure, "").get("/"), secure)


def test_an_upstream_of_another_authority_is_refused(secure, towards):
    check_refused(towards(secure, 'ca = "stranger.pem"').get("/"), secure)


def test_an_upstream_with_another_name_is_refused(authority, towards):
    with TlsUpstream(authority.issue("other.test")) as upstream:
        check_refused(towards(upstream).get("/"), upstream)
        check_refused(towards(upstream, 'ca = "ca.pem", sni = "site.test"').get("/"), upstream)
        assert Seen(towards(upstream, 'ca = "ca.pem", sni = "other.test"').get("/"))
        assert upstream.handshakes[-1][0] == "other.test"


def test_verification_can_be_switched_off(stranger, towards):
    with TlsUpstream(stranger.issue("other.test")) as upstream:
        assert Seen(towards(upstream, "verify = false").get("/"))


@pytest.mark.parametrize("pinned, is_accepted", [
    (["spiffe://td.test/orders"], True), (["spiffe://td.test/users"], False), (["a.test"], True), (["b.test"], False),
    (["b.test", "spiffe://td.test/orders"], True), (["spiffe://td.test/order"], False), (["127.0.0.1"], False),
])
def test_pinned_names_decide(authority, towards, pinned, is_accepted):
    names = ", ".join(f'"{name}"' for name in pinned)
    with TlsUpstream(authority.issue("URI:spiffe://td.test/orders", "a.test")) as upstream:
        response = towards(upstream, f'ca = "ca.pem", san = {{ {names} }}').get("/")
        if is_accepted:
            assert Seen(response)
        else:
            check_refused(response, upstream)


def test_a_pinned_name_does_not_stand_for_the_authority(stranger, towards):
    with TlsUpstream(stranger.issue("a.test")) as upstream:
        check_refused(towards(upstream, 'ca = "ca.pem", san = { "a.test" }').get("/"), upstream)


def test_the_client_certificate_is_shown(authority, site, member, towards):
    with TlsUpstream(site, authority=authority) as upstream:
        assert Seen(towards(upstream, 'ca = "ca.pem", cert = "member.pem", key = "member.key"').get("/"))
        assert upstream.handshakes[-1][1] == member.der


def test_an_upstream_that_wants_a_certificate_gets_no_request_without(authority, site, towards):
    with TlsUpstream(site, authority=authority) as upstream:
        assert towards(upstream).get("/").status in (502, 503)
        assert upstream.heads == []


def test_sessions_with_upstreams_are_resumed(secure, towards):
    secure.answer = lambda wire, request: (wire.respond(200, [("Connection", "close")], b"bye"), wire.close())
    gateway = towards(secure)
    for _ in range(3):
        assert gateway.get("/").text() == "bye"
    assert [resumed for _, _, resumed in secure.handshakes] == [False, True, True]


def test_connections_with_upstreams_are_kept(secure, towards):
    gateway = towards(secure)
    assert {Seen(gateway.get("/")).connection for _ in range(5)} == {0}


class SaysPlainText(Upstream):
    def serve(self, connection):
        connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()
        connection.is_closed.set()


def test_an_upstream_that_speaks_no_tls_is_an_error(towards):
    with SaysPlainText() as upstream:
        check_refused(towards(upstream).get("/"), upstream)


@pytest.mark.parametrize("setting, failures, state", [
    ("outlier = {}", 5, "ejected"), ('accrual = { backoff = { min = "1h", max = "1h" } }', 7, "shut"),
], ids=["outlier", "accrual"])
def test_handshakes_that_fail_count_as_connections_that_fail(secure, stranger, towards, setting, failures, state):
    with TlsUpstream(stranger.issue("IP:127.0.0.1")) as other:
        class Both:
            address = f'{secure.address}", "{other.address}'

        gateway = towards(Both, settings=setting)
        statuses = [gateway.get("/").status for _ in range(40)]
        assert (statuses.count(503), statuses.count(200)) == (failures, 40 - failures)
        upstream, = gateway.ask_json("/upstreams")
        states = {endpoint["address"]: endpoint["state"] for endpoint in upstream["endpoints"]}
        assert states == {secure.address: "healthy", other.address: state}
        assert other.heads == []


def test_an_upstream_that_says_nothing_is_given_up(towards):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        class Address:
            address = "127.0.0.1:%d" % silent.getsockname()[1]

        response = towards(Address, settings='timeouts = { connect = "200ms" }').get("/")
    assert response.status in (503, 504), response


def test_trust_in_upstreams_changes_with_a_reload(secure, towards):
    gateway = towards(secure)
    assert Seen(gateway.get("/"))
    gateway.reload(TO_TLS.replace("TLS", 'ca = "stranger.pem"').replace("SETTINGS", ""))
    secure.heads.clear()
    check_refused(gateway.get("/"), secure)


def test_what_upstreams_trust_in_changes_with_its_file(secure, towards, stranger):
    gateway = towards(secure)
    assert Seen(gateway.get("/"))
    gateway.write("ca.pem", stranger.cert)
    gateway.reload()
    secure.heads.clear()
    check_refused(gateway.get("/"), secure)


def test_a_fetch_uses_the_upstreams_tls(secure, launch, authority):
    text = TO_TLS.replace("TLS", 'ca = "ca.pem"').replace("SETTINGS", "").replace(
        'upstream = "secure"', 'handler = function() return reply(200, require("perigee").http.fetch("http://secure/x").body) end')
    gateway = launch(text, files={"ca.pem": authority.cert}, values={"secure": secure.address})
    assert json.loads(gateway.get("/").body)["target"] == "/x"
