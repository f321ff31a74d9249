"""What the scripts share that store what tshark reads of TCP streams: which captures are asked about, who the two ends
are, and how the values are stored."""

import argparse
import concurrent.futures
import csv
import gzip
import pathlib
import zlib

FOLDERS = ("train", "badinput")
ENDS = "ip.src ipv6.src tcp.srcport ip.dst ipv6.dst tcp.dstport".split()
# Between the values of a field that occurs several times in a packet.
MANY = "\x1f"


def may_say(path, has_signs):
    """Whether a capture holds any of what tshark is asked about: asking takes a second."""
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        try:
            data = zlib.decompressobj(wbits=31).decompress(data)
        except zlib.error:
            return True
    return has_signs(data)


def first(text):
    return text.split(MANY)[0]


def ends(protocols, row):
    """Both ends, those of the innermost addresses."""
    innermost = [layer for layer in protocols.split(":") if layer in ("ip", "ipv6")][-1:]
    address = lambda four, six: (six if innermost == ["ipv6"] else four).split(MANY)[-1]
    four, six, port, other_four, other_six, other_port = row
    port, other_port = port.split(MANY)[-1], other_port.split(MANY)[-1]
    return f"{address(four, six)} {port}", f"{address(other_four, other_six)} {other_port}"


def store(words, values, streams):
    """The command: asks about every capture and stores a line for each stream that says something. `streams` gives those of
    a capture, each with `frame`, `one`, `two` and some of the `values`."""
    parser = argparse.ArgumentParser(description=words)
    parser.add_argument("folder", type=pathlib.Path, help="the data, with train and badinput")
    parser.add_argument("out", type=pathlib.Path, help="where the values are stored")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="keeps tshark's output between runs")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    captures = []
    for part in FOLDERS:
        with open(args.folder / part / "captures.csv", newline="") as table:
            captures += sorted(f"{part}/{row['path']}" for row in csv.DictReader(table))
    lines = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for capture, found in zip(captures, pool.map(lambda capture: streams(args.folder, capture, args.cache), captures)):
            for stream in found:
                told = [stream.get(name, "").replace("\t", " ") for name in values]
                if any(told):
                    lines.append("\t".join([capture, stream["frame"], stream["one"], stream["two"], *told]) + "\n")
    # Without a time, so that the same values are the same file.
    args.out.write_bytes(gzip.compress("".join(lines).encode("utf-8", "surrogateescape"), 9, mtime=0))
    print(f"{len(captures)} captures, {len(lines)} streams")
