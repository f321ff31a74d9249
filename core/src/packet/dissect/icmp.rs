//! ICMP (RFC 792) and ICMPv6 (RFC 4443, RFC 4861).

use super::part::Part;
use super::tree::Datum;
use super::walk::{Envelope, Next, Walk};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 8;

/// The fields and words of one of the two.
struct Form {
    label: &'static str,
    layer: &'static str,
    kind: &'static str,
    code: &'static str,
    checksum: (&'static str, &'static str),
    identifier: &'static str,
    sequence: &'static str,
    mtu: &'static str,
}

const V4: Form = Form {
    label: "ICMP",
    layer: "icmp",
    kind: "icmp.type",
    code: "icmp.code",
    checksum: ("icmp.checksum", "icmp.checksum.status"),
    identifier: "icmp.ident",
    sequence: "icmp.seq",
    mtu: "icmp.mtu",
};

const V6: Form = Form {
    label: "ICMPv6",
    layer: "icmpv6",
    kind: "icmpv6.type",
    code: "icmpv6.code",
    checksum: ("icmpv6.checksum", "icmpv6.checksum.status"),
    identifier: "icmpv6.echo.identifier",
    sequence: "icmpv6.echo.sequence_number",
    mtu: "icmpv6.mtu",
};

/// What a message is, beside its number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A question or an answer with an identifier and a number.
    Echo,
    /// An error that quotes the packet it is about.
    Error,
    /// The same, with a size that would have fit.
    TooBig,
    /// The same, with a better way for IPv4.
    Redirect,
    /// One that names an address of a neighbour, behind four bytes.
    Neighbour,
    Other,
}

fn words4(kind: u8, code: u8) -> (&'static str, &'static str, Kind) {
    const UNREACHABLE: [&str; 16] = [
        "network unreachable",
        "host unreachable",
        "protocol unreachable",
        "port unreachable",
        "fragmentation needed",
        "source route failed",
        "network unknown",
        "host unknown",
        "source isolated",
        "network prohibited",
        "host prohibited",
        "network unreachable for this service",
        "host unreachable for this service",
        "prohibited by a filter",
        "precedence violated",
        "precedence too low",
    ];
    let code_of = |words: &[&'static str]| words.get(usize::from(code)).copied().unwrap_or_default();
    match kind {
        0 => ("echo reply", "", Kind::Echo),
        3 if code == 4 => ("destination unreachable", code_of(&UNREACHABLE), Kind::TooBig),
        3 => ("destination unreachable", code_of(&UNREACHABLE), Kind::Error),
        4 => ("source quench", "", Kind::Error),
        5 => ("redirect", code_of(&["for the network", "for the host"]), Kind::Redirect),
        8 => ("echo request", "", Kind::Echo),
        9 => ("router advertisement", "", Kind::Other),
        10 => ("router solicitation", "", Kind::Other),
        11 => ("time exceeded", code_of(&["on the way", "for reassembly"]), Kind::Error),
        12 => ("parameter problem", "", Kind::Error),
        13 => ("timestamp request", "", Kind::Echo),
        14 => ("timestamp reply", "", Kind::Echo),
        17 => ("address mask request", "", Kind::Echo),
        18 => ("address mask reply", "", Kind::Echo),
        _ => ("", "", Kind::Other),
    }
}

fn words6(kind: u8, code: u8) -> (&'static str, &'static str, Kind) {
    const UNREACHABLE: [&str; 7] = [
        "no route",
        "prohibited",
        "beyond the scope of the source",
        "address unreachable",
        "port unreachable",
        "source address refused by policy",
        "route rejected",
    ];
    let code_of = |words: &[&'static str]| words.get(usize::from(code)).copied().unwrap_or_default();
    match kind {
        1 => ("destination unreachable", code_of(&UNREACHABLE), Kind::Error),
        2 => ("packet too big", "", Kind::TooBig),
        3 => ("time exceeded", code_of(&["on the way", "for reassembly"]), Kind::Error),
        4 => ("parameter problem", code_of(&["header field", "next header", "option"]), Kind::Error),
        128 => ("echo request", "", Kind::Echo),
        129 => ("echo reply", "", Kind::Echo),
        130 => ("multicast listener query", "", Kind::Other),
        131 => ("multicast listener report", "", Kind::Other),
        132 => ("multicast listener done", "", Kind::Other),
        133 => ("router solicitation", "", Kind::Other),
        134 => ("router advertisement", "", Kind::Other),
        135 => ("neighbour solicitation", "", Kind::Neighbour),
        136 => ("neighbour advertisement", "", Kind::Neighbour),
        137 => ("redirect", "", Kind::Neighbour),
        143 => ("multicast listener report, version 2", "", Kind::Other),
        _ => ("", "", Kind::Other),
    }
}

/// A message; `protocol` is 1 or 58.
pub(super) fn draw<'a>(walk: &mut Walk<'_, 'a>, protocol: u8, part: Part<'a>, envelope: Envelope) -> Next<'a> {
    let form = if protocol == 1 { &V4 } else { &V6 };
    let Some([kind, code, high, low]) = part.bytes::<4>(0) else {
        return walk.cut(form.layer, form.label, part, HEADER);
    };
    let (name, reason, what) = if protocol == 1 { words4(kind, code) } else { words6(kind, code) };
    let length = part.wire.min(HEADER);
    let shown = if name.is_empty() { format!("type {kind}") } else { name.to_owned() };
    walk.draw.open(form.layer, form.label, &shown, Datum::Bytes, Some(part.range(0, length)));
    walk.draw.named(form.kind, "Type", kind, name, part.range(0, 1));
    walk.draw.named(form.code, "Code", code, reason, part.range(1, 1));
    // That of IPv4 covers the message alone.
    let status = walk.verify(part, 2, Some(58).filter(|_| protocol != 1), &envelope);
    walk.checksum(form.checksum, u16::from_be_bytes([high, low]), status, part.range(2, 2));
    let mut info = shown;
    if !reason.is_empty() {
        info.push_str(&format!(": {reason}"));
    }
    match what {
        Kind::Echo => {
            if let (Some(identifier), Some(sequence)) = (part.be16(4), part.be16(6)) {
                walk.draw.number(form.identifier, "Identifier", identifier, part.range(4, 2));
                walk.draw.number(form.sequence, "Sequence number", sequence, part.range(6, 2));
                info.push_str(&format!(", id {identifier} number {sequence}"));
            }
        }
        Kind::TooBig => {
            let (at, mtu) = if protocol == 1 { (6, part.be16(6).map(u32::from)) } else { (4, part.be32(4)) };
            if let Some(mtu) = mtu {
                walk.draw.number(form.mtu, "Largest packet", mtu, part.range(at, HEADER - at));
                info.push_str(&format!(", largest {mtu}"));
            }
        }
        Kind::Redirect => {
            if let Some(gateway) = part.bytes::<4>(4).map(|ip| IpAddr::V4(Ipv4Addr::from(ip))) {
                let range = part.range(4, 4);
                walk.draw.leaf("icmp.redir_gw", "Gateway", &gateway.to_string(), Datum::Ip(gateway), Some(range));
                info.push_str(&format!(" to {gateway}"));
            }
        }
        Kind::Neighbour => {
            if let Some(target) = part.bytes::<16>(HEADER).map(|ip| IpAddr::V6(Ipv6Addr::from(ip))) {
                let field = match kind {
                    135 => "icmpv6.nd.ns.target_address",
                    136 => "icmpv6.nd.na.target_address",
                    _ => "icmpv6.rd.na.target_address",
                };
                let range = part.range(HEADER, 16);
                walk.draw.leaf(field, "Target", &target.to_string(), Datum::Ip(target), Some(range));
                info.push_str(&format!(" for {target}"));
            }
        }
        Kind::Error | Kind::Other => {}
    }
    let rest = part.after(HEADER).filter(|rest| !rest.data.is_empty() && !envelope.fragment);
    match (what, rest) {
        // An error about an error is not sent (RFC 1122), and one is enough to follow.
        (Kind::Error | Kind::TooBig | Kind::Redirect, Some(rest)) if !walk.quoted => {
            walk.draw.open("icmp.quoted", "Quoted packet", "", Datum::Bytes, Some(rest.all()));
            walk.quoted = true;
            walk.run(Next::Ip(rest));
            walk.quoted = false;
            walk.draw.close();
        }
        (Kind::Neighbour, _) | (_, None) => {}
        (_, Some(rest)) => {
            let words = format!("{} bytes", rest.data.len());
            walk.draw.leaf("data", "Data", &words, Datum::Bytes, Some(rest.all()));
        }
    }
    walk.draw.close();
    walk.say(form.label, info);
    Next::End
}
