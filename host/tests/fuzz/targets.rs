//! What is fuzzed: every template in the box, decoding, the readers of captures, models, and display filters. Shared by the test beside it, the runner
//! (`host/examples/fuzz.rs`) and the targets of `cargo fuzz`.

#[path = "models.rs"]
pub(crate) mod models;
#[path = "queries.rs"]
pub(crate) mod queries;

use std::collections::BTreeSet;
use std::hash::Hash;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use veilwatch::builtin;
use veilwatch::source::{InputLimits, Source};
use veilwatch_core::packet::{DecodeLimits, Decoded, Decoder, LinkType, Packet, Skip, decode, shard_hint};
use veilwatch_core::plugin::{Declaration, PluginError, PluginKind};
use veilwatch_testkit::fuzz::{Input, Look, Reading, Seen};

/// Reads an input, and holds what is read to what has to hold.
type Run = dyn Fn(&Input, Look) -> Result<Seen, String> + Send + Sync;

/// Something that reads traffic, or a model.
pub(crate) struct Target {
    /// Its name, which its corpus has too.
    pub(crate) name: String,
    run: Box<Run>,
}

impl Target {
    fn new(name: &str, run: impl Fn(&Input, Look) -> Result<Seen, String> + Send + Sync + 'static) -> Self {
        Self { name: name.to_owned(), run: Box::new(run) }
    }

    /// Reads an input.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn read(&self, input: &Input, look: Look) -> Result<Seen, String> {
        (self.run)(input, look)
    }

    /// Where its corpus is.
    pub(crate) fn corpus(&self) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus")).join(&self.name)
    }
}

/// All targets.
///
/// # Errors
/// What a plugin says when it is made.
pub(crate) fn targets() -> Result<Vec<Target>, PluginError> {
    let all = builtin::declarations();
    let mut targets = vec![Target::new("packets", packets), Target::new("captures", captures)];
    targets.extend(models::targets(&all));
    targets.push(queries::target()?);
    let templates: Vec<Declaration> = all.into_iter().filter(|one| one.manifest.kind == PluginKind::Protocol).collect();
    for template in &templates {
        // What it hands on is read too: QUIC's handshake is that of TLS.
        let mut order = vec![template.clone()];
        order.extend(
            templates.iter().filter(|one| one.manifest.name == "tls" && template.manifest.name != "tls").cloned(),
        );
        let reading = Reading::new(&order)?;
        let reading = if template.manifest.name == "tls" { reading.behind_a_syn() } else { reading };
        targets.push(Target::new(&template.manifest.name, move |input, look| reading.read(input, look)));
    }
    // As a pipeline has them: one hands over to the other.
    let all = Reading::new(&templates)?.behind_a_syn();
    targets.push(Target::new("all-templates", move |input, look| all.read(input, look)));
    Ok(targets)
}

/// Frames of one link type, which the first two bytes give: each by itself, and all with a memory for fragments.
fn packets(input: &Input, look: Look) -> Result<Seen, String> {
    let link = LinkType(u16::from_be_bytes(input.how));
    let mut decoder = Decoder::new(DecodeLimits::default(), 1);
    let mut seen = Seen::default();
    for (number, piece) in (1..).zip(&input.pieces) {
        // Some frames were cut by the capture.
        let wire_len = piece.bytes.len() as u32 + u32::from(piece.mark & 1) * 1000;
        let time_ns = number * if piece.mark & 2 == 0 { 1_000 } else { 7_000_000_000 };
        let packet = Packet { number, time_ns, link, wire_len, data: &piece.bytes };
        let alone = decode(&packet);
        let shard = shard_hint(&packet);
        if let Ok(decoded) = &alone {
            sound(decoded, Some(&piece.bytes))?;
        }
        let joined =
            decoder.decode(0, &packet).map(|decoded| (decoded.src_port, decoded.payload.len(), sound(&decoded, None)));
        match (&alone, &joined) {
            (Ok(decoded), Ok((port, len, _))) if (decoded.src_port, decoded.payload.len()) != (*port, *len) => {
                return Err(format!("with a memory another packet is read: {decoded:?}"));
            }
            (Ok(decoded), Err(skip)) => return Err(format!("with a memory nothing is read ({skip:?}): {decoded:?}")),
            (_, Ok((_, _, Err(why)))) => return Err(why.clone()),
            _ => {}
        }
        if look == Look::ALL && (decode(&packet) != alone || shard_hint(&packet) != shard) {
            return Err("the same frame is read otherwise the second time".into());
        }
        let outcome = |skip: Skip| skip.name();
        (link.is_known().then_some(link.0), joined.map(|(port, ..)| port == 0).map_err(outcome)).hash(&mut seen);
        alone.map(|decoded| (decoded.protocol, decoded.lan > 0)).map_err(outcome).hash(&mut seen);
    }
    decoder.finish();
    Ok(seen)
}

/// A packet that does not contradict itself, whose payload stands in the frame.
fn sound(decoded: &Decoded<'_>, frame: Option<&[u8]>) -> Result<(), String> {
    let range = decoded.payload.as_ptr_range();
    let within = frame.is_none_or(|frame| {
        let frame = frame.as_ptr_range();
        range.is_empty() || frame.start <= range.start && range.end <= frame.end
    });
    let known = decoded.tcp.is_some() == (decoded.protocol == 6) && matches!(decoded.protocol, 6 | 17);
    if !within || !known || decoded.payload.len() > decoded.payload_len as usize || decoded.payload_len > decoded.ip_len
    {
        return Err(format!("a packet that cannot be: {decoded:?}"));
    }
    Ok(())
}

/// The pieces, one behind the other, are a file: what is not packed is read the same in large blocks, in small ones and byte by
/// byte.
fn captures(input: &Input, look: Look) -> Result<Seen, String> {
    let file: Vec<u8> = input.pieces.iter().flat_map(|piece| &piece.bytes).copied().collect();
    let limits =
        InputLimits { packet_bytes: 4096, unpacked_bytes: 1 << 20, block_bytes: 8192, ..InputLimits::default() };
    let small = InputLimits { block_bytes: 64, ..limits.clone() };
    let whole = drain(Source::from_reader(String::new(), Cursor::new(file.clone()), &limits), file.len())?;
    // Decoders forget what they have unpacked in the call in which they notice that a stream is broken, so that it matters how
    // much they are given.
    let packed = [&b"\x1f\x8b"[..], b"\x28\xb5\x2f\xfd"].iter().any(|magic| file.starts_with(magic));
    if !packed && (look == Look::ALL || input.how[1] & 1 != 0) {
        let other = drain(Source::from_reader(String::new(), Cursor::new(file.clone()), &small), file.len())?;
        let slow = if look == Look::ALL || input.how[1] & 2 != 0 {
            drain(Source::from_reader(String::new(), Trickle(Cursor::new(file.clone())), &small), file.len())?
        } else {
            other
        };
        if whole.sum != other.sum || whole.sum != slow.sum {
            return Err(format!("in small blocks it is another capture: {whole:?}, {other:?}, {slow:?}"));
        }
    }
    Ok(whole.seen)
}

/// What a capture is, as a sum over its packets and where it ended, and roughly.
#[derive(Debug, Clone, Copy)]
struct Drained {
    sum: Seen,
    seen: Seen,
}

fn drain(source: Result<Source, veilwatch::source::SourceError>, file: usize) -> Result<Drained, String> {
    let (mut sum, mut seen) = (Seen::default(), Seen::default());
    let mut source = match source {
        Ok(source) => source,
        Err(error) => {
            std::mem::discriminant(&error).hash(&mut seen);
            return Ok(Drained { sum: seen, seen });
        }
    };
    let (mut recycled, mut count, mut links) = (None, 0, BTreeSet::new());
    loop {
        let block = match source.next_block(recycled.take()) {
            Ok(Some(block)) => block,
            Ok(None) => break,
            Err(error) => {
                std::mem::discriminant(&error).hash(&mut sum);
                break;
            }
        };
        for packet in block.packets() {
            count += 1;
            if packet.number != count || (packet.wire_len as usize) < packet.data.len() || packet.data.len() > 4096 {
                return Err(format!(
                    "a packet that cannot be: {} of {count}, {} bytes",
                    packet.number,
                    packet.data.len()
                ));
            }
            (packet.time_ns, packet.link.0, packet.wire_len, packet.data).hash(&mut sum);
            links.insert(packet.link.0);
        }
        recycled = Some(block);
    }
    let status = source.status();
    if status.packets != count || status.file_bytes > file as u64 {
        return Err(format!("it counts otherwise than it reads: {status:?}"));
    }
    let damage = status.damage.as_ref().map(|damage| damage.what.split_whitespace().take(4).collect::<Vec<_>>());
    (count, &damage).hash(&mut sum);
    (count.checked_ilog2(), damage, links.len(), status.format, status.compression).hash(&mut seen);
    Ok(Drained { sum, seen })
}

/// Gives one byte at a time.
struct Trickle(Cursor<Vec<u8>>);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = buffer.len().min(1);
        self.0.read(&mut buffer[..end])
    }
}
