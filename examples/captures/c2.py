#!/usr/bin/env python3
"""The malicious side: a stand-in for a command server and for its implant.

It harms nothing: it sends random bytes over TLS in the rhythm that malware
has.  Only the shape of the traffic is like malware.

    c2.py serve   ADDRESS:PORT CERT KEY {1.2|1.3} [CIPHERS]
    c2.py implant ADDRESS:PORT {1.2|1.3} BEATS INTERVAL [--seed S]
                  [--requests N] [--size BYTES]
                  [--download-at BEAT --download-size BYTES]
                  [--upload-at BEAT --upload-size BYTES]

For TLS 1.2 the implant is GnuTLS, told to offer what Windows 7 offers.  For
TLS 1.3 it is Python's own TLS (OpenSSL) as it comes.
"""
import argparse
import ctypes
import io
import os
import random
import socket
import ssl
import struct
import threading
import time

# What the TLS of Windows 7 (with RC4 switched off) offers, in its order, as far
# as GnuTLS has it: AES-CBC and 3DES; ECDHE-RSA, RSA, ECDHE-ECDSA and DHE-DSS;
# two groups; SHA-1 signatures and DSA; none of the later extensions.
WINDOWS_7 = (
    "NONE:+VERS-TLS1.2:+VERS-TLS1.1:+VERS-TLS1.0:+COMP-NULL"
    ":+AES-256-CBC:+AES-128-CBC:+3DES-CBC:+SHA384:+SHA256:+SHA1"
    ":+ECDHE-RSA:+RSA:+ECDHE-ECDSA:+DHE-DSS"
    ":+SIGN-RSA-SHA256:+SIGN-RSA-SHA384:+SIGN-RSA-SHA1"
    ":+SIGN-ECDSA-SHA256:+SIGN-ECDSA-SHA384:+SIGN-ECDSA-SHA1:+SIGN-DSA-SHA1"
    ":+CURVE-SECP256R1:+CURVE-SECP384R1"
    ":%NO_TICKETS:%NO_ETM:%NO_SESSION_HASH:%COMPAT")


class OldClient(io.RawIOBase):
    """A TLS client connection by the system's GnuTLS library.  It checks no certificate."""

    lib = credentials = None

    @classmethod
    def load(cls):
        cls.lib = ctypes.CDLL("libgnutls.so.30")
        for name in ("gnutls_record_send", "gnutls_record_recv"):
            getattr(cls.lib, name).restype = ctypes.c_ssize_t
        cls.lib.gnutls_strerror.restype = ctypes.c_char_p
        cls.lib.gnutls_transport_set_int2.restype = cls.lib.gnutls_deinit.restype = None
        cls.credentials = ctypes.c_void_p()
        cls.check(cls.lib.gnutls_certificate_allocate_credentials(ctypes.byref(cls.credentials)))

    @classmethod
    def check(cls, result):
        if result < 0:
            raise OSError(result, cls.lib.gnutls_strerror(int(result)).decode())
        return result

    def __init__(self, raw):
        super().__init__()
        if self.lib is None:
            self.load()
        raw.settimeout(None)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            raw.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 20, 0))
        self.session = ctypes.c_void_p()
        self.check(self.lib.gnutls_init(ctypes.byref(self.session), 2))  # 2: a client
        self.check(self.lib.gnutls_priority_set_direct(self.session, WINDOWS_7.encode(), None))
        self.check(self.lib.gnutls_credentials_set(self.session, 1, self.credentials))
        self.lib.gnutls_transport_set_int2(self.session, raw.fileno(), raw.fileno())
        self.check(self.lib.gnutls_handshake(self.session))

    def readable(self):
        return True

    def readinto(self, buffer):
        part = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        return self.check(self.lib.gnutls_record_recv(self.session, part, ctypes.c_size_t(len(buffer))))

    def makefile(self, _mode):
        return io.BufferedReader(self)

    def sendall(self, data):
        while data:
            data = data[self.check(self.lib.gnutls_record_send(self.session, data, ctypes.c_size_t(len(data)))):]

    def unwrap(self):
        self.check(self.lib.gnutls_bye(self.session, 0))  # 0: wait for the other side

    def close(self):
        if not self.closed:
            self.lib.gnutls_deinit(self.session)
        super().close()


def read_message(f):
    """One HTTP message: (first line, body).  The first line is empty at the end."""
    first, length = f.readline(), 0
    while True:
        line = f.readline()
        if line in (b"\r\n", b""):
            break
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return first, f.read(length)


def split(where):
    address, port = where.rsplit(":", 1)
    return address, int(port)


def answer(ctx, raw):
    raw.settimeout(20)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with ctx.wrap_socket(raw, server_side=True) as s, s.makefile("rb") as f:
            while True:
                first, _ = read_message(f)
                if not first:
                    break
                time.sleep(random.uniform(0.05, 0.25))  # the server has other things to do, too
                if first.startswith(b"GET"):
                    body = os.urandom(int(first.split()[1][1:]))
                else:
                    body = os.urandom(random.randint(60, 320))
                s.sendall(b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            s.unwrap()
    except (OSError, ValueError, IndexError):
        pass
    finally:
        raw.close()


def serve(a):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if a.version == "1.2":
        ctx.minimum_version, ctx.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2
    else:
        ctx.minimum_version = ssl.TLSVersion.TLSv1_3
    ctx.set_ciphers(a.ciphers)
    ctx.load_cert_chain(a.cert, a.key)
    listener = socket.create_server(split(a.where), backlog=16)
    while True:
        raw, _ = listener.accept()
        threading.Thread(target=answer, args=(ctx, raw), daemon=True).start()


def talk(connect, where, requests, reset):
    with socket.create_connection(where, timeout=20) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connect(raw) as s, s.makefile("rb") as f:
            for request in requests:
                s.sendall(request)
                read_message(f)
            time.sleep(random.uniform(0.05, 0.2))
            if reset:  # closed without a farewell: the peer gets RST
                raw = s if isinstance(s, socket.socket) else raw
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            try:
                s.unwrap()
            except OSError:
                pass


def implant(a):
    r = random.Random(a.seed)
    where = split(a.where)
    connect = OldClient
    if a.version == "1.3":  # the library's own hello: 1.2 and 1.3, the server takes 1.3
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE
        connect = ctx.wrap_socket  # no name: no SNI
    ident = "%016X" % r.getrandbits(64)

    def request(what, body=None, total=0):
        head = "%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)\r\n" % (what, a.where)
        if body is None:
            body = max(0, total - len(head) - 23)
        return ("%sContent-Length: %4d\r\n\r\n" % (head, body)).encode() + os.urandom(body)

    for beat in range(1, a.beats + 1):
        start = time.monotonic()
        flows = [[request("POST /%s/%d/" % (ident, beat), total=a.size + r.randint(-9, 9)) for _ in range(a.requests)]]
        if beat == a.download_at:
            flows.append([request("GET /%d" % a.download_size, 0)])
        if beat == a.upload_at:
            flows.append([request("POST /%s/u/" % ident, a.upload_size)])
        for requests in flows:
            try:
                talk(connect, where, requests, r.random() < 0.5)
            except OSError as e:
                print("beat %d: %s" % (beat, e), flush=True)
        pause = a.interval * r.uniform(0.75, 1.25)  # some jitter
        if beat < a.beats:
            time.sleep(max(0.0, pause - (time.monotonic() - start)))


def main():
    p = argparse.ArgumentParser()
    sub = p.add_subparsers(dest="mode", required=True)
    s = sub.add_parser("serve")
    for name in ("where", "cert", "key", "version"):
        s.add_argument(name)
    s.add_argument("ciphers", nargs="?", default="ALL:@SECLEVEL=0")
    s.set_defaults(run=serve)
    i = sub.add_parser("implant")
    i.add_argument("where")
    i.add_argument("version")
    i.add_argument("beats", type=int)
    i.add_argument("interval", type=float)
    i.add_argument("--seed", default="1")
    i.add_argument("--requests", type=int, default=1, help="requests on one connection")
    i.add_argument("--size", type=int, default=770, help="bytes of one request, about")
    for name in ("download-at", "download-size", "upload-at", "upload-size"):
        i.add_argument("--" + name, type=int, default=0)
    i.set_defaults(run=implant)
    a = p.parse_args()
    a.run(a)


main()
