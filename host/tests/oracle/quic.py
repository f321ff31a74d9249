#!/usr/bin/env python3
"""Lists what tshark reads of the ClientHellos in QUIC, in every capture of a folder: `tests/quic_oracle.rs` holds ours to it.

    quic.py ../shared/data host/tests/oracle/quic-tshark.tsv --cache /tmp/veilwatch-oracle

Every capture in which there might be QUIC is a line of its own; below it stands a line for each ClientHello: packet, the
client's port, the server's, SNI, JA4. tshark 4.0 prints no JA4: it is calculated here, from the lists of code points that
tshark prints. A hello that is repeated between the same hosts is listed once.

Needs tshark 4.0 and nothing else beside Python.
"""

import argparse
import concurrent.futures
import csv
import hashlib
import os
import pathlib
import re
import subprocess
import zlib

FIELDS = (
    "frame.number ip.src ipv6.src udp.srcport ip.dst ipv6.dst udp.dstport tls.handshake.extensions_server_name "
    "tls.handshake.ja3 tls.handshake.version tls.handshake.ciphersuite tls.handshake.extension.type "
    "tls.handshake.sig_hash_alg tls.handshake.sig_hash_alg_len tls.handshake.extensions.supported_version tls.handshake.extensions_alpn_str"
).split()

# What begins every packet that has an Initial: a long header with a version, or an old one of Google's.
LOOKS_LIKE_QUIC = re.compile(
    rb"[\xc0-\xff](?:\x00\x00\x00\x01|k3C\xcf|\xff\x00\x00[\x16-\x22]|[QT]0[0-9][0-9]|\xfa\xce\xb0[\x00-\x02])[\x00-\x14]",
    re.DOTALL,
)


def grease(code):
    return code & 0x0F0F == 0x0A0A and code >> 8 == code & 0xFF


def numbers(cell):
    return [code for code in (int(part, 0) for part in cell.split("|") if part) if not grease(code)]


def algorithms_of(row):
    """The list of extension 13: those of extensions 34 and 50 have the same name to tshark."""
    lists = [int(kind, 0) for kind in row["tls.handshake.extension.type"].split("|") if kind in ("13", "34", "50")]
    cell = row["tls.handshake.sig_hash_alg"].split("|")
    for kind, length in zip(lists, row["tls.handshake.sig_hash_alg_len"].split("|")):
        part, cell = cell[: int(length) // 2], cell[int(length) // 2 :]
        if kind == 13:
            return numbers("|".join(part))
    return []


def ja4(row):
    """JA4 by its definition (FoxIO, 2023), over the lists of one hello."""
    version, ciphers, extensions, versions = (
        numbers(row[name])
        for name in (
            "tls.handshake.version",
            "tls.handshake.ciphersuite",
            "tls.handshake.extension.type",
            "tls.handshake.extensions.supported_version",
        )
    )
    algorithms = algorithms_of(row)
    best = max(versions or version)
    code = {0x0304: "13", 0x0303: "12"}.get(best, "00")
    alpn = row["tls.handshake.extensions_alpn_str"].split("|")[0].encode()
    ends = "00"
    if alpn:
        ends = alpn[:1] + alpn[-1:]
        ends = ends.decode() if ends.isalnum() else alpn.hex()[0] + alpn.hex()[-1]
    first = f"q{code}{'d' if 0 in extensions else 'i'}{min(len(ciphers), 99):02}{min(len(extensions), 99):02}{ends}"

    def twelve(text):
        return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12

    def listed(codes):
        return ",".join(f"{code:04x}" for code in codes)

    third = listed(sorted(code for code in extensions if code not in (0, 16)))
    if algorithms and extensions:
        third += "_" + listed(algorithms)
    return f"{first}_{twelve(listed(sorted(ciphers)))}_{twelve(third)}"


def worth_asking(path):
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = zlib.decompressobj(31).decompress(data)
        except zlib.error:
            return False
    return LOOKS_LIKE_QUIC.search(data) is not None


def ask(folder, capture, cache):
    """tshark's lines over one capture, kept in the cache."""
    kept = cache / (capture.replace("/", "__") + ".quic.tsv")
    if not kept.exists():
        text = ""
        if worth_asking(folder / capture):
            command = ["nice", "-n", "19", "tshark", "-n", "-r", str(folder / capture)]
            command += ["-Y", "quic && tls.handshake.type == 1"]
            command += "-T fields -E separator=/t -E occurrence=a -E aggregator=|".split()
            for field in FIELDS:
                command += ["-e", field]
            text = subprocess.run(command, capture_output=True, text=True).stdout
        part = kept.with_suffix(".part")
        part.write_text(text)
        part.rename(kept)
    rows = (line.split("\t") for line in kept.read_text().splitlines())
    return [dict(zip(FIELDS, row)) for row in rows if len(row) == len(FIELDS)]


def inner(cell):
    """The innermost of several headers."""
    return cell.split("|")[-1]


def hellos(folder, capture, cache):
    """The capture's lines; none where nothing in it looks like QUIC."""
    seen = set()
    lines = []
    for row in ask(folder, capture, cache):
        hosts = tuple(inner(row[f"ip.{side}"] or row[f"ipv6.{side}"]) for side in ("src", "dst"))
        ports = tuple(inner(row[f"udp.{side}port"]) for side in ("src", "dst"))
        sni = row["tls.handshake.extensions_server_name"].split("|")[0]
        # Several hellos in one packet are told apart by nothing in such a line.
        whole = "|" not in row["tls.handshake.version"]
        found = (*ports, sni, ja4(row) if whole else "?")
        if (hosts, found) not in seen:
            seen.add((hosts, found))
            lines.append((row["frame.number"], *found))
    return lines if lines or worth_asking(folder / capture) else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("table", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    captures = []
    for part in ("train", "badinput"):
        with open(arguments.folder / part / "captures.csv", newline="") as table:
            captures += sorted(f"{part}/{row['path']}" for row in csv.DictReader(table))
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        rows = list(pool.map(lambda capture: hellos(arguments.folder, capture, arguments.cache), captures))
    found = {capture: lines for capture, lines in zip(captures, rows) if lines is not None}
    with open(arguments.table, "w") as table:
        table.write("# Written by quic.py; do not edit.\n")
        for capture, lines in found.items():
            table.write(f"{capture}\n")
            for line in lines:
                table.write("\t" + "\t".join(line) + "\n")
    print(f"{len(captures)} captures, {len(found)} asked, {sum(map(len, found.values()))} ClientHellos")


if __name__ == "__main__":
    main()
