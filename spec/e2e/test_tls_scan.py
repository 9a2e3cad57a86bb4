# SPDX-License-Identifier: MIT
"""What testssl.sh finds on a TLS listener that has an ECDSA and an RSA certificate and no other settings: nothing weak."""

import json
import subprocess

from support import program, wait
from support.gateway import Gateway
from support.tls import EC, RSA

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = {
    { address = "127.0.0.1:0", tls = { certificates = { { cert = "ec.pem", key = "ec.key" }, { cert = "rsa.pem", key = "rsa.key" } } } },
  },
  routes = { { match = { path = "/*" }, reply = "hello" } },
}
"""

# Protocols, groups of ciphers, certificates and defaults, order of ciphers, forward secrecy, vulnerabilities, RC4.
CHECKS = ("-p", "-s", "-S", "-P", "-f", "-U", "-4")

# What is found, and why it is not about the listener.
EXPLAINED = {
    "engine_problem": "the openssl that scans has no GOST",
    "sessionresumption_ticket": "testssl.sh 3.0 cannot ask for it with OpenSSL 3; test_tls.py resumes by ticket",
    "cert_expirationStatus": "certificates of the tests are made for two days",
    "cert_notAfter": "certificates of the tests are made for two days",
    "cert_revocation": "the authority of the tests has neither CRL nor OCSP",
}

# Without these there was no scan.
SEEN = {"SSLv3": "OK", "TLS1_2": "OK", "TLS1_3": "OK", "ALPN_HTTP2": "OK", "cert_numbers": "INFO", "PFS": "OK", "cipher_order": "OK", "heartbleed": "OK",
        "secure_client_renego": "OK", "ROBOT": "OK", "LUCKY13": "OK", "RC4": "OK"}


def scan(gateway, authority):
    """{id: (severity, finding)}; of several certificates each has its own id."""
    path = gateway.folder.path / "scan.json"
    seconds = str(int(wait.PATIENCE))
    command = [program.need("testssl"), "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--connect-timeout", seconds, "--openssl-timeout", seconds,
               "--add-ca", authority.cert_file, "--jsonfile", path, *CHECKS, gateway.address]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30 * wait.PATIENCE)
    assert path.exists(), done.stdout + done.stderr
    return {entry["id"]: (entry["severity"], entry["finding"]) for entry in json.loads(path.read_text())}


def test_testssl_finds_nothing_weak(authority, launch):
    files = {}
    for name, kind in (("ec", EC), ("rsa", RSA)):
        certificate = authority.issue("localhost", "IP:127.0.0.1", kind=kind)
        files |= {f"{name}.pem": certificate.cert, f"{name}.key": certificate.key}
    findings = scan(launch(CONFIG, files=files), authority)
    weak = {name: finding for name, finding in findings.items()
            if finding[0] not in ("OK", "INFO", "DEBUG") and name.partition(" ")[0] not in EXPLAINED}
    assert weak == {}
    assert {name: findings[name][0] for name in SEEN} == SEEN
    assert findings["cert_numbers"][1] == "2"
