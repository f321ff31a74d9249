use super::line;
use crate::output::plain;
use crate::packets::{PacketSink, PacketView};
use std::io::{self, Write};

/// Every packet as an indented tree, with where in the frame its layers stand.
#[derive(Debug)]
pub struct PacketTreeSink<W> {
    out: W,
}

impl<W: Write> PacketTreeSink<W> {
    /// Writes trees there.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> PacketSink for PacketTreeSink<W> {
    fn packet(&mut self, view: &PacketView<'_>) -> io::Result<()> {
        writeln!(self.out, "Packet {}: {}", view.packet.number, line(view))?;
        for node in &view.tree.nodes {
            let indent = "  ".repeat(usize::from(node.depth) + 1);
            write!(self.out, "{indent}{}", plain(&node.label))?;
            if !node.value.is_empty() {
                write!(self.out, ": {}", plain(&node.value))?;
            }
            match &node.bytes {
                Some(bytes) if node.depth == 0 => writeln!(self.out, " [bytes {} to {}]", bytes.start, bytes.end)?,
                _ => writeln!(self.out)?,
            }
        }
        if view.tree.left_out > 0 {
            writeln!(self.out, "  {} more nodes are left out", view.tree.left_out)?;
        }
        writeln!(self.out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
