//! Whether a flow is DNS: on its own ports by what a message must have, elsewhere by a message that holds in every part.

use crate::message::{Bad, Header, Message, Question};
use veilwatch_core::plugin::{Carrier, Probe, StreamView};

/// DNS, mDNS, LLMNR.
const PORTS: [u16; 3] = [53, 5353, 5355];

/// NetBIOS names (RFC 1002) have the form of DNS, and mean something else.
const NETBIOS: u16 = 137;

pub(crate) fn probe(stream: &StreamView<'_>) -> Probe {
    let bytes = if stream.forward.is_empty() { stream.backward } else { stream.forward };
    let ports = [stream.originator_port, stream.responder_port];
    if stream.carrier == Carrier::Udp {
        return match looks(bytes, bytes.len(), ports) {
            Ok(true) => Probe::Certain,
            _ => Probe::No,
        };
    }
    let Some((&[high, low], message)) = bytes.split_first_chunk() else { return Probe::Unsure };
    let len = usize::from(u16::from_be_bytes([high, low]));
    let there = &message[..message.len().min(len)];
    match looks(there, len, ports) {
        Ok(true) => Probe::Certain,
        // What is missing may be on its way.
        Err(Bad::Cut) if there.len() < len => Probe::Unsure,
        _ => Probe::No,
    }
}

/// Whether a message of `len` bytes, of which these are there, is one.
#[inline]
fn looks(message: &[u8], len: usize, ports: [u16; 2]) -> Result<bool, Bad> {
    if len < Header::LEN || ports.contains(&NETBIOS) {
        return Ok(false);
    }
    // On foreign protocols it ends here nearly always.
    let header = Header::read(message)?;
    let Header { response, opcode, reserved, questions, answers, authorities, additionals, rcode } = header;
    // Each question takes five bytes at least, each record eleven.
    let least = 5 * usize::from(questions) + 11 * (usize::from(answers) + usize::from(authorities));
    if reserved || !matches!(opcode, 0 | 1 | 2 | 4 | 5) || Header::LEN + least > len {
        return Ok(false);
    }
    let known = ports.iter().any(|port| PORTS.contains(port));
    if questions == 0 {
        // What mDNS announces, and what a server says to what it could not read.
        return Ok(known && response && (answers > 0 || authorities > 0 || additionals > 0 || rcode > 0));
    }
    if known {
        return match Question::read(message, Header::LEN) {
            Ok(_) => Ok(true),
            // What the capture cut is missing for good.
            Err(Bad::Cut) if message.len() == len => Ok(true),
            Err(bad) => Err(bad),
        };
    }
    if opcode != 0 || questions != 1 || rcode > 10 || !response && (answers > 0 || authorities > 0 || additionals > 1) {
        return Ok(false);
    }
    let (question, _) = Question::read(message, Header::LEN)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(byte);
    if question.kind == 0 || !matches!(question.class, 1 | 3 | 255) || !question.name.text().iter().all(plain) {
        return Ok(false);
    }
    // A message to the last byte, and no byte more.
    Ok(Message::read(message)?.end? == len)
}
