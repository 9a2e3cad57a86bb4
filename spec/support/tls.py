# SPDX-License-Identifier: MIT
"""Certificates made with openssl, clients that speak TLS, and upstreams that do."""

import pathlib
import shutil
import ssl
import subprocess
import tempfile

from . import client, upstream

EC = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("rsa:2048",)


class Certificate:
    """A certificate with its key, as PEM text and as files."""

    def __init__(self, path):
        self.cert_file = path.with_suffix(".pem")
        self.key_file = path.with_suffix(".key")
        self.cert = self.cert_file.read_text()
        self.key = self.key_file.read_text()

    @property
    def der(self):
        return ssl.PEM_cert_to_DER_cert(self.cert)


class Authority(Certificate):
    """Somebody who vouches for others; its files are gone after `remove`."""

    def __init__(self, name="authority"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="perigee-ca-", dir="/tmp"))
        self.count = 0
        self.make(self.folder / "ca", name, ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"), EC)
        super().__init__(self.folder / "ca")

    @staticmethod
    def make(path, name, extensions, kind, *options):
        arguments = ["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-keyout", path.with_suffix(".key"), "-out",
                     path.with_suffix(".pem"), "-days", "2", "-subj", f"/CN={name}", *options]
        for extension in extensions:
            arguments += ["-addext", extension]
        subprocess.run(arguments, check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def issue(self, *names, kind=EC, subject=None):
        """A certificate for names as openssl writes them ("DNS:a.test"); those without a kind are DNS names."""
        self.count += 1
        path = self.folder / str(self.count)
        sans = ",".join(name if ":" in name else f"DNS:{name}" for name in names)
        extensions = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature"]
        extensions += [f"subjectAltName={sans}"] if sans else []
        self.make(path, subject or f"leaf {self.count}", extensions, kind, "-CA", str(self.cert_file), "-CAkey", str(self.key_file))
        return Certificate(path)

    def staple(self, certificate, seconds=3600):
        """An OCSP response, DER, as openssl's responder makes it: the certificate is good, for so many seconds from now."""
        shown = ["openssl", "x509", "-in", str(certificate.cert_file), "-noout", "-serial"]
        serial = subprocess.run(shown, check=True, capture_output=True, text=True).stdout.strip().partition("=")[2]
        index, request, response = (self.folder / name for name in ("index.txt", "request.der", "response.der"))
        index.write_text(f"V\t491231235959Z\t\t{serial}\tunknown\t/CN=leaf\n")
        ca, key = str(self.cert_file), str(self.key_file)
        for arguments in (["-issuer", ca, "-cert", str(certificate.cert_file), "-reqout", str(request)],
                          ["-index", str(index), "-CA", ca, "-rsigner", ca, "-rkey", key, "-reqin", str(request),
                           "-respout", str(response), "-nmin", str(max(seconds // 60, 1))]):
            subprocess.run(["openssl", "ocsp", *arguments], check=True, capture_output=True)
        return response.read_bytes()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def client_context(authority, certificate=None, alpn=None, version=None, ciphers=None):
    """What a client trusts and shows; `version` is the only one it speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.cert)
    if certificate:
        context.load_cert_chain(certificate.cert_file, certificate.key_file)
    if alpn:
        context.set_alpn_protocols(alpn)
    if ciphers:
        context.set_ciphers(ciphers)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class TlsClient(client.Client):
    """A connection to a TLS listener, after the handshake. Raises ssl.SSLError or OSError when that fails."""

    def __init__(self, address, context, server_name="site.test", session=None):
        super().__init__(address)
        plain = self.sock
        try:
            self.sock = context.wrap_socket(plain, server_hostname=server_name, session=session)
        except BaseException:
            plain.close()
            raise

    @property
    def peer(self):
        """The server's certificate, DER."""
        return self.sock.getpeercert(binary_form=True)


class TlsUpstream(upstream.Upstream):
    """An upstream behind TLS. What its handshakes brought is in `handshakes`: (SNI, peer certificate DER, resumed)."""

    def __init__(self, certificate, authority=None, alpn=None, **options):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.cert_file, certificate.key_file)
        self.context.sni_callback = self.note_name
        if authority:
            self.context.load_verify_locations(cadata=authority.cert)
            self.context.verify_mode = ssl.CERT_REQUIRED
        if alpn:
            self.context.set_alpn_protocols(alpn)
        self.handshakes = []
        self.names = {}
        super().__init__(**options)

    def note_name(self, sock, name, _):
        self.names[sock] = name

    def serve(self, connection):
        try:
            connection.sock = self.context.wrap_socket(connection.sock, server_side=True)
        except OSError:
            connection.close()
            connection.is_closed.set()
            return
        sock = connection.sock
        self.handshakes.append((self.names.pop(sock, None), sock.getpeercert(binary_form=True), sock.session_reused))
        super().serve(connection)
