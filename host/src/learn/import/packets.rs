//! A table's rows become packets, and packets conversations.

use std::collections::BTreeMap;

/// Most rows of a table.
const ROWS: u64 = 10_000_000;

/// What a table holds.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// In the order of their first packets.
    pub(super) conversations: Vec<Conversation>,
    pub(super) packets: u64,
    pub(super) not_understood: u64,
}

/// All packets between two addresses.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// Row of the first packet, counted from 1.
    pub(super) first_packet: u64,
    pub(super) packets: Vec<Packet>,
}

impl Conversation {
    /// Seconds since 1970 of the first packet in the table.
    pub(super) fn first(&self) -> f64 {
        self.packets.first().map_or(0.0, |packet| packet.seconds)
    }
}

/// One packet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Packet {
    /// Seconds since 1970.
    pub(super) seconds: f64,
    /// Whether it goes the way of the conversation's first one.
    pub(super) forward: bool,
    /// Bytes.
    pub(super) length: f64,
    /// The lower of its ports, where it has any.
    pub(super) port: Option<u16>,
    /// The protocol's or service's name, in lower case.
    pub(super) service: String,
    /// The words of its summary, without what has digits in it.
    pub(super) words: Vec<String>,
}

/// Reads a table.
pub(super) fn read(bytes: &[u8]) -> Result<Table, &'static str> {
    let mut table = Table::default();
    let mut places: BTreeMap<[String; 2], (usize, String)> = BTreeMap::new();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    for (number, record) in reader.byte_records().enumerate() {
        if number as u64 >= ROWS {
            return Err("more rows than a table may have");
        }
        let cells: Vec<String> = match &record {
            Ok(record) => record.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect(),
            Err(_) => Vec::new(),
        };
        let Some((from, to, mut packet)) = understand(&cells) else {
            table.not_understood += 1;
            continue;
        };
        table.packets += 1;
        let ends = if from <= to { [from.to_owned(), to.to_owned()] } else { [to.to_owned(), from.to_owned()] };
        let conversations = &mut table.conversations;
        let (at, first) = places.entry(ends).or_insert_with(|| {
            conversations.push(Conversation { first_packet: number as u64 + 1, packets: Vec::new() });
            (conversations.len() - 1, from.to_owned())
        });
        packet.forward = from == first;
        if let Some(conversation) = table.conversations.get_mut(*at) {
            conversation.packets.push(packet);
        }
    }
    if table.packets == 0 { Err("no row of it is a packet as the origin's tables have them") } else { Ok(table) }
}

/// Source, destination, and the packet.
fn understand(cells: &[String]) -> Option<(&str, &str, Packet)> {
    let [time, from, to, rest @ .., _label] = cells else { return None };
    if from.is_empty() || to.is_empty() {
        return None;
    }
    let time = jiff::tz::Offset::UTC.to_timestamp(time.parse().ok()?).ok()?;
    // With ports the length comes first, without them the protocol does.
    let (length, summary, service, ports) = match rest {
        [length, summary @ .., one, other, service] if length.parse::<u32>().is_ok() => {
            (length, summary, service, [one.parse::<u16>(), other.parse::<u16>()])
        }
        [service, length, summary @ .., one, other] => {
            (length, summary, service, [one.parse::<u16>(), other.parse::<u16>()])
        }
        _ => return None,
    };
    let words = summary.iter().flat_map(|cell| cell.split(|c: char| !(c.is_alphanumeric() || c == '_')));
    // What has digits is an address, a port or a number: of the place, and not of what was said there.
    let words = words.filter(|word| word.len() > 1 && word.chars().all(|c| c.is_ascii_alphabetic() || c == '_'));
    let packet = Packet {
        seconds: time.as_second() as f64,
        forward: true,
        length: length.parse::<u32>().ok()?.into(),
        port: ports.into_iter().flatten().min(),
        service: service.to_ascii_lowercase(),
        words: words.map(str::to_ascii_lowercase).collect(),
    };
    Some((from, to, packet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_layout_are_understood_and_others_counted() {
        let text = "2021-04-25 14:17:22,10.0.0.1,192.0.2.1,219,Ether / IP / TCP 10.0.0.1:5086 > 192.0.2.1:7826 PA / Raw,5086,7826,TCP,good\n\
            2021-04-25 14:17:24,192.0.2.1,10.0.0.1,54,Ether / IP / TCP 192.0.2.1:7826 > 10.0.0.1:5086 A,7826,5086,TCP,good\n\
            2021-04-25 14:17:33,94:db:da:3e:8f:cf,de:5b:af:bd:f8:a6,ARP,56,Ether / ARP who has 10.0.0.9 / Padding,UnKnow,UnKnow,good\n\
            2021-05-04 22:55:21,10.0.0.1,224.0.0.251,551,Ether / IP / UDP / DNS Ans \"[b'a=1', b'b=2', b'c']\",5353,5353,MDNS,good\n\
            1970-01-01 08:00:00,,,,4,Raw,,,bad\n\
            yesterday,10.0.0.1,192.0.2.1,219,x,1,2,TCP,good\n\
            2021-04-25 14:17:22,10.0.0.1\n\
            2021-04-25 14:17:22,10.0.0.1,192.0.2.1,many,x,1,2,TCP,good\n";
        let table = read(text.as_bytes()).unwrap();
        assert_eq!((table.packets, table.not_understood, table.conversations.len()), (4, 4, 3));
        let first = &table.conversations[0].packets;
        assert_eq!((first[0].forward, first[1].forward), (true, false));
        assert_eq!(first[1].seconds - first[0].seconds, 2.0);
        assert_eq!(first[0].words, ["ether", "ip", "tcp", "pa", "raw"]);
        assert_eq!((first[0].port, first[0].length), (Some(5086), 219.0));
        let arp = &table.conversations[1].packets[0];
        assert_eq!((arp.port, &*arp.service, arp.length), (None, "arp", 56.0));
        let mdns = &table.conversations[2].packets[0];
        assert_eq!((mdns.port, &*mdns.service), (Some(5353), "mdns"));
        assert!(read(b"a,b\n").is_err() && read(b"").is_err() && read(&[0xff; 300]).is_err());
    }
}
