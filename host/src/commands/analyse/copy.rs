//! What may be taken along: a field, bytes, a filter.

use super::app::{App, Pane, View};
use base64::Engine as _;
use ratatui::crossterm::event::KeyCode;
use veilwatch::output::plain;
use veilwatch::query::{Kind, Level, PacketQuery};
use veilwatch_core::packet::dissect::{Datum, PacketNode};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl App {
    /// What may be copied, with the words for it.
    pub(super) fn copies(&self) -> Vec<(&'static str, String)> {
        let Some(page) = &self.page else { return Vec::new() };
        let mut all = Vec::new();
        if self.pane == Pane::Bytes
            && let Some(bytes) = self.bytes.selected().and_then(|range| page.data.get(range))
        {
            all.push(("the selected bytes", hex(bytes)));
        }
        if let Some(node) = page.tree.nodes.get(self.node) {
            all.push(("the selected field", format!("{}: {}", plain(&node.field), plain(&node.value))));
            if let Some(bytes) = node.bytes.as_ref().and_then(|range| page.data.get(range.clone())) {
                all.push(("its bytes", hex(bytes)));
            }
        }
        if let Some(text) = self.filter_of_field() {
            all.push(("packets with this field, for --where", text));
        }
        if let Some((_, flow)) = self.work.shared.index().flow_of(page.number) {
            let (low, high) = (flow.key.low, flow.key.high);
            let (ip, transport) =
                (if low.is_ipv4() { "ip" } else { "ipv6" }, if flow.key.protocol == 6 { "tcp" } else { "udp" });
            let (one, other) = (low.ip(), high.ip());
            all.push((
                "this flow, for --where and Wireshark",
                format!(
                    "{ip}.addr == {one} && {ip}.addr == {other} && {transport}.port == {} && {transport}.port == {}",
                    low.port, high.port
                ),
            ));
            all.push((
                "this flow, for tcpdump and --filter",
                format!("{transport} and host {one} and host {other} and port {} and port {}", low.port, high.port),
            ));
        }
        all
    }

    /// A filter for packets that have what the selected field says.
    pub(super) fn filter_of_field(&self) -> Option<String> {
        let node = self.page.as_ref()?.tree.nodes.get(self.node)?;
        let text = self.fields.get(Level::Packet, &node.field).map_or_else(
            // What has no field of its own is there as text.
            || Some(format!("tree.{} == {}", node.field, quoted(&node.value))),
            |field| of_field(field.name, field.kind, node),
        )?;
        PacketQuery::new(&text, &self.fields).is_ok().then_some(text)
    }

    pub(super) fn copy_key(&mut self, code: KeyCode) {
        let KeyCode::Char(digit @ '1'..='9') = code else { return };
        let chosen = self.copies().into_iter().nth(digit as usize - '1' as usize);
        if let Some((what, text)) = chosen {
            // OSC 52: terminals that allow it put this on the clipboard.
            let packed = base64::engine::general_purpose::STANDARD.encode(&text);
            self.to_terminal = Some(format!("\x1b]52;c;{packed}\x07"));
            self.message = format!("copied {what}: {text}");
            self.view = View::Packets;
        }
    }
}

fn of_field(name: &str, kind: Kind, node: &PacketNode) -> Option<String> {
    match (&node.datum, kind) {
        (Datum::Number(number), Kind::Number | Kind::Flag) => Some(format!("{name} == {number}")),
        (Datum::Ip(address), Kind::Ip | Kind::Ipv4 | Kind::Ipv6) => Some(format!("{name} == {address}")),
        (Datum::Mac(address), Kind::Mac) => {
            let pairs: Vec<String> = address.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(format!("{name} == {}", pairs.join(":")))
        }
        // A layer: that it is there.
        (_, Kind::Bytes) if node.depth == 0 => Some(name.to_owned()),
        (Datum::Words, Kind::Text) => Some(format!("{name} == {}", quoted(&node.value))),
        _ => None,
    }
}

/// Text as an expression writes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
