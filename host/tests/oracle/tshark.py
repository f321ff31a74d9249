#!/usr/bin/env python3
"""Compares what `veilwatch detect` and tshark find of TLS over TCP in every capture of the training data.

For each TCP stream: is there a ClientHello, are its SNI and JA3 the same, is there a ServerHello, is its JA3S the same?
Every difference is looked into by running tshark again in other ways (segments out of order, ports given to TLS, raw
bytes), and written down with a class and who is right. A difference without a class ends the run with status 1.

    tshark.py ../shared/data/train target/release/veilwatch host/tests/oracle/tshark-differences.md --cache /tmp/oracle

Needs tshark 4.0 and nothing else beside Python.
"""

import argparse
import collections
import concurrent.futures
import csv
import datetime
import hashlib
import json
import pathlib
import shlex
import subprocess
import sys

# What the first pass prints of every packet with a ClientHello or ServerHello.
FIELDS = (
    "frame.number tcp.stream frame.time_epoch ip.src ipv6.src tcp.srcport ip.dst ipv6.dst tcp.dstport "
    "tls.handshake.type tls.handshake.extensions_server_name tls.handshake.ja3 tls.handshake.ja3s frame.protocols"
).split()
HELLOS = "(tls.handshake.type==1 || tls.handshake.type==2) && tcp"
# What the closer look prints of every packet of a stream or five-tuple.
OPENING = "frame.number frame.time_epoch tcp.srcport tcp.dstport tcp.seq_raw tcp.payload vlan.id".split()

# Layers under which an inner flow is not looked for yet.
TUNNELS = {
    "vxlan": "VXLAN",
    "geneve": "GENEVE",
    "gtp": "GTP-U",
    "gre": "GRE",
    "capwap.data": "CAPWAP",
    "pppoes": "PPPoE",
    "nflog": "link type NFLOG",
    "cmd": "Cisco MetaData tag",
    "teredo": "Teredo",
}

TSHARK, OURS, BOTH = "tshark", "we", "both"
# Classes: name → what it means; those of `NOT_YET` are what the design has and the code does not yet.
TUNNEL = "tunnel"
BEHIND = "behind"
CLASSES = {
    TUNNEL: "inside a tunnel that is not decoded, or whose network has another number in each direction",
    BEHIND: "TLS behind an opening, or in frames, of a protocol that no template knows, or whose opening the capture lacks",
    "vlan": "one connection becomes two flows, because only one direction carries a VLAN tag",
    "mid-hello": "the capture begins within a ClientHello: what follows is found by tshark, which looks at each segment anew",
    "no-ja3": "the hello has no extensions: tshark 4.0 prints no JA3, but the definition leaves the fields empty",
    "old-form": "a ClientHello in SSL 2.0 form: tshark prints no JA3, the definition says nothing; ours is over version and suites",
    "retry": "tshark lists the HelloRetryRequest first; we take the ServerHello behind it",
    "order": "segments out of order, which tshark puts in order only when asked to; then it says what we say",
    "port": "tshark gives the port to another dissector; told that it is TLS, it says what we say",
    "order+port": "both of the last two",
    "resent": "tshark takes segments for repeated ones and leaves them out; in order of sequence numbers the bytes say what we say",
    "cut": "the capture ends within the record: tshark waits for the rest of it, the hello in it can be read",
    "late": "the segment comes after both sides' FIN and `linger_seconds`: the hello is right, but stands in a flow of its own",
    "odd": "bytes that no TLS program sends",
}
NOT_YET = (TUNNEL, BEHIND)

# Differences that no rule explains, looked into by hand: (capture, packet or flow, kind) → (class, who is right, why).
BY_HAND = {
    ("benign/desktop_mixed/Jahnavipohar08_network-traffic-analysis-wireshark__wireshark.pcap", 22, "client only tshark"): (
        "mid-hello",
        TSHARK,
        "packet 10 is the end of a ClientHello whose beginning was not captured; the second one, behind a "
        "HelloRetryRequest and a ChangeCipherSpec, is whole",
    ),
    ("benign/tls_stack/ntop_nDPI__tls_cipher_lens.pcap", 2, "client only tshark"): (
        "odd",
        BOTH,
        "fuzzed: the list of suites is said to be longer than the message; tshark names the message and calls it "
        "malformed, we name none without its suites",
    ),
    ("benign/tls_stack/ntop_nDPI__tls_cipher_lens.pcap", 3, "ja3"): (
        "odd",
        BOTH,
        "fuzzed: the list of suites takes up the rest of the message, and tshark ends there without a JA3; ours is over "
        "the version and the 66 suites",
    ),
    (
        "benign/tls_stack/arkime_arkime__arkime_synthetic.pcap",
        "10.0.18.100:54334 → 10.0.18.1:443",
        "client only we",
    ): (
        "cut",
        OURS,
        "synthetic: record and message are said to be five bytes longer than what was sent, and so is the server name; "
        "tshark waits for the rest, we read the suites",
    ),
    ("benign/tls_stack/ntop_nDPI__tls_cipher_lens.pcap", 5, "ja3"): (
        "odd",
        OURS,
        "fuzzed: no suites, and extensions said to be longer than the message; JA3 is over `769,,,,`, tshark hashes "
        "`769,,` without the empty fields",
    ),
    ("benign/tls_stack/OISF_suricata-verify__tls_tls13-draft14_tls13_draft14.pcap", 6, "ja3s"): (
        "odd",
        OURS,
        "TLS 1.3 draft 14: its ServerHello has no session id; tshark reads the suite as the id's length and hashes "
        "`772,44205,` instead of `772,49195,40`",
    ),
    (
        "benign/tls_stack/OISF_suricata-verify__firewall_app-layer-protocol-negated-unknown-shortcircuit_input.pcap",
        6,
        "client only tshark",
    ): (
        "odd",
        BOTH,
        "synthetic: 32 bytes that are no TLS stand before the hello; a server would refuse it, tshark begins anew with "
        "each segment",
    ),
}


class Flow:
    """A flow of ours."""

    def __init__(self, line):
        self.start, self.end = seconds(line["flow"]["start"]), seconds(line["flow"]["end"])
        tls = line.get("tls") or {}
        self.ja3 = tls.get("ja3", {}).get("hash")
        self.ja3s = tls.get("ja3s", {}).get("hash")
        self.sni = tls.get("sni", "")
        self.used = False
        self.ends = (line["src_ip"], line["src_port"]), (line["dest_ip"], line["dest_port"])

    def distance(self, time):
        return max(self.start - time, time - self.end, 0.0)


class Stream:
    """A TCP stream in which tshark finds a hello."""

    def __init__(self, number, key, protocols):
        self.number, self.key, self.protocols = number, key, protocols
        self.clients = []  # (frame, time, SNI, JA3, protocols)
        self.servers = []  # (frame, time, JA3S)


def seconds(text):
    whole, fraction = text.rstrip("Z").split(".")
    return datetime.datetime.fromisoformat(whole + "+00:00").timestamp() + float("0." + fraction)


class Tshark:
    def __init__(self, folder, cache):
        self.folder, self.cache = folder, cache

    def run(self, capture, name, what, fields, options=()):
        """tshark's lines over a capture; `name` tells cached runs of one capture apart."""
        suffix = "." + hashlib.sha256(repr((what, fields, options)).encode()).hexdigest()[:12] if name else ""
        kept = self.cache / f"{capture.replace('/', '__')}{'.' if name else ''}{name}{suffix}.tsv"
        if not kept.exists():
            command = ["nice", "-n", "19", "tshark", "-n", "-r", str(self.folder / capture), *options, "-Y", what]
            command += "-T fields -E separator=/t -E occurrence=a -E aggregator=|".split()
            for field in fields:
                command += ["-e", field]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{capture}: tshark ended with {done.returncode}: {done.stderr[-300:]}", file=sys.stderr)
            part = kept.with_suffix(".part")
            part.write_text(done.stdout)
            part.rename(kept)
        return [line.split("\t") for line in kept.read_text().splitlines() if line.count("\t") == len(fields) - 1]

    def streams(self, capture, name="", options=()):
        """The streams with hellos, by number."""
        found = {}
        for row in self.run(capture, name, HELLOS, FIELDS, options):
            frame, number, time, src4, src6, sport, dst4, dst6, dport, types, sni, ja3, ja3s, protocols = row
            layers = protocols.split(":")
            innermost = [layer for layer in layers if layer in ("ip", "ipv6")][-1]
            src, dst = (src4, dst4) if innermost == "ip" else (src6, dst6)
            inner = lambda text: text.split("|")[-1]
            key = tuple(sorted([(inner(src), int(inner(sport))), (inner(dst), int(inner(dport)))]))
            stream = found.setdefault(int(inner(number)), Stream(int(inner(number)), key, layers))
            types = types.split("|")
            snis = sni.split("|")
            ja3 = ja3.split("|") if ja3 else []
            ja3s = ja3s.split("|") if ja3s else []
            for at in range(types.count("1")):
                values = [values[at] if at < len(values) else "" for values in (snis, ja3)]
                stream.clients.append((int(frame), float(time), *values, layers))
            for at in range(types.count("2")):
                stream.servers.append((int(frame), float(time), ja3s[at] if at < len(ja3s) else ""))
        return found

    def packets(self, item):
        """The packets of a difference: (time, side, sequence number, payload, VLAN tags)."""
        if item.stream:
            what, name = f"tcp.stream=={item.stream.number}", f"stream{item.stream.number}"
        else:
            (one, port_one), (two, port_two) = item.key
            ip = "ipv6" if ":" in one else "ip"
            what = f"{ip}.addr=={one} && {ip}.addr=={two} && tcp.port=={port_one} && tcp.port=={port_two}"
            name = f"ports{port_one}-{port_two}"
        for row in self.run(item.capture, name, what, OPENING):
            _, time, source, target, sequence, payload, tags = (text.split("|")[-1] for text in row)
            if item.flow and item.flow.distance(float(time)) > 1e-5:
                continue
            yield float(time), (source, target), int(sequence), bytes.fromhex(payload.replace(":", "")), tags


def in_order(segments):
    """The beginning of one direction without a hole; the first copy of a byte counts."""
    if not segments:
        return b""
    first = segments[0][0]
    segments = [((sequence - first + 2**31) % 2**32 - 2**31, payload) for sequence, payload in segments]
    base = min(sequence for sequence, _ in segments)
    data = bytearray()
    grew = True
    while grew and len(data) < 1 << 16:
        grew = False
        for sequence, payload in segments:
            fresh = payload[len(data) + base - sequence :] if sequence <= base + len(data) else b""
            data += fresh
            grew |= bool(fresh)
    return bytes(data)


class Raw:
    """A third opinion: the hello in the bytes of one direction, read without tshark and without us."""

    def __init__(self, data):
        self.kind, self.sni, self.ja3, self.ja3s = None, "", None, None
        self.cut = self.old = self.bare = False
        try:
            self.read(data)
        except (IndexError, ValueError):
            self.cut = True

    def read(self, data):
        if data[:1] and data[0] & 0x80 and data[2] == 1:
            self.kind, self.old = 1, True
            suites = [data[at : at + 3] for at in range(11, 11 + word(data, 5), 3)]
            plain = [word(suite, 1) for suite in suites if suite[0] == 0]
            self.ja3 = md5(f"{word(data, 3)},{dashed(plain)},,,")
            return
        message = b""
        while len(data) >= 5 and 20 <= data[0] <= 24:
            end = 5 + word(data, 3)
            self.cut |= end > len(data) and data[0] == 22
            message += data[5:end] if data[0] == 22 else b""
            data = data[end:]
        if message[:1] not in (b"\1", b"\2"):
            return
        self.kind = message[0]
        message = message[: 4 + (message[1] << 16) + word(message, 2)]
        version, at = word(message, 4), 38
        if self.kind == 2:
            if not (version == 0x0304 or version >> 8 == 0x7F):  # TLS 1.3 before draft 22 has no session id
                at += 1 + message[at] + 2
                suite = word(message, at - 2)
                at += 1
            else:
                suite, at = word(message, at), at + 2
            kinds = [kind for kind, _ in extensions(message, at)]
            self.ja3s = md5(f"{version},{suite},{dashed(kinds)}")
            return
        at += 1 + message[at]
        suites = words(message[at + 2 : at + 2 + word(message, at)])
        at += 2 + word(message, at)
        at += 1 + message[at]
        groups, formats, kinds = [], [], []
        for kind, body in extensions(message, at):
            kinds.append(kind)
            if kind == 0 and len(body) > 5:
                self.sni = body[5 : 5 + word(body, 3)].decode("utf-8", "replace")
            if kind == 10:
                groups = words(body[2:])
            if kind == 11:
                formats = list(body[1:])
        self.bare = not kinds
        plain = [dashed(value for value in values if not grease(value)) for values in (suites, kinds, groups)]
        self.ja3 = md5(f"{version},{','.join(plain)},{dashed(formats)}")


def word(data, at):
    if at + 2 > len(data):
        raise ValueError("too short")
    return data[at] << 8 | data[at + 1]


def words(data):
    return [word(data, at) for at in range(0, len(data) - 1, 2)]


def dashed(values):
    return "-".join(map(str, values))


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def extensions(message, at):
    found = []
    if at + 2 <= len(message):
        end = min(at + 2 + word(message, at), len(message))
        at += 2
        while at + 4 <= end:
            found.append((word(message, at), message[at + 4 : at + 4 + word(message, at + 2)]))
            at += 4 + word(message, at + 2)
    return found


def grease(value):
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def run_ours(command, folder, capture):
    """Exit status, complaints and flows by key of one capture."""
    done = subprocess.run(
        ["nice", "-n", "10", *command, "detect", "--config", "config/protocols.toml", str(folder / capture), "--all", "--format", "jsonl"],
        capture_output=True,
        text=True,
    )
    flows = collections.defaultdict(list)
    for text in done.stdout.splitlines():
        line = json.loads(text)
        if line["event_type"] == "flow" and line["proto"] == "TCP":
            flow = Flow(line)
            flows[tuple(sorted(flow.ends))].append(flow)
    complaint = done.stderr.strip().replace(str(folder) + "/", "").replace(str(folder), "")
    return done.returncode, complaint, flows


class Difference:
    """One row: what the two say of a stream (`stream`, `frame`), or of a flow in which tshark finds nothing (`flow`)."""

    def __init__(self, capture, where, kind, theirs, ours, key, frame=None, stream=None, flow=None, flows=()):
        self.capture, self.where, self.kind, self.theirs, self.ours = capture, where, kind, theirs, ours
        self.key, self.frame, self.stream, self.flow, self.flows = key, frame, stream, flow, flows
        self.verdict = None

    def holds(self, hello, ja3, sni, ja3s):
        """Whether these values, found in another way, are what we say."""
        if self.kind == "client only we":
            said = f"ClientHello {sni or 'without SNI'}"
            return hello and self.ours == said and (not self.flow or ja3 in ("", self.flow.ja3))
        if self.kind == "ja3":
            return hello and ja3 == self.ours
        return self.kind in ("server only we", "ja3s") and self.ours.split()[-1] in ja3s


def near(flows, stream, hellos):
    """Our flows of a stream's five-tuple at the time of a hello.

    Where a capture's clock jumps, packet time alone does not tell: then it is the nearest one that has a hello.
    """
    time = hellos[0][1]
    known = sorted(flows.get(stream.key, []), key=lambda flow: flow.distance(time))
    told = [flow for flow in known if flow.ja3 or flow.ja3s]
    return [flow for flow in known if flow.distance(time) <= 1e-5] or told[:1] or known[:1]


def compare(capture, streams, flows, totals):
    """All differences of one capture."""
    found = []
    for stream in streams.values():
        here = near(flows, stream, stream.clients or stream.servers)
        client = next((flow for flow in here if flow.ja3), None)
        if stream.servers and not (client and client.ja3s):
            here = near(flows, stream, stream.servers)
        server = next((flow for flow in [client, *here] if flow and flow.ja3s), None)
        for flow in {client, server} - {None}:
            flow.used = True
        say = lambda frame, *rest: found.append(
            Difference(
                capture, f"packet {frame}, stream {stream.number}", *rest, key=stream.key, frame=frame, stream=stream
            )
        )
        if stream.clients:
            frame, _, sni, ja3, _ = stream.clients[0]
            totals["client tshark"] += 1
            if client is None:
                say(frame, "client only tshark", f"ClientHello {sni or 'without SNI'}", "none")
            else:
                totals["client both"] += 1
                totals["sni equal"] += sni == client.sni
                totals["ja3 tshark"] += ja3 != ""
                totals["ja3 equal"] += ja3 == client.ja3
                if sni != client.sni:
                    say(frame, "sni", sni, client.sni)
                if ja3 != client.ja3:
                    say(frame, "ja3", ja3 or "no JA3", client.ja3)
        elif client:
            totals["client only we"] += 1
            say(stream.servers[0][0], "client only we", "no ClientHello", f"ClientHello {client.sni or 'without SNI'}")
        if stream.servers:
            frame, _, ja3s = stream.servers[0]
            totals["server tshark"] += 1
            if server is None:
                say(frame, "server only tshark", f"ServerHello {ja3s}", "none")
            else:
                totals["server both"] += 1
                totals["ja3s equal"] += ja3s == server.ja3s
                if ja3s != server.ja3s:
                    say(frame, "ja3s", ja3s or "no JA3S", server.ja3s)
        elif server:
            totals["server only we"] += 1
            say(stream.clients[0][0], "server only we", "no ServerHello", f"ServerHello {server.ja3s}")
        if client and server and client is not server:
            say((stream.clients or stream.servers)[0][0], "two flows", "one stream", "two flows")
    for key, list_of in flows.items():
        for flow in list_of:
            if flow.used or not (flow.ja3 or flow.ja3s):
                continue
            where = f"{flow.ends[0][0]}:{flow.ends[0][1]} → {flow.ends[1][0]}:{flow.ends[1][1]}"
            if flow.ja3:
                totals["client only we"] += 1
                text = f"ClientHello {flow.sni or 'without SNI'}"
                found.append(Difference(capture, where, "client only we", "nothing", text, key, flow=flow, flows=list_of))
            if flow.ja3s:
                totals["server only we"] += 1
                text = f"ServerHello {flow.ja3s}"
                found.append(Difference(capture, where, "server only we", "nothing", text, key, flow=flow, flows=list_of))
    return found


def tunnel_of(layers):
    for layer in layers:
        if layer in TUNNELS:
            return TUNNELS[layer]
    addresses = [layer for layer in layers if layer in ("ip", "ipv6")]
    return f"{addresses[1]} in {addresses[0]}" if len(addresses) > 1 else None


# How the stream in front of a TLS handshake begins: name, test on (first payload, second payload, ports).
OPENINGS = [
    ("a CONNECT proxy", lambda one, two, ports: one.startswith(b"CONNECT ")),
    ("SOCKS 5", lambda one, two, ports: one[:1] == b"\5" and two[:1] == b"\5" and len(one) == 2 + one[1]),
    ("SOCKS 4", lambda one, two, ports: one[:2] == b"\4\1" and two[:1] == b"\0" and len(two) == 8),
    ("the PROXY protocol", lambda one, two, ports: one.startswith((b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"))),
    ("SMTP STARTTLS", lambda one, two, ports: one.startswith(b"220") and two[:4].upper() in (b"EHLO", b"HELO")),
    ("FTP AUTH TLS", lambda one, two, ports: one.startswith(b"220") and (two[:4].upper() == b"AUTH" or 21 in ports)),
    ("POP3 STLS", lambda one, two, ports: one.startswith(b"+OK")),
    ("IMAP STARTTLS", lambda one, two, ports: one.startswith(b"* OK")),
    ("XMPP STARTTLS", lambda one, two, ports: b"<stream:" in one or b"<?xml" in one),
    ("LDAP StartTLS", lambda one, two, ports: b"1.3.6.1.4.1.1466.20037" in one),
    ("MySQL's capability exchange", lambda one, two, ports: one[3:5] == b"\0\x0a"),
    ("PostgreSQL's SSLRequest", lambda one, two, ports: one == bytes.fromhex("0000000804d2162f")),
    ("Gnutella's opening", lambda one, two, ports: one.startswith(b"GNUTELLA")),
    ("NoMachine's opening", lambda one, two, ports: one.startswith(b"NXSH") or one.startswith(b"NXD")),
    ("Android debug bridge frames", lambda one, two, ports: one.startswith(b"CNXN")),
    ("OpenVPN's control channel", lambda one, two, ports: one[2:3] in (b"\x38", b"\x40", b"\x50", b"\x20")),
    ("HTTP", lambda one, two, ports: one.startswith((b"GET ", b"POST ", b"HTTP/"))),
]


def looks_like_tls(payload):
    return payload[:1] in (b"\x14", b"\x15", b"\x16", b"\x17") and payload[1:2] in (b"\x03", b"\x01")


def explain(tshark, item):
    """Class, who is right, and why; None where no rule knows."""
    stream = item.stream
    if by_hand := BY_HAND.get((item.capture, item.frame or item.where, item.kind)):
        return by_hand
    found_less = "only tshark" in item.kind or item.kind == "two flows"
    if stream and found_less and (tunnel := tunnel_of(stream.clients[0][4] if stream.clients else stream.protocols)):
        return TUNNEL, TSHARK, tunnel + (", another network each way" if item.kind == "two flows" else "")
    sides, tags, openings = collections.defaultdict(list), collections.defaultdict(set), {}
    for _, side, sequence, payload, tag in tshark.packets(item):
        tags[side].add(tag)
        if payload:
            sides[side].append((sequence, payload))
            openings.setdefault(side, payload)
    if item.kind == "two flows" and len(set(map(frozenset, tags.values()))) == 2:
        one, two = (" or ".join(sorted(tag or "none" for tag in seen)) for seen in tags.values())
        return "vlan", TSHARK, f"VLAN {one} one way, {two} the other"
    if item.kind in ("client only tshark", "server only tshark") and not any(map(looks_like_tls, openings.values())):
        one, two, *_ = [*openings.values(), b"", b""]
        ports = sorted(port for _, port in item.key)
        for name, test in OPENINGS:
            if test(one, two, ports):
                return BEHIND, TSHARK, f"behind {name}, ports {ports[0]} and {ports[1]}"
    if item.kind == "ja3s" and any(ja3s == item.ours for _, _, ja3s in stream.servers[1:]):
        return "retry", OURS, f"ours is tshark's of packet {stream.servers[1][0]}"
    raw = [Raw(in_order(side)) for side in sides.values()]
    hello = next((one for one in raw if one.kind == 1), None)
    answers = {one.ja3s for one in raw if one.kind == 2}
    agrees = item.holds(hello is not None, hello and hello.ja3, hello and hello.sni, answers)
    if item.kind == "ja3" and item.theirs == "no JA3" and agrees:
        if hello.old:
            return "old-form", BOTH, "calculated from the bytes, it is ours"
        if hello.bare:
            return "no-ja3", OURS, "calculated from the bytes, it is ours"
    if item.flow and agrees and any(flow.start < item.flow.start for flow in item.flows):
        return "late", OURS, "the connection's first flow ended before"
    # Asked in other ways, does tshark say the same?
    lower = min(port for _, port in item.key)
    order, port = ("-o", "tcp.reassemble_out_of_order:TRUE"), ("-d", f"tcp.port=={lower},tls")
    for name, options in (("order", order), ("port", port), ("order+port", order + port)):
        for other in tshark.streams(item.capture, name, options).values():
            time = (other.clients or other.servers)[0][1]
            if other.key != item.key or (stream and other.number != stream.number):
                continue
            if item.flow and item.flow.distance(time) > 1e-5:
                continue
            _, _, sni, ja3, _ = other.clients[0] if other.clients else (0, 0, "", "", None)
            if item.holds(bool(other.clients), ja3, sni, {ja3s for _, _, ja3s in other.servers}):
                of = "server" if item.kind in ("server only we", "ja3s") else "client"
                frame = (other.servers if of == "server" else other.clients)[0][0]
                return name, OURS, f"packet {frame}" + (f", port {lower}" if "port" in name else "")
    if agrees:
        by_ours = [one for one in raw if one.kind == (2 if "server" in item.kind or item.kind == "ja3s" else 1)]
        return ("cut" if any(one.cut for one in by_ours) else "resent"), OURS, "the bytes say what we say"
    return None


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def percent(part, whole):
    return f"{100 * part / whole:.2f} %" if whole else "–"


def write(out, captures, statuses, complaints, panics, totals, items, version):
    lines = ["# TLS over TCP: what tshark and we find", ""]
    lines += [
        f"Written by `tshark.py` over {len(captures)} captures with {version}; do not edit. How to write it again stands",
        "in [README.md](README.md).",
        "",
        f"* The run over all captures had {'no panic' if not panics else 'PANICS: ' + ', '.join(panics)}.",
        "* Exit status: " + ", ".join(f"{status} on {count}" for status, count in sorted(statuses.items())) + " captures"
        " (0 nothing malicious, 1 malicious flows, 2 could not be analysed, 3 partial).",
    ]
    if complaints:
        lines += ["* Files that gave an error or a warning:", ""]
        lines += [f"  - `{capture}`: {cell(text)}" for capture, text in complaints]
    else:
        lines += ["* No file gave an error or a warning."]
    not_yet = collections.Counter(item.kind for item in items if item.verdict and item.verdict[0] in NOT_YET)
    only = collections.Counter(item.kind for item in items)
    lines += ["", "## Totals", ""]
    lines += ["One ClientHello and one ServerHello for each TCP stream; *decoded today* leaves out the classes `"]
    lines[-1] += "` and `".join(NOT_YET) + "`."
    lines += ["", "| | count | of all | of what is decoded today |", "|---|---|---|---|"]
    for who, name in (("client", "ClientHello"), ("server", "ServerHello")):
        all_of, both = totals[f"{who} tshark"], totals[f"{who} both"]
        today = all_of - not_yet[f"{who} only tshark"]
        lines.append(f"| {name}: tshark finds | {all_of} | | {today} |")
        lines.append(f"| {name}: found by both | {both} | {percent(both, all_of)} | {percent(both, today)} |")
        lines.append(f"| {name}: only tshark | {only[f'{who} only tshark']} | | {today - both} |")
        lines.append(f"| {name}: only we | {only[f'{who} only we']} | | |")
        if who == "client":
            known = totals["ja3 tshark"]
            lines.append(f"| SNI equal, of those found by both | {totals['sni equal']} | {percent(totals['sni equal'], both)} | |")
            lines.append(f"| JA3 equal, of those found by both | {totals['ja3 equal']} | {percent(totals['ja3 equal'], both)} | |")
            lines.append(f"| JA3 equal, where tshark prints one ({known}) | {totals['ja3 equal']} | {percent(totals['ja3 equal'], known)} | |")
        else:
            lines.append(f"| JA3S equal, of those found by both | {totals['ja3s equal']} | {percent(totals['ja3s equal'], both)} | |")
    lines += ["", "## Classes of differences", "", "| class | rows | who is right | what |", "|---|---|---|---|"]
    grouped = collections.defaultdict(list)
    for item in items:
        grouped[(item.verdict or ("UNEXPLAINED", "?", ""))[0]].append(item)
    for name in [*CLASSES, *sorted(set(grouped) - set(CLASSES))]:
        if grouped[name]:
            right = sorted({item.verdict[1] if item.verdict else "?" for item in grouped[name]})
            lines.append(f"| `{name}` | {len(grouped[name])} | {', '.join(right)} | {CLASSES.get(name, '')} |")
    lines += ["", f"## All {len(items)} differences", ""]
    lines += ["`kind`: what is only on one side, or which value differs.", ""]
    lines += ["| capture | packet, stream or flow | kind | tshark says | we say | class | right | why |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for item in items:
        name, right, why = item.verdict or ("UNEXPLAINED", "?", "")
        row = (item.capture, item.where, item.kind, item.theirs, item.ours, name, right, why)
        lines.append("| " + " | ".join(map(cell, row)) + " |")
    out.write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="the training data, with captures.csv")
    parser.add_argument("veilwatch", help="the command; quoted where it has arguments")
    parser.add_argument("out", type=pathlib.Path, help="where the differences are written")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="keeps tshark's output between runs")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    with open(args.folder / "captures.csv", newline="") as table:
        captures = sorted(row["path"] for row in csv.DictReader(table))
    tshark, command = Tshark(args.folder, args.cache), shlex.split(args.veilwatch)
    version = subprocess.run(["tshark", "--version"], capture_output=True, text=True).stdout.split(" (Git")[0]
    totals, statuses = collections.Counter(), collections.Counter()
    complaints, panics, items = [], [], []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        theirs = pool.map(tshark.streams, captures)
        ours = pool.map(lambda capture: run_ours(command, args.folder, capture), captures)
        for capture, streams, (status, complaint, flows) in zip(captures, theirs, ours):
            statuses[status] += 1
            if complaint:
                complaints.append((capture, complaint))
            if status not in (0, 1, 2, 3) or "panicked" in complaint:
                panics.append(capture)
            items += compare(capture, streams, flows, totals)
        for item, verdict in zip(items, pool.map(lambda item: explain(tshark, item), items)):
            item.verdict = verdict
    write(args.out, captures, statuses, complaints, panics, totals, items, version.strip())
    left = [item for item in items if item.verdict is None]
    for item in left:
        print(f"unexplained: {item.capture}, {item.where}, {item.kind}: {item.theirs} / {item.ours}")
    print(f"{len(items)} differences, {len(left)} unexplained; {len(panics)} panics")
    return 1 if left or panics else 0


if __name__ == "__main__":
    sys.exit(main())
