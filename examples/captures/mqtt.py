#!/usr/bin/env python3
"""A small MQTT broker, office sensors, and one client that is odd.

MQTT 3.1.1 and 5 as far as this needs (OASIS standards of 2014 and 2019): CONNECT, SUBSCRIBE, PUBLISH without
acknowledgement, PINGREQ, DISCONNECT.

    mqtt.py serve ADDRESS:PORT
    mqtt.py sensor ADDRESS:PORT NAME LEVEL KEEP_ALIVE EVERY SECONDS [--once] [--password WORD]
    mqtt.py board ADDRESS:PORT SECONDS
    mqtt.py odd ADDRESS:PORT SECONDS

A sensor publishes a reading about every EVERY seconds; with --once it connects anew for each.  The board subscribes
to all readings.  The odd client says nothing but pings, by a short and exact clock, and begins anew every few pings.
"""
import random
import socket
import struct
import sys
import threading
import time

CONNECT, CONNACK, PUBLISH, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 0x10, 0x20, 0x30, 0x82, 0x90, 0xC0, 0xD0, 0xE0
WORD = b"meadow"


def text(data):
    return struct.pack("!H", len(data)) + data


def packet(kind, body=b""):
    length, left = b"", len(body)
    while True:  # section 2.2.3 of 3.1.1: seven bits a byte, the lowest first
        left, low = divmod(left, 128)
        length += bytes([low | (128 if left else 0)])
        if not left:
            return bytes([kind]) + length + body


class Stream:
    """A connection, read packet by packet."""

    def __init__(self, sock):
        self.sock, self.lock = sock, threading.Lock()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, kind, body=b""):
        with self.lock:
            self.sock.sendall(packet(kind, body))

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.sock.recv(count - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data

    def receive(self):
        kind, length = self.exactly(1)[0], 0
        for place in range(4):
            byte = self.exactly(1)[0]
            length |= (byte & 127) << 7 * place
            if byte < 128:
                break
        return kind, self.exactly(length)


# ------------------------------------------------------------------ the broker

listeners, listeners_lock = {}, threading.Lock()


def serve_one(stream):
    level = 4
    try:
        kind, body = stream.receive()
        if kind != CONNECT or body[:6] != text(b"MQTT"):
            return
        level, flags = body[6], body[7]
        good = flags & 0x40 == 0 or body.endswith(text(WORD))
        # Not authorised is 5 in version 3.1.1, and 135 in version 5.
        code = 0 if good else (135 if level == 5 else 5)
        stream.send(CONNACK, bytes([0, code]) + (b"\0" if level == 5 else b""))
        while good:
            kind, body = stream.receive()
            if kind == SUBSCRIBE:
                with listeners_lock:
                    listeners[stream] = level
                stream.send(SUBACK, body[:2] + (b"\0" if level == 5 else b"") + b"\0")
            elif kind == PINGREQ:
                stream.send(PINGRESP)
            elif kind & 0xF0 == PUBLISH:
                pass_on(level, body)
            elif kind == DISCONNECT:
                return
    except (ConnectionError, OSError):
        pass
    finally:
        with listeners_lock:
            listeners.pop(stream, None)
        stream.sock.close()


def pass_on(level, body):
    topic = body[: 2 + struct.unpack("!H", body[:2])[0]]
    payload = body[len(topic) + (level == 5):]
    with listeners_lock:
        targets = list(listeners.items())
    for stream, of in targets:
        try:
            stream.send(PUBLISH, topic + (b"\0" if of == 5 else b"") + payload)
        except OSError:
            pass


def serve(address):
    listener = socket.create_server(address, backlog=16)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve_one, args=(Stream(sock),), daemon=True).start()


# ------------------------------------------------------------------ the clients

def connect(address, name, level, keep_alive, password=None):
    stream = Stream(socket.create_connection(address))
    flags = 0x02 | (0xC0 if password else 0)
    body = text(b"MQTT") + bytes([level, flags]) + struct.pack("!H", keep_alive) + (b"\0" if level == 5 else b"")
    body += text(name.encode()) + (text(b"sensors") + text(password) if password else b"")
    stream.send(CONNECT, body)
    _, answer = stream.receive()
    if answer[1]:
        stream.sock.close()
        return None
    return stream


def drain(stream):
    """Reads whatever comes, so that the other side never waits."""
    def run():
        try:
            while True:
                stream.receive()
        except (ConnectionError, OSError):
            pass
    threading.Thread(target=run, daemon=True).start()


def leave(stream):
    stream.send(DISCONNECT)
    stream.sock.close()


def sensor(address, name, level, keep_alive, every, seconds, once, password):
    rng, end, stream, spoke = random.Random(name), time.monotonic() + seconds, None, 0.0
    topic = text(b"office/" + name.encode() + b"/reading") + (b"\0" if level == 5 else b"")
    while time.monotonic() < end:
        if stream is None:
            stream = connect(address, name, level, keep_alive, password)
            if stream is None:
                return  # refused, and no sensor knows what to do about that
            drain(stream)
        reading = '{"t":%.1f,"rh":%d}' % (rng.uniform(19, 24), rng.randint(35, 55))
        stream.send(PUBLISH, topic + reading.encode() + b" " * rng.randint(0, 12))
        spoke = time.monotonic()
        if once:
            leave(stream)
            stream = None
        rest = min(end - spoke, every * rng.uniform(0.6, 1.5))
        while rest > 0:
            nap = min(rest, keep_alive * 0.8 if keep_alive else rest)
            time.sleep(nap)
            rest -= nap
            if stream and rest > 0:
                stream.send(PINGREQ)
    if stream:
        leave(stream)


def board(address, seconds):
    stream = connect(address, "wall-board", 4, 60, WORD)
    stream.send(SUBSCRIBE, b"\0\x01" + text(b"office/#") + b"\0")
    drain(stream)
    time.sleep(seconds)
    leave(stream)


def odd(address, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stream = connect(address, "%016x" % random.getrandbits(64), 4, 2)
        stream.send(SUBSCRIBE, b"\0\x01" + text(b"t/%08x" % random.getrandbits(32)) + b"\0")
        drain(stream)
        for _ in range(6):
            time.sleep(1.5)
            stream.send(PINGREQ)
        leave(stream)


def main():
    what, (host, port), rest = sys.argv[1], sys.argv[2].rsplit(":", 1), sys.argv[3:]
    address = (host, int(port))
    if what == "serve":
        serve(address)
    elif what == "board":
        board(address, float(rest[0]))
    elif what == "odd":
        odd(address, float(rest[0]))
    else:
        password = rest[rest.index("--password") + 1].encode() if "--password" in rest else None
        sensor(address, rest[0], int(rest[1]), int(rest[2]), float(rest[3]), float(rest[4]), "--once" in rest, password)


main()
