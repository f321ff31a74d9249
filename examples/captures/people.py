#!/usr/bin/env python3
"""The benign side: a person at a workstation, and machines that ask by the clock.

    people.py office CA SEED FLOWS     ordinary browsing, at least FLOWS TLS flows
    people.py admin                    a person in the pages of a router and a NAS
    people.py poll-curl CA URL BEATS INTERVAL
    people.py poll-python CA URL BEATS INTERVAL
"""
import http.client
import random
import socket
import ssl
import subprocess
import sys
import time
from urllib.parse import urlsplit

NEWS, CDN, MAIL = "www.northfield-news.example", "cdn.pebble-static.example", "mail.brightpost.example"
INTRANET, API = "intranet.meadow-office.test", "api.ledgerly.example"
FILES, WEATHER = "files.harbour-docs.example", "weather.skylark.example"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
ROUTER, NAS = "192.168.56.1", "192.168.56.20"


def curl(ca, urls, *options):
    command = ["curl", "-sS", "--max-time", "60", "-A", BROWSER, *options]
    if ca:
        command += ["--cacert", ca]
    for url in urls:
        command += ["-o", "/dev/null", url]
    subprocess.run(command, check=False, timeout=120)


def s_client(ca, host, paths, r, *options):
    """openssl s_client as a browser by hand: several requests on one connection."""
    p = subprocess.Popen(["openssl", "s_client", "-quiet", "-connect", host + ":443",
                          "-servername", host, "-CAfile", ca, *options],
                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    for n, path in enumerate(paths):
        close = "close" if n == len(paths) - 1 else "keep-alive"
        p.stdin.write(("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: %s\r\n\r\n"
                       % (path, host, close)).encode())
        p.stdin.flush()
        time.sleep(r.uniform(1.5, 6))
    p.stdin.close()
    try:
        p.wait(10)
    except subprocess.TimeoutExpired:
        p.kill()


def python_client(ca, host, requests, r, newest=None):
    """Python's own HTTPS client: one connection, kept alive, human pauses."""
    ctx = ssl.create_default_context(cafile=ca)
    if newest:
        ctx.maximum_version = newest
    c = http.client.HTTPSConnection(host, timeout=20, context=ctx)
    for n, (method, path, size) in enumerate(requests):
        if n:
            time.sleep(r.uniform(2, 9))
        c.request(method, path, body=b"x" * size if size else None)
        c.getresponse().read()
    c.close()


def office(ca, seed, flows):
    r = random.Random(seed)
    tls12 = ssl.TLSVersion.TLSv1_2

    def page(n):
        return "/page%d.html" % n

    # Each visit: (TLS flows it makes, what to do).  A page brings its parts from the CDN.
    visits = [
        (2, lambda: (curl(ca, ["https://" + NEWS + "/"], "--http2"),
                     curl(ca, ["https://%s/part%d.css" % (CDN, n) for n in (1, 2, 3)], "--http2", "-Z"))),
        (1, lambda: curl(ca, ["https://" + MAIL + page(n) for n in (1, 2, 3)], "--http2", "--rate", "14/m")),
        (1, lambda: curl(ca, ["https://" + INTRANET + page(n) for n in (1, 2, 4)], "--http1.1", "--rate", "11/m")),
        (1, lambda: python_client(ca, API, [("GET", page(1), 0), ("POST", "/api", 420), ("GET", page(2), 0)], r)),
        (0, lambda: curl(None, ["http://" + WEATHER + page(1)])),
        (1, lambda: curl(ca, ["https://" + WEATHER + page(2)], "--http1.1")),
        (1, lambda: s_client(ca, FILES, [page(1), page(2)], r, "-alpn", "http/1.1")),
        (2, lambda: (curl(ca, ["https://" + NEWS + page(r.randint(1, 4))], "--http2"),
                     curl(ca, ["https://%s/part4.css" % CDN], "--http2", "--tls-max", "1.2"))),
        (1, lambda: python_client(ca, MAIL, [("GET", page(4), 0), ("POST", "/api", 2600)], r, tls12)),
        (1, lambda: curl(ca, ["https://" + FILES + (page(4) if turn > 14 else "/report.html")], "--http1.1")),
        (0, lambda: subprocess.run(["ping", "-n", "-c", "3", NEWS], check=False, timeout=20,
                                   stdout=subprocess.DEVNULL)),
        (1, lambda: s_client(ca, INTRANET, [page(3)], r)),
        (1, lambda: curl(ca, ["https://" + API + page(3), "https://" + API + page(4)],
                         "--http2", "--tls-max", "1.2", "--rate", "20/m")),
        (1, lambda: curl(ca, ["https://%s/part5.css" % CDN, "https://%s/part1.css" % CDN], "--http1.1")),
        (1, lambda: s_client(ca, WEATHER, [page(3)], r, "-tls1_2")),
    ]
    done, turn = 0, 0
    while done < flows and turn < 100:
        n, visit = visits[turn % len(visits)]
        try:
            visit()
        except (OSError, subprocess.TimeoutExpired, http.client.HTTPException) as e:
            print("visit %d: %s" % (turn, e), flush=True)
        done, turn = done + n, turn + 1
        time.sleep(r.uniform(1, 7))


def admin():
    r = random.Random("admin")
    # The router speaks TLS 1.2 only, the NAS TLS 1.3; both are reached by address.
    for host, pages in ((ROUTER, ["/", "/page1.html", "/page2.html"]), (NAS, ["/", "/page3.html"]),
                        (ROUTER, ["/page3.html"]), (NAS, ["/page1.html", "/page2.html", "/page4.html"]),
                        (ROUTER, ["/page1.html", "/page4.html"]), (NAS, ["/page2.html"]),
                        (ROUTER, ["/page2.html"]), (NAS, ["/", "/page4.html"])):
        curl(None, ["https://" + host + p for p in pages], "-k", "--rate", "%d/m" % r.randint(7, 20))
        time.sleep(r.uniform(3, 14))


def by_the_clock(beats, interval, work):
    start = time.monotonic()
    for beat in range(beats):
        time.sleep(max(0.0, start + beat * interval - time.monotonic()))
        try:
            work()
        except (OSError, subprocess.TimeoutExpired, http.client.HTTPException) as e:
            print("beat %d: %s" % (beat, e), flush=True)


def poll_curl(ca, url, beats, interval):
    by_the_clock(beats, interval, lambda: subprocess.run(
        ["curl", "-sS", "--max-time", "8", "--cacert", ca, "-A", "orchard-agent/4.2",
         "-o", "/dev/null", url], check=False, timeout=10))


def poll_python(ca, url, beats, interval):
    ctx = ssl.create_default_context(cafile=ca)
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    u = urlsplit(url)

    session = None  # kept, as a long-lived agent does: later handshakes are short

    def ask():
        nonlocal session
        with socket.create_connection((u.hostname, 443), timeout=8) as raw:
            with ctx.wrap_socket(raw, server_hostname=u.hostname, session=session) as s:
                s.sendall(("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: fennel-monitor/1.9\r\n"
                           "Connection: close\r\n\r\n" % (u.path, u.hostname)).encode())
                while s.recv(4096):
                    pass
                session = s.session

    by_the_clock(beats, interval, ask)


def main():
    mode, rest = sys.argv[1], sys.argv[2:]
    if mode == "office":
        office(rest[0], rest[1], int(rest[2]))
    elif mode == "admin":
        admin()
    else:
        {"poll-curl": poll_curl, "poll-python": poll_python}[mode](
            rest[0], rest[1], int(rest[2]), float(rest[3]))


main()
