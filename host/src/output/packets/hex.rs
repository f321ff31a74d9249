use super::line;
use crate::packets::{PacketSink, PacketView};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Bytes of a line.
const LINE: usize = 16;

/// The bytes of every packet, sixteen a line, beside what they are as text.
#[derive(Debug)]
pub struct PacketHexSink<W> {
    out: W,
}

impl<W: Write> PacketHexSink<W> {
    /// Writes bytes there.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> PacketSink for PacketHexSink<W> {
    fn packet(&mut self, view: &PacketView<'_>) -> io::Result<()> {
        writeln!(self.out, "Packet {}: {}", view.packet.number, line(view))?;
        for (at, bytes) in view.packet.data.chunks(LINE).enumerate() {
            let (mut digits, mut text) = (String::new(), String::new());
            for (place, byte) in bytes.iter().enumerate() {
                let gap = if place == LINE / 2 { "  " } else { " " };
                let _ = write!(digits, "{gap}{byte:02x}");
                text.push(if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' });
            }
            writeln!(self.out, "{:04x} {digits:<49}  {text}", at * LINE)?;
        }
        writeln!(self.out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
