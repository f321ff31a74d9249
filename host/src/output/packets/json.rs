use super::since;
use crate::output::{plain, timestamp};
use crate::packets::{PacketSink, PacketView};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use veilwatch_core::packet::dissect::{Address, Datum, PacketNode, PacketTree};

/// One JSON object a packet and line; names are those of `veilwatch detect` where it has them.
#[derive(Debug)]
pub struct PacketJsonSink<W> {
    out: W,
}

impl<W: Write> PacketJsonSink<W> {
    /// Writes lines there.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> PacketSink for PacketJsonSink<W> {
    fn packet(&mut self, view: &PacketView<'_>) -> io::Result<()> {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        put("event_type", "packet".into());
        put("number", view.packet.number.into());
        put("timestamp", timestamp(view.packet.time_ns).into());
        // As a text, so that microseconds are exact.
        put("since", since(view).into());
        put("link", view.packet.link.to_string().into());
        put("length", view.packet.wire_len.into());
        put("captured", view.packet.data.len().into());
        for (address, ip, mac) in [(view.src, "src_ip", "src_mac"), (view.dst, "dest_ip", "dest_mac")] {
            match address {
                Some(Address::Ip(address)) => put(ip, address.to_string().into()),
                Some(address @ Address::Mac(_)) => put(mac, address.to_string().into()),
                None => {}
            }
        }
        if let Some((src, dst)) = view.ports {
            put("src_port", src.into());
            put("dest_port", dst.into());
        }
        put("proto", plain(&view.layer).into());
        put("app_proto", view.template.as_deref().into());
        if let Some(service) = &view.service {
            put("service", service.as_str().into());
        }
        put("info", plain(&view.info).into());
        let checksum = |checksum: &veilwatch_core::packet::dissect::Checksum| json!({"field": checksum.field, "status": checksum.status.word()});
        put("checksums", view.checksums.iter().map(checksum).collect());
        if let Some(file) = &view.file_type {
            put("file_type", file.as_str().into());
        }
        if !view.warnings.is_empty() {
            let warning = |warning: &crate::packets::PacketWarning| json!({"id": warning.id, "severity": warning.severity.name(), "words": warning.words});
            put("warnings", view.warnings.iter().map(warning).collect());
        }
        put("layers", layers(&view.tree));
        if view.tree.left_out > 0 {
            put("nodes_left_out", view.tree.left_out.into());
        }
        serde_json::to_writer(&mut self.out, &object)?;
        self.out.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Each layer with the values of all fields in it. A field that is there more than once has a list.
fn layers(tree: &PacketTree) -> Value {
    let mut layers = Vec::new();
    let mut nodes = tree.nodes.as_slice();
    while let Some((layer, rest)) = nodes.split_first() {
        let own = rest.iter().take_while(|node| node.depth > layer.depth).count();
        let (fields, others) = rest.split_at(own);
        let mut values = Map::new();
        for node in fields {
            let Some(value) = value(node) else { continue };
            match values.get_mut(&*node.field) {
                None => {
                    values.insert(node.field.to_string(), value);
                }
                Some(Value::Array(list)) => list.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        let mut object = Map::new();
        object.insert("layer".into(), layer.field.as_ref().into());
        if !layer.value.is_empty() {
            object.insert("words".into(), plain(&layer.value).into());
        }
        if let Some(bytes) = &layer.bytes {
            object.insert("bytes".into(), json!([bytes.start, bytes.end]));
        }
        object.insert("fields".into(), values.into());
        layers.push(object.into());
        nodes = others;
    }
    Value::Array(layers)
}

/// What a field says to programs; nothing where that is its bytes alone.
fn value(node: &PacketNode) -> Option<Value> {
    match &node.datum {
        Datum::Number(number) => Some((*number).into()),
        Datum::Ip(address) => Some(address.to_string().into()),
        Datum::Mac(address) => Some(Address::Mac(*address).to_string().into()),
        Datum::Words | Datum::Bytes => (!node.value.is_empty()).then(|| plain(&node.value).into()),
    }
}
