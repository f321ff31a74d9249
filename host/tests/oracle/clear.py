#!/usr/bin/env python3
"""Stores what tshark reads in clear of every TCP stream: the first HTTP request and response, and the greetings of SMTP,
FTP, IMAP and POP3. `clear_oracle.rs` holds ours against it.

    clear.py ../shared/data host/tests/oracle/clear-tshark.tsv.gz --cache /tmp/veilwatch-oracle

A line for each stream: capture, packet that tshark reads first in it, both ends, and then the values, in the order of
`VALUES`. Bytes that would break a line are escaped as tshark does it. Needs tshark 4.0 and nothing else beside Python.
"""

import subprocess

from streams import ENDS, MANY, ends, first, may_say, store

FIELDS = (
    ["frame.number", "tcp.stream", "frame.protocols", *ENDS]
    + "http.request.method http.host http.user_agent http.response.code smtp.response.code smtp.rsp.parameter".split()
    + "ftp.response.code ftp.response.arg imap.line pop.response.indicator pop.response.description".split()
)
WHAT = "tcp && (http.request || http.response || smtp.rsp || ftp.response || imap || pop.response)"
VALUES = "method host user_agent status smtp ftp imap pop3".split()
# A capture without any of these has nothing to ask about: asking takes a second.
SIGNS = (b"HTTP/1.", b"220 ", b"220-", b"+OK", b"* OK")
# Heads are told when they are whole, and not with their bodies; segments are put in order, as we do it.
OPTIONS = ["-o", "http.desegment_body:FALSE", "-o", "tcp.reassemble_out_of_order:TRUE"]


def run(folder, capture, cache):
    """tshark's lines over a capture."""
    if not may_say(folder / capture, lambda data: any(sign in data for sign in SIGNS)):
        return []
    kept = cache / ("clear." + str(capture).replace("/", "__") + ".tsv")
    if not kept.exists():
        command = ["nice", "tshark", "-n", "-r", str(folder / capture), *OPTIONS, "-Y", WHAT]
        command += ["-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=" + MANY]
        for field in FIELDS:
            command += ["-e", field]
        done = subprocess.run(command, capture_output=True)
        part = kept.with_suffix(".part")
        part.write_bytes(done.stdout)
        part.rename(kept)
    text = kept.read_bytes().decode("utf-8", "surrogateescape")
    return [line.split("\t") for line in text.split("\n") if line.count("\t") == len(FIELDS) - 1]


def streams_of(rows):
    """The first of each value, by stream."""
    found = {}
    for row in rows:
        frame, number, protocols, *rest = row
        number = number.split(MANY)[-1]
        one, two = ends(protocols, rest[:6])
        method, host, agent, status, smtp_code, smtp, ftp_code, ftp, imap, sign, pop = rest[6:]
        request = bool(method)
        values = {
            "method": first(method),
            "host": first(host),
            "user_agent": first(agent),
            # What only says that an answer will follow is none.
            "status": next((code for code in status.split(MANY) if not code.startswith("1") or code == "101"), ""),
            "smtp": first(smtp) if first(smtp_code) in ("220", "421", "554") else "",
            "ftp": first(ftp) if first(ftp_code) in ("120", "220", "421") else "",
            "imap": first(imap).removesuffix("\\r\\n") if first(imap).startswith(("* OK", "* PREAUTH", "* BYE")) else "",
            "pop3": first(pop) if first(sign) == "+OK" else "",
        }
        stream = found.setdefault(number, {"frame": frame, "one": one, "two": two, "requested": False})
        for name, value in values.items():
            # Host and user agent are those of the first request, or of none.
            if name in ("host", "user_agent") and (stream["requested"] or not request):
                continue
            # A greeting comes before anything else that the protocol says.
            if value and not stream.get(name):
                stream[name] = value
        stream["requested"] |= request
    return found.values()


if __name__ == "__main__":
    store(__doc__.splitlines()[0], VALUES, lambda folder, capture, cache: streams_of(run(folder, capture, cache)))
