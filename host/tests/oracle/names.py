#!/usr/bin/env python3
"""Compares what `veilwatch detect` and tshark find of DNS, SSH and the protocols that are recognised by content.

For each pair of endpoints (innermost addresses and ports, either way round) over all captures of `train` and `badinput`:
DNS: first name, its type, code of the first response, how many queries and responses, which addresses stand among the
answers. SSH: both banners, HASSH of both sides. The others: is it there. Writes the differences for people, and what
tshark said for the test `names_oracle` (where a value is ours and not tshark's, the list of differences says why).

    names.py ../shared/data target/release/veilwatch host/tests/oracle --cache /tmp/oracle

Needs tshark 4.0 and nothing else beside Python.
"""

import argparse
import collections
import concurrent.futures
import csv
import hashlib
import ipaddress
import json
import pathlib
import shlex
import subprocess
import sys

FIELDS = (
    "frame.number frame.time_epoch frame.protocols ip.src ip.dst ipv6.src ipv6.dst tcp.srcport tcp.dstport "
    "udp.srcport udp.dstport dns.flags.response dns.qry.name dns.qry.type dns.flags.rcode dns.count.queries "
    "dns.count.answers dns.count.auth_rr dns.count.add_rr dns.resp.type dns.a dns.aaaa ssh.protocol ssh.kex.hassh "
    "ssh.kex.hasshserver"
).split()
# tshark's names of what only has to be there, and ours.
THERE = {
    "ntp": "ntp", "dhcp": "dhcp", "snmp": "snmp", "sip": "sip", "smb": "smb", "smb2": "smb", "rdp": "rdp", "stun": "stun",
    "bittorrent": "bittorrent", "bt-dht": "bittorrent", "wg": "wireguard", "openvpn": "openvpn",
}
DNS = ("dns", "mdns", "llmnr")
# Kinds of captures in `badinput` that are broken on purpose: of these both say what they like.
DAMAGED = {"crasher", "derived_damage", "derived_metamorphic", "fuzz", "malformed", "not_a_capture", "truncated"}
FILTER = " || ".join([*DNS, "ssh", *THERE])
KINDS = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA",
         33: "SRV", 35: "NAPTR", 39: "DNAME", 41: "OPT", 43: "DS", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3",
         52: "TLSA", 64: "SVCB", 65: "HTTPS", 99: "SPF", 251: "IXFR", 252: "AXFR", 255: "ANY", 257: "CAA"}
CODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
         "NOTZONE"]


def key_of(proto, one, other):
    return proto, *sorted([one, other])


class Pair:
    """What one of both says of a pair of endpoints."""

    def __init__(self):
        self.there = set()
        self.values = {}
        self.addresses = set()
        self.frame = None

    def first(self, name, value):
        self.values.setdefault(name, value)

    def add(self, name, count):
        self.values[name] = self.values.get(name, 0) + count

    def facts(self):
        """Name → value, as texts."""
        facts = {f"{name}": str(value) for name, value in self.values.items() if value not in (0, "")}
        facts.update({name: "there" for name in self.there})
        if self.addresses:
            facts["dns.addresses"] = " ".join(sorted(self.addresses))
        return facts


class Tshark:
    def __init__(self, folder, cache):
        self.folder, self.cache = folder, cache

    def run(self, capture):
        name = hashlib.sha256(repr((capture, FILTER, FIELDS)).encode()).hexdigest()[:24]
        kept = self.cache / f"names-{name}.tsv"
        if not kept.exists():
            command = ["nice", "-n", "10", "tshark", "-n", "-r", str(self.folder / capture), "-Y", FILTER]
            command += "-T fields -E separator=/t -E occurrence=a -E aggregator=|".split()
            command += [part for field in FIELDS for part in ("-e", field)]
            done = subprocess.run(command, capture_output=True)
            part = kept.with_suffix(".part")
            part.write_bytes(done.stdout)
            part.rename(kept)
        text = kept.read_text(errors="replace")
        return [dict(zip(FIELDS, line.split("\t"))) for line in text.split("\n") if line.count("\t") == len(FIELDS) - 1]

    def payloads(self, item):
        """The first payloads of a pair, as tshark hands them out: of whole packets, whoever's they are."""
        proto, one, other = item.key
        proto = proto.lower()
        address = "ipv6" if ":" in one[0] else "ip"
        what = " && ".join([
            *(f"{address}.addr == {end[0]} && {proto}.port == {end[1]}" for end in (one, other)), f"!icmp && !icmpv6",
        ])
        payload = f"{proto}.payload"
        command = ["tshark", "-n", "-r", str(self.folder / item.capture), "-Y", f"{what} && {payload}", "-T", "fields"]
        done = subprocess.run([*command, "-e", payload], capture_output=True, text=True)
        texts = [line.split(",")[-1] for line in done.stdout.split()]
        return [bytes.fromhex(text) for text in texts]

    def pairs(self, capture):
        pairs = {}
        for packet in self.run(capture):
            layers = packet["frame.protocols"].split(":")
            transports = [at for at, layer in enumerate(layers) if layer in ("tcp", "udp")]
            if not transports or any(layer.startswith("icmp") for layer in layers):
                continue
            # The innermost flow, as far as layers tell it.
            proto = layers[transports[-1]]
            inner = [layer for layer in layers[: transports[-1]] if layer in ("ip", "ipv6")]
            if not inner:
                continue
            last = lambda name: packet[name].split("|")[-1]
            ends = [(last(f"{inner[-1]}.{way}"), int(last(f"{proto}.{way}port"))) for way in ("src", "dst")]
            above = set(layers[transports[-1] + 1 :])
            pair = pairs.setdefault(key_of(proto.upper(), *ends), Pair())
            pair.frame = pair.frame or packet["frame.number"]
            if above & set(DNS):
                self.dns(pair, packet, ends, "mdns" in above)
            if "ssh" in above and proto == "tcp":
                self.ssh(pair, packet)
            for theirs, ours in THERE.items():
                if theirs in above and (ours != "smb" or proto == "tcp"):
                    pair.there.add(ours)
        return pairs

    def dns(self, pair, packet, ends, to_all):
        parts = lambda name: packet[name].split("|") if packet[name] else []
        responses = parts("dns.flags.response")
        names = ["." if name == "<Root>" else name for name in parts("dns.qry.name")]
        kinds = [KINDS.get(int(kind), f"TYPE{kind}") for kind in parts("dns.qry.type")]
        codes = [CODES[int(code)] if int(code) < len(CODES) else f"RCODE{code}" for code in parts("dns.flags.rcode")]
        counts = [parts(f"dns.count.{what}") for what in ("queries", "answers", "auth_rr", "add_rr")]
        records, a, aaaa = parts("dns.resp.type"), parts("dns.a"), parts("dns.aaaa")
        pair.there.add("dns")
        for at, response in enumerate(responses):
            response = response in ("1", "True")
            asked, answers, *others = [int(count[at]) if at < len(count) else 0 for count in counts]
            pair.add("dns.responses" if response else "dns.queries", 1)
            if names and kinds and asked and (not response or "dns.rrname" not in pair.values):
                # The first query's; without one, the first response's.
                if not response and not pair.values.get("asked"):
                    pair.values["asked"] = 1
                    pair.values["dns.rrname"], pair.values["dns.rrtype"] = names[0], kinds[0]
                else:
                    pair.first("dns.rrname", names[0])
                    pair.first("dns.rrtype", kinds[0])
            names, kinds = names[asked:], kinds[asked:]
            if response:
                code = codes.pop(0) if codes else ""
                pair.first("dns.rcode", code)
            for place in range(answers + sum(others)):
                kind = records.pop(0) if records else ""
                list_of = {"1": a, "28": aaaa}.get(kind)
                if list_of:
                    address = list_of.pop(0)
                    if response and place < answers and not to_all:
                        pair.addresses.add(str(ipaddress.ip_address(address)))

    def ssh(self, pair, packet):
        pair.there.add("ssh")
        for line in filter(None, packet["ssh.protocol"].split("|")):
            side = packet["ip.src"] + packet["ipv6.src"] + packet["tcp.srcport"]
            pair.values.setdefault("banners", {}).setdefault(side, line)
        for name, ours in (("ssh.kex.hassh", "ssh.client.hassh"), ("ssh.kex.hasshserver", "ssh.server.hassh")):
            if packet[name]:
                pair.first(ours, packet[name].split("|")[0])


def ours(command, folder, capture):
    done = subprocess.run([*command, "detect", "--config", "config/protocols.toml", "--all", "--format", "jsonl", str(folder / capture)], capture_output=True)
    pairs, limits, flows = {}, {}, set()
    for text in done.stdout.decode().splitlines():
        line = json.loads(text)
        if line["event_type"] != "flow":
            limits = line["limits"]
            continue
        ends = [(line["src_ip"], line["src_port"]), (line["dest_ip"], line["dest_port"])]
        flows.add(key_of(line["proto"], *ends))
        fields = line.get("fields", {})
        there = {line["app_proto"]} & {*THERE.values(), "dns", "ssh"}
        there |= {name for name in ("rdp",) if f"{name}.requested_protocols" in fields}
        if not there:
            continue
        pair = pairs.setdefault(key_of(line["proto"], *ends), Pair())
        pair.there |= there
        dns = line.get("dns", {})
        for name in ("queries", "responses"):
            pair.add(f"dns.{name}", dns.get(name, 0))
        if "rrname" in dns:
            if dns["queries"] and not pair.values.get("asked"):
                pair.values["asked"] = 1
                pair.values.pop("dns.rrname", None), pair.values.pop("dns.rrtype", None)
            pair.first("dns.rrname", dns["rrname"])
            pair.first("dns.rrtype", dns["rrtype"])
        if "rcode" in dns:
            pair.first("dns.rcode", dns["rcode"])
        pair.addresses |= {answer["rdata"] for answer in dns.get("answers", [])}
        for side in ("client", "server"):
            get = lambda name: fields.get(f"ssh.{side}.{name}", "")
            if get("proto_version"):
                banner = f"SSH-{get('proto_version')}" + (f"-{get('software_version')}" if get("software_version") else "")
                banner += f" {get('comments')}" if get("comments") else ""
                pair.values.setdefault("banners", {}).setdefault(side, banner)
            if get("hassh.hash"):
                pair.first(f"ssh.{side}.hassh", get("hassh.hash"))
    return pairs, limits, flows


def settle(pair):
    """Facts of a pair; the two banners are one fact, since tshark does not say whose they are."""
    values = pair.values
    values.pop("asked", None)
    banners = values.pop("banners", {})
    facts = pair.facts()
    if banners:
        facts["ssh.banners"] = " / ".join(sorted(banners.values()))
    return facts


TSHARK, OURS, BOTH = "tshark", "we", "both"
CLASSES = {
    "no-question": "mDNS that asks for nothing, or a zone that is updated: we give the first name and type there is, tshark none",
    "prefix": "a flow of more messages than `flows.prefix_bytes` holds; the last line says so under `limits`",
    "begun": "the flow does not begin with a message of the protocol; tshark looks at each packet anew",
    "guess": "no packet of it begins as the protocol must: tshark goes by the port, or guesses",
    "port": "tshark gives the port to another protocol; the bytes say what we say",
    "broken": "of a direction nothing is read behind a message that cannot be followed, or behind a hole",
    "decoding": "one of both does not decode what is below: a tag, a tunnel, a link type, a network with two numbers",
    "odd": "looked into by hand",
}

# Differences that no rule explains: (end of the capture's name, protocol) → (class, who is right, why).
BY_HAND = {
    ("arkime_synthetic.pcap", "dns"): ("decoding", TSHARK, "inside GENEVE whose network has another number each way"),
    ("roguerobin-net_idle-validation_240925.pcap.gz", "dns"): (
        "broken", TSHARK, "a response says that it has an answer, and has none; where the next one begins nobody knows"),
    ("iodine_handshake_240731.pcap", "dns"): (
        "broken", TSHARK, "between the responses stand four of 20 bytes that are no DNS"),
    ("maliciousTraffic.pcap.gz", "dns"): (
        "decoding", OURS, "the frames of the responses say IPv6 and hold IPv4; tshark reads no further"),
    ("dns-tcp-ts-gap_input.pcap", "dns"): (
        "broken", TSHARK, "segments are missing from the capture; tshark begins anew behind them"),
    ("dns_over_tcp.pcapng", "dns"): (
        "odd", BOTH, "tshark takes the second segment for a repeated one and leaves it out"),
    ("DnsPacketTest.pcap", "dns"): (
        "odd", BOTH, "made up: the addresses are of class ANY, and only those of class IN lead anywhere"),
    ("ips_options_gid_gtpingtp.pcap", "sip"): (
        "decoding", OURS, "SIP inside GTP in GTP, which tshark calls malformed"),
}


def is_dns(bytes):
    if len(bytes) < 12 or bytes[3] & 0x40 or (bytes[2] >> 3 & 15) > 5:
        return False
    counts = [int.from_bytes(bytes[at : at + 2], "big") for at in (4, 6, 8, 10)]
    return 0 < sum(counts) <= len(bytes) // 5 and counts[0] <= 1


# Whether a payload begins as a protocol does: read a second time, and not as the plugins do it.
BEGINS = {
    "dns": is_dns,
    "ssh": lambda b: b.startswith(b"SSH-"),
    "ntp": lambda b: len(b) >= 8 and b[0] & 7 > 0,
    "dhcp": lambda b: b[236:240] == bytes.fromhex("63825363"),
    "snmp": lambda b: b[:1] == b"\x30" and b"\x02\x01" in b[2:8],
    "sip": lambda b: b"SIP/2.0" in b.split(b"\r\n")[0],
    "smb": lambda b: b[5:8] == b"SMB" and b[:1] == b"\0" or b[:4] == b"\x81\0\0\x44",
    "rdp": lambda b: b[:2] == b"\3\0" and b[5:6] in (b"\xe0", b"\xd0"),
    "stun": lambda b: b[4:8] == bytes.fromhex("2112a442") and b[0] < 0x40,
    "bittorrent": lambda b: b.startswith((b"\x13BitTorrent", b"d1:", b"d2:ip")),
    "wireguard": lambda b: (b[:4], len(b)) in ((b"\1\0\0\0", 148), (b"\2\0\0\0", 92), (b"\3\0\0\0", 64))
    or (b[:4] == b"\4\0\0\0" and len(b) % 16 == 0 and b[12:16] == bytes(4)),
    "openvpn": lambda b: b[:1] in (b"\x38", b"\x50") and b"\0\0\0" in b or b[2:3] in (b"\x38", b"\x50") and b[0] < 5,
}


def explain(tshark, item):
    """Class, who is right, and why; None where no rule knows."""
    protocol = item.fact.split(".")[0]
    if item.key not in item.flows:
        return "decoding", TSHARK, ""
    if item.fact in ("dns.rrname", "dns.rrtype") and not item.theirs and item.one and "dns" in item.one.there:
        return "no-question", BOTH, ""
    count = lambda text: int(text or 0)
    if item.fact == "dns.addresses" and item.one and item.two:
        less = item.one.addresses > item.two.addresses
    else:
        less = item.fact in ("dns.queries", "dns.responses") and count(item.ours) < count(item.theirs)
    if less and item.two and "flows.prefix_bytes" in item.limits:
        return "prefix", TSHARK, ""
    payloads = tshark.payloads(item)
    if not payloads:
        return "decoding", OURS, ""
    if item.key[0] == "TCP" and protocol == "dns":
        payloads = [payload[2:] for payload in payloads]
    begins = [BEGINS[protocol](payload) for payload in payloads]
    if item.theirs and (not item.two or protocol not in item.two.there):
        if not any(begins):
            return "guess", OURS, f"its first payload is {payloads[0][:16].hex() or 'empty'}"
        if not begins[0]:
            return "begun", TSHARK, f"payload {begins.index(True) + 1} is the first that is one"
    if item.ours and (not item.one or protocol not in item.one.there) and begins[0]:
        return "port", OURS, f"its first payload is {payloads[0][:16].hex()}"
    if less and not all(begins):
        return "broken", TSHARK, f"payload {begins.index(False) + 1} is {payloads[begins.index(False)][:16].hex() or 'empty'}"
    return BY_HAND.get((item.capture.rsplit("__")[-1], protocol))


class Difference:
    def __init__(self, capture, key, fact, theirs, ours, one, two, limits, flows):
        self.capture, self.key, self.fact, self.theirs, self.ours = capture, key, fact, theirs, ours
        self.one, self.two, self.limits, self.flows = one, two, limits, flows
        self.verdict = None


def where(key):
    proto, one, other = key
    return f"{proto} {one[0]}:{one[1]} {other[0]}:{other[1]}"


def compare(capture, theirs, found, totals, rows, oracle):
    ours, limits, flows = found
    lines = []
    for key in sorted({*theirs, *ours}, key=where):
        one, two = theirs.get(key), ours.get(key)
        left, right = settle(one) if one else {}, settle(two) if two else {}
        for fact in sorted({*left, *right}):
            says, say = left.get(fact, ""), right.get(fact, "")
            totals[fact, "tshark"] += bool(says)
            totals[fact, "we"] += bool(say)
            totals[fact, "equal"] += says == say
            if says != say:
                rows.append(Difference(capture, key, fact, says, say, one, two, limits, flows))
            if say:
                lines.append(f"{where(key)} {fact}={say}\n")
    if lines:
        digest = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:16]
        oracle.append(f"{capture}\t{len(lines)}\t{digest}\n")


def cell(text):
    text = text if len(text) <= 90 else text[:90] + "…"
    return text.replace("|", "\\|").replace("\n", " ")


def write(out, captures, totals, rows, oracle, version):
    lines = ["# Names, and what is recognised by content: what tshark and we find", ""]
    lines += [
        f"Written by `names.py` over {len(captures)} captures with {version}; do not edit. How to write it again stands in",
        "[README.md](README.md). Counted are pairs of endpoints in a capture for which one of both says something.",
        "",
        "| what | tshark | we | equal | of all that one of both says | tshark is right |",
        "|---|---|---|---|---|---|",
    ]
    wrong = collections.Counter(row.fact for row in rows if row.verdict and row.verdict[1] == TSHARK)
    either = collections.Counter(row.fact for row in rows)
    for fact in sorted({fact for fact, _ in totals}):
        equal = totals[fact, "equal"]
        all_of = equal + either[fact]
        lines.append(
            f"| `{fact}` | {totals[fact, 'tshark']} | {totals[fact, 'we']} | {equal} | {100 * equal / all_of:.2f} % "
            f"| {wrong[fact]} ({100 * wrong[fact] / all_of:.2f} %) |"
        )
    lines += ["", "## Classes of differences", "", "| class | rows | who is right | what |", "|---|---|---|---|"]
    grouped = collections.defaultdict(list)
    for row in rows:
        grouped[(row.verdict or ("UNEXPLAINED", "?", ""))[0]].append(row)
    for name in [*CLASSES, *sorted(set(grouped) - set(CLASSES))]:
        if grouped[name]:
            right = ", ".join(sorted({row.verdict[1] if row.verdict else "?" for row in grouped[name]}))
            lines.append(f"| `{name}` | {len(grouped[name])} | {right} | {CLASSES.get(name, '')} |")
    lines += ["", f"## All {len(rows)} differences", "", "| capture | pair | what | tshark says | we say | class | right | why |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for row in rows:
        name, right, why = row.verdict or ("UNEXPLAINED", "?", "")
        cells = (row.capture, where(row.key), row.fact, row.theirs or "–", row.ours or "–", name, right, why)
        lines.append("| " + " | ".join(map(cell, cells)) + " |")
    (out / "names-differences.md").write_text("\n".join(lines) + "\n")
    (out / "names.tsv").write_text("".join(oracle))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="the data, with `train` and `badinput`")
    parser.add_argument("veilwatch", help="the command; quoted where it has arguments")
    parser.add_argument("out", type=pathlib.Path, help="where the lists are written")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="keeps tshark's output between runs")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only-tshark", action="store_true", help="fill the cache, and no more")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    captures = []
    for part in ("train", "badinput"):
        with open(args.folder / part / "captures.csv", newline="") as table:
            captures += sorted(f"{part}/{row['path']}" for row in csv.DictReader(table) if row["kind"] not in DAMAGED)
    tshark, command = Tshark(args.folder, args.cache), shlex.split(args.veilwatch)
    if args.only_tshark:
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(tshark.run, captures))
        return 0
    totals, rows = collections.Counter(), []
    oracle = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        theirs = pool.map(tshark.pairs, captures)
        found = pool.map(lambda capture: ours(command, args.folder, capture), captures)
        for capture, one, two in zip(captures, theirs, found):
            compare(capture, one, two, totals, rows, oracle)
        for row, verdict in zip(rows, pool.map(lambda row: explain(tshark, row), rows)):
            row.verdict = verdict
    version = subprocess.run(["tshark", "--version"], capture_output=True, text=True).stdout.split(" (Git")[0].strip()
    write(args.out, captures, totals, rows, oracle, version)
    left = [row for row in rows if row.verdict is None]
    for row in left:
        print(f"unexplained: {row.capture}, {where(row.key)}, {row.fact}: {row.theirs} / {row.ours}")
    print(f"{len(rows)} differences, {len(left)} unexplained")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
