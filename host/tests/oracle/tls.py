#!/usr/bin/env python3
"""Stores what tshark reads of the handshake of TLS in every TCP stream: what the client offers, what the server chooses,
and the server's own certificate. `tls_oracle.rs` holds ours against it.

    tls.py ../shared/data host/tests/oracle/tls-tshark.tsv.gz --cache /tmp/veilwatch-oracle

A line for each stream: capture, packet that tshark reads first in it, both ends, and then the values, in the order of
`VALUES`. Numbers are hexadecimal. Of several ClientHellos the first counts, of several ServerHellos the first that is no
HelloRetryRequest. Of names, tshark's fields have only how many parts they have, so that these come from its long form,
which cuts what is longer than 240 bytes: such a subject begins with `...`. Needs tshark 4.0 and nothing else beside Python.
"""

import re
import subprocess

from streams import ENDS, MANY, ends, first, may_say, store

FIELDS = ["frame.number", "tcp.stream", "frame.protocols", *ENDS] + (
    "tls.handshake.type tls.handshake.version tls.handshake.extensions.supported_version tls.handshake.ciphersuite "
    "tls.handshake.extensions_server_name tls.handshake.extensions_alpn_str tls.handshake.ja3 tls.handshake.ja3s "
    "tls.handshake.random x509af.serialNumber"
).split()
VALUES = "sni alpn version versions ciphers ja3 selected cipher ja3s serial subject".split()
WHAT = "tcp && (tls.handshake.type == 1 || tls.handshake.type == 2 || tls.handshake.type == 11)"
# Segments are put in order, as we do it.
OPTIONS = ["-o", "tcp.reassemble_out_of_order:TRUE"]
# The random of a HelloRetryRequest (RFC 8446 section 4.1.3) begins so.
RETRY = "cf21ad74e59a6111"
# A capture without any of these has nothing to ask about: asking takes a second. A record that begins with
# a hello or a certificate, or a hello in SSL 2.0 form.
HELLO = re.compile(rb"\x16[\x03\x01][\x00-\x04]..[\x01\x02\x0b]|\x80.\x01\x03[\x00-\x03]", re.DOTALL)
# tshark's names of what names are made of, and ours.
TYPES = {
    "id-at-commonName": "CN", "id-at-countryName": "C", "id-at-localityName": "L", "id-at-stateOrProvinceName": "ST",
    "id-at-organizationName": "O", "id-at-organizationalUnitName": "OU", "pkcs-9-at-emailAddress": "emailAddress",
    "id-at-streetAddress": "street", "dc": "DC", "id-at-serialNumber": "serialNumber", "id-at-postalCode": "postalCode",
    "id-at-businessCategory": "businessCategory", "id-at-name": "2.5.4.41",
    "jurisdictionOfIncorporationCountryName": "jurisdictionC",
    "jurisdictionOfIncorporationStateOrProvinceName": "jurisdictionST",
}
NAME = re.compile(r"rdnSequence: \d+ items? \((.*)$")
LONGEST = 235


def ask(folder, capture, cache, name, what):
    """tshark's output over a capture, which the cache keeps."""
    kept = cache / (f"tls-{name}." + capture.replace("/", "__") + ".txt")
    if not kept.exists():
        command = ["nice", "-n", "5", "tshark", "-n", "-r", str(folder / capture), *OPTIONS, *what]
        done = subprocess.run(command, capture_output=True)
        part = kept.with_suffix(".part")
        lines = done.stdout.split(b"\n")
        part.write_bytes(b"\n".join(filter(wanted, lines) if name == "long" else lines))
        part.rename(kept)
    return kept.read_text(errors="replace").split("\n")


def wanted(line):
    return line.startswith(b"Frame ") or line.lstrip().startswith((b"Handshake Protocol: ", b"rdnSequence: ", b"subject: "))


def fields(folder, capture, cache):
    what = ["-Y", WHAT, *"-T fields -E separator=/t -E occurrence=a".split(), "-E", "aggregator=" + MANY]
    for field in FIELDS:
        what += ["-e", field]
    lines = ask(folder, capture, cache, "fields", what)
    return [line.split("\t") for line in lines if line.count("\t") == len(FIELDS) - 1]


def subjects(folder, capture, cache):
    """By packet, the subject of the first certificate of the first list in it."""
    found, frame, place = {}, None, ""
    for line in ask(folder, capture, cache, "long", ["-Y", "tcp && tls.handshake.type == 11", "-V", "-O", "tls"]):
        text = line.strip()
        if line.startswith("Frame "):
            frame, place = line.split()[1].rstrip(":"), ""
        elif text.startswith("Handshake Protocol: "):
            place = "list" if text == "Handshake Protocol: Certificate" else ""
        elif text.startswith("subject: ") and place == "list":
            place = "subject"
        elif place == "subject" and (name := NAME.match(text)):
            found.setdefault(frame, subject(name[1]))
            place = "over"
        elif place == "subject" and text.startswith("rdnSequence: 0 items"):
            found.setdefault(frame, "")
            place = "over"
    return found


def subject(label):
    """A name as we write it, and without its escapes: tshark writes it from its end, and zeros between the letters of a
    BMPString."""
    label = label.replace("\\000", "")
    cut = not label.endswith(")") or len(label.encode()) >= LONGEST
    parts = re.split(r",(?=(?:id-at|pkcs-9-at)-\w+=|jurisdiction\w+=|dc=|[0-9.]+=)", label.removesuffix(")"))
    if cut:
        # The last one is cut, or has what is left of the one behind it.
        parts.pop()
    kinds = (part.partition("=") for part in reversed(parts))
    return ("..." if cut else "") + ", ".join(f"{TYPES.get(kind, kind)}={value}" for kind, _, value in kinds)


def codes(text):
    """Code points as they stand, without their `0x`."""
    return " ".join(f"{int(code, 0):04x}" for code in text.split(MANY) if code)


def streams_of(rows, names):
    found = {}
    for row in rows:
        frame, number, protocols = row[:3]
        kinds, version, supported, suites, sni, alpn, ja3, ja3s, random, serials = row[9:]
        one, two = ends(protocols, row[3:9])
        stream = found.setdefault(number.split(MANY)[-1], {"frame": frame, "one": one, "two": two})
        kinds = kinds.split(MANY)
        if "1" in kinds and "version" not in stream:
            stream.update(
                sni=first(sni), alpn=",".join(filter(None, alpn.split(MANY))), version=codes(first(version)),
                versions=codes(supported), ciphers=codes(suites), ja3=first(ja3),
            )
        elif "2" in kinds and "selected" not in stream and not random.replace(":", "").startswith(RETRY):
            stream.update(
                selected=codes(first(supported) or first(version)), cipher=codes(first(suites)), ja3s=first(ja3s)
            )
        if "11" in kinds and "serial" not in stream:
            stream.update(serial=first(serials).removeprefix("0x"), subject=names.get(frame, ""))
    return found.values()


def lines_of(folder, capture, cache):
    if not may_say(folder / capture, lambda data: HELLO.search(data) is not None):
        return []
    rows = fields(folder, capture, cache)
    certificates = any("11" in row[9].split(MANY) for row in rows)
    return streams_of(rows, subjects(folder, capture, cache) if certificates else {})


if __name__ == "__main__":
    store(__doc__.splitlines()[0], VALUES, lines_of)
