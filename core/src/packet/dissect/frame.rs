use super::part::Part;
use super::tree::Datum;
use super::walk::Walk;
use crate::packet::Packet;

const SECOND: u64 = 1_000_000_000;

impl<'a> Walk<'_, 'a> {
    /// Draws what the capture says of a packet, and gives its bytes.
    pub(super) fn frame(&mut self, packet: &Packet<'a>) -> Part<'a> {
        let captured = packet.data.len();
        let draw = &mut self.draw;
        draw.open("frame", "Frame", &format!("{captured} of {} bytes captured", packet.wire_len), Datum::Bytes, None);
        let said = |draw: &mut super::PacketDrawing, field, label, value: &str, number: u64| {
            draw.leaf(field, label, value, Datum::Number(number), None);
        };
        said(draw, "frame.number", "Number", &packet.number.to_string(), packet.number);
        let time = format!("{}.{:09}", packet.time_ns / SECOND, packet.time_ns % SECOND);
        draw.leaf("frame.time_epoch", "Seconds since 1970", &time, Datum::Words, None);
        // A broken clock may go back.
        let since = i128::from(packet.time_ns) - i128::from(self.around.begin_ns);
        let (sign, since) = (if since < 0 { "-" } else { "" }, since.unsigned_abs());
        let time = format!("{sign}{}.{:09}", since / u128::from(SECOND), since % u128::from(SECOND));
        draw.leaf("frame.time_relative", "Seconds since the first packet", &time, Datum::Words, None);
        said(draw, "frame.len", "Length on the wire", &packet.wire_len.to_string(), packet.wire_len.into());
        said(draw, "frame.cap_len", "Captured length", &captured.to_string(), captured as u64);
        let link = format!("{} ({})", packet.link.0, packet.link);
        said(draw, "frame.link_type", "Link type", &link, packet.link.0.into());
        draw.close();
        Part { at: 0, data: packet.data, wire: packet.wire_len as usize }
    }
}
