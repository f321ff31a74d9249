#!/usr/bin/env python3
"""Writes ssh-greeting.pcap: the beginnings of four SSH connections.

Nothing here was recorded: every packet is written below, with fixed times and
numbers, so that the same file comes out on every machine.  Up to the key
exchange SSH is plain text and lists of names, and that is all there is; what
would be encrypted is not imitated.

    ssh.py OUTPUT
"""
import hashlib
import struct
import sys

CLIENT, GATEWAY = "192.168.56.107", b"\x02\x56\x00\x00\x00\x01"
START = 1_700_000_000_000_000  # microseconds: 2023-11-14 22:13:20 UTC
SYN, ACK, PSH, FIN = 2, 16, 8, 1
packets = []  # (microseconds, frame)


def address(text):
    return bytes(int(part) for part in text.split("."))


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def names(*lists):
    return b"".join(struct.pack("!I", len(part)) + part for part in (",".join(l).encode() for l in lists))


def key_exchange(who):
    """The first binary packet (RFC 4253, sections 6 and 7.1): what one side can do."""
    cookie = hashlib.sha256(who.encode()).digest()[:16]
    ciphers, macs = ["aes128-ctr", "aes256-ctr"], ["hmac-sha2-256"]
    lists = names(["curve25519-sha256", "diffie-hellman-group14-sha256"], ["ssh-ed25519", "rsa-sha2-256"],
                  ciphers, ciphers, macs, macs, ["none"], ["none"], [], [])
    payload = b"\x14" + cookie + lists + b"\0" + b"\0" * 4
    padding = 8 - (len(payload) + 5) % 8
    padding += 8 * (padding < 4)
    return struct.pack("!IB", len(payload) + padding + 1, padding) + payload + b"\0" * padding


class Connection:
    """One TCP connection; the times are those of a wire between host and gateway."""

    def __init__(self, port, server, begin, round_trip, server_port=22):
        self.time = START + begin
        self.half = round_trip // 2
        self.ends = [(CLIENT, port), (server, server_port)]
        self.seq = [int.from_bytes(hashlib.sha256(b"%d" % (port + side)).digest()[:4], "big") for side in (0, 1)]
        self.ids = [port, port // 2]
        for side, flags in ((0, SYN), (1, SYN | ACK), (0, ACK)):
            self.segment(side, flags)
            self.time += self.half

    def segment(self, side, flags, data=b""):
        (src, src_port), (dst, dst_port) = self.ends[side], self.ends[1 - side]
        ack = self.seq[1 - side] if flags & ACK else 0
        tcp = struct.pack("!HHIIBBHHH", src_port, dst_port, self.seq[side], ack, 5 << 4, flags, 64240, 0, 0) + data
        pseudo = address(src) + address(dst) + struct.pack("!BBH", 0, 6, len(tcp))
        tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), self.ids[side] & 0xFFFF, 0x4000, (128, 52)[side], 6,
                         0, address(src), address(dst))
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        macs = [b"\x02\xd8\x61\x00\x00\x13", GATEWAY]
        packets.append((self.time, macs[1 - side] + macs[side] + b"\x08\x00" + ip + tcp))
        self.ids[side] += 1
        self.seq[side] = (self.seq[side] + len(data) + bool(flags & (SYN | FIN))) % 2**32

    def say(self, side, *parts, gap=300):
        """Sends parts, a packet each; the other side acknowledges."""
        for part in parts:
            self.segment(side, PSH | ACK, part)
            self.time += gap
        self.time += self.half
        self.segment(1 - side, ACK)
        self.time += 400

    def close(self):
        for side, flags in ((0, FIN | ACK), (1, FIN | ACK), (0, ACK)):
            self.segment(side, flags)
            self.time += self.half


def main():
    # As most are: both greet, then offer their algorithms.
    one = Connection(50022, "203.0.113.22", 0, 18_000)
    one.say(0, b"SSH-2.0-OpenSSH_9.6\r\n")
    one.say(1, b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u2\r\n")
    one.say(0, key_exchange("one"))
    one.say(1, key_exchange("other"))
    one.close()
    # The server has something to say first, not in whole lines, and listens elsewhere.
    two = Connection(50024, "198.51.100.23", 2_000_000, 31_000, 2222)
    two.say(1, b"Authorised users only.\r\nAll else is logg", b"ed.\r\nSSH-2.0-dropbear_2022.83\r\n")
    two.say(0, b"SSH-2.", b"0-PuTTY_Release_0.80\r\n")
    two.say(0, key_exchange("two"))
    two.close()
    # A scanner: it asks for the greeting, gives none, and goes.
    three = Connection(50026, "192.0.2.24", 4_000_000, 25_000)
    three.say(1, b"SSH-1.99-Router-1.25\n")
    three.close()
    # The capture ends in the middle of the client's greeting; of the server nothing was seen yet.
    four = Connection(50028, "203.0.113.25", 6_000_000, 40_000)
    four.segment(0, PSH | ACK, b"SSH-2.0-libssh_0.10.6 cut in the mid")
    with open(sys.argv[1], "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for time, frame in sorted(packets, key=lambda packet: packet[0]):
            out.write(struct.pack("<IIII", time // 1_000_000, time % 1_000_000, len(frame), len(frame)) + frame)


main()
