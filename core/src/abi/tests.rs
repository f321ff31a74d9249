//! Each kind of plugin once through the boundary, without a library: what comes out is what goes in.

use super::{export, import};
use crate::context::{BeaconSnapshot, DnsSnapshot, HostSnapshot, NameLink};
use crate::feature::{Column, Evidence, FlowBatch, Rows, RowsMut};
use crate::flow::{Direction, FlowLimits, FlowRecord, FlowTable, Templates};
use crate::packet::{Decoded, Tcp};
use crate::plugin::dissect::{ByteRange, Tree, TreeSink};
use crate::plugin::{
    Carrier, Classifier, FeatureExtractor, Instance, Made, Piece, PluginError, PluginErrorKind, Probe, Progress,
    ProtocolTemplate, RecordSink, StreamView, TrainingSet,
};
use crate::record::{ClientHello, FieldId, FieldKind, FieldSpec, FieldTable, Mark, Record, Value};

/// Writes a typed record, a declared field of each kind, and a mark.
#[derive(Default)]
struct Template {
    ids: Vec<FieldId>,
}

impl ProtocolTemplate for Template {
    fn fields(&self) -> Vec<FieldSpec> {
        [
            ("t.number", FieldKind::U64),
            ("t.share", FieldKind::F64),
            ("t.text", FieldKind::Bytes),
            ("t.list", FieldKind::U16List),
        ]
        .map(|(name, kind)| FieldSpec { name: name.into(), kind, words: "".into() })
        .to_vec()
    }
    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        match stream.forward {
            [] => Probe::Unsure,
            [b'!', ..] => panic!("a template that panics while it looks"),
            _ => Probe::Certain,
        }
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        assert!(!stream.forward.starts_with(b"panic"), "a parser that panics");
        out.record(&ClientHello { sni: stream.forward, ciphers: &[1, 2, 3], ..ClientHello::default() });
        for (id, value) in self.ids.iter().zip([
            Value::U64(u64::MAX),
            Value::F64(0.1),
            Value::Bytes(stream.backward),
            Value::U16List(&[7, 8]),
        ]) {
            out.field(*id, value);
        }
        out.mark(Mark::ServerHello, Direction::Backward, 0);
        Ok(Progress::More { forward: 100, backward: usize::MAX })
    }
}

/// One column of everything that an extractor can ask for.
#[derive(Default)]
struct Extractor {
    share: Option<FieldId>,
}

impl FeatureExtractor for Extractor {
    fn columns(&self) -> Vec<Column> {
        (0..19).map(|at| Column::new(format!("c{at}"), "count", "words", Evidence::Certificate)).collect()
    }
    fn wire(&mut self, fields: &FieldTable) -> Result<(), PluginError> {
        self.share = fields.id("t.share");
        Ok(())
    }
    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let stats = flow.direction(Direction::Backward);
            let splt = flow.splt();
            let known = flow.conversation();
            let (names, host) = (flow.names(), flow.host());
            let hello = flow.record::<ClientHello<'_>>().unwrap_or_default();
            let share = self.share.and_then(|id| flow.value(id));
            let mut row = rows.writer(at);
            row.put(stats.packets as f64);
            row.put(stats.lengths.mean);
            row.put(stats.gaps.squares);
            row.put(stats.last_ns as f64);
            row.put(splt.sizes.iter().copied().map(f64::from).sum());
            row.put(splt.times_us.iter().copied().map(f64::from).sum());
            row.put(f64::from(flow.responder_port()));
            row.put(flow.duration());
            row.put(known.gap);
            row.put(f64::from(known.earlier));
            row.put(hello.sni.len() as f64 + hello.ciphers.len() as f64);
            row.put(if let Some(Value::F64(share)) = share { share } else { -1.0 });
            row.put(f64::from(known.beacon.period));
            row.put(f64::from(known.beacon.confidence));
            row.put(names.name.len() as f64 + names.age + f64::from(names.ttl));
            row.put(f64::from(names.answers) * 100.0 + f64::from(names.queries));
            row.put(names.nxdomain_share);
            row.put(f64::from(host.earlier + 10 * host.failed + 100 * host.tls));
            row.put(f64::from(host.services + 10.0 * host.hellos + 100.0 * host.recent));
        }
        Ok(())
    }
}

/// Adds up a row; learns one number.
#[derive(Default)]
struct Sum {
    offset: f64,
}

impl Classifier for Sum {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        let malicious = data.labels.iter().zip(data.weights).filter(|(label, _)| **label).map(|(_, weight)| weight);
        self.offset = f64::from(malicious.sum::<f32>()) + data.seed as f64;
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, PluginError> {
        Ok(self.offset.to_bits().to_le_bytes().to_vec())
    }
    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        let bytes = weights.try_into().map_err(|_| PluginError::data("eight bytes are wanted"))?;
        self.offset = f64::from_bits(u64::from_le_bytes(bytes));
        Ok(())
    }
    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        for (row, score) in rows.iter().zip(scores) {
            *score = self.offset + row.iter().map(|value| f64::from(*value)).sum::<f64>();
        }
        Ok(())
    }
    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        contributions.iter_mut().zip(row).for_each(|(part, value)| *part = f64::from(*value));
        Ok(())
    }
}

/// Writes what is not its own, hands over, draws, and panics while it draws.
struct Odd;

impl ProtocolTemplate for Odd {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![FieldSpec { name: "odd.own".into(), kind: FieldKind::U64, words: "".into() }]
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        if stream.forward.starts_with(b"odd") { Probe::Certain } else { Probe::No }
    }
    fn parse(&self, _: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let own = FieldId::FIRST_DECLARED;
        out.field(own, Value::U64(7));
        // Its own in another kind, a neighbour's, nobody's, and a typed one in another kind.
        out.field(own, Value::F64(0.5));
        out.field(FieldId(own.0 + 1), Value::U64(1));
        out.field(FieldId(u16::MAX), Value::U64(1));
        out.field(ClientHello::FIRST, Value::Bytes(b"?"));
        out.hand_over(3, 0);
        Ok(Progress::Done)
    }
    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        tree.open("odd", "in words", Some(ByteRange::new(Direction::Forward, 0, 3)));
        tree.leaf("answer", "", Some(ByteRange::new(Direction::Backward, 1, 99)));
        if stream.backward_ended {
            panic!("a template that panics while it draws");
        }
        if !tree.is_full() {
            tree.close();
        }
    }
}

/// Over UDP writes down where datagrams end, and hands the first one of each direction on with the last one's origin.
/// Reads what it is handed as `inside`, fails over `broken`, and knows nothing else.
#[derive(Default)]
struct Maker {
    ids: Vec<FieldId>,
    contents: &'static str,
}

impl Maker {
    fn note(&self, at: usize, text: &[u8], out: &mut RecordSink<'_>) {
        out.field(self.ids[at], Value::Bytes(text));
    }
}

impl ProtocolTemplate for Maker {
    fn fields(&self) -> Vec<FieldSpec> {
        ["maker.ends", "maker.inside"].map(|name| FieldSpec::new(name, FieldKind::Bytes, "words")).to_vec()
    }
    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        if !self.contents.is_empty() && stream.forward.starts_with(b"make") { Probe::Certain } else { Probe::No }
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        self.note(0, format!("{:?}", stream.datagram_ends).as_bytes(), out);
        let sides = [Direction::Forward, Direction::Backward];
        let bytes = sides.map(|side| stream.datagrams(side).next().map_or(&[][..], |(_, bytes)| bytes));
        let last = sides.map(|side| [Piece { at: 0, from: stream.datagrams(side).last().map_or(0, |(at, _)| at) }]);
        out.hand_bytes(self.contents, Made { bytes, pieces: last.each_ref().map(|pieces| &pieces[..]) });
        Ok(Progress::of(stream, false, false))
    }
    fn parse_contents(
        &self,
        contents: &str,
        stream: &StreamView<'_>,
        out: &mut RecordSink<'_>,
    ) -> Result<Option<Progress>, PluginError> {
        match contents {
            "inside" => {
                self.note(1, &[stream.forward, b"|", stream.backward].concat(), out);
                out.mark(Mark::ServerHello, Direction::Backward, 1);
                // Of another.
                out.field(FieldId(u16::MAX), Value::U64(1));
                Ok(Some(Progress::Done))
            }
            "broken" => panic!("a template that panics over what others made"),
            _ => Ok(None),
        }
    }
    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        tree.leaf("ends", &format!("{:?}", stream.datagram_ends), None);
    }
}

fn across(instance: Instance) -> Instance {
    import::unwrap(export::wrap(instance))
}

fn foreign_template(template: Template) -> Box<dyn ProtocolTemplate> {
    match across(Instance::Protocol(Box::new(template))) {
        Instance::Protocol(inner) => inner,
        _ => unreachable!(),
    }
}

fn wired(template: Box<dyn ProtocolTemplate>, fields: &mut FieldTable) -> Templates {
    Templates::new(vec![wire(template, fields)])
}

fn wire(mut template: Box<dyn ProtocolTemplate>, fields: &mut FieldTable) -> Box<dyn ProtocolTemplate> {
    let ids: Vec<FieldId> = template.fields().into_iter().map(|spec| fields.declare(spec, "t").unwrap()).collect();
    template.wire(&ids).unwrap();
    template
}

fn flows(templates: &Templates, said: &[u8]) -> (Vec<FlowRecord>, u64) {
    flows_over(6, templates, said)
}

fn flows_over(protocol: u8, templates: &Templates, said: &[u8]) -> (Vec<FlowRecord>, u64) {
    let mut table = FlowTable::new(FlowLimits::default(), 3);
    for (at, forth) in [(1u64, true), (2, false), (3, true)] {
        let packet = Decoded {
            src: [if forth { 1 } else { 2 }; 16],
            dst: [if forth { 2 } else { 1 }; 16],
            src_port: if forth { 5 } else { 443 },
            dst_port: if forth { 443 } else { 5 },
            protocol,
            lan: 0,
            ip_len: 40 + said.len() as u32,
            payload_len: said.len() as u32,
            tcp: (protocol == 6).then_some(Tcp { seq: (at * 1000) as u32, flags: Tcp::ACK }),
            payload: said,
        };
        table.push(at, at * 1_234_567_891, &packet, templates);
    }
    table.finish_all(0, templates);
    (table.take_finished(), table.counters().template_errors)
}

#[test]
fn a_template_writes_the_same_from_across() {
    let (mut here, mut there) = (FieldTable::new(), FieldTable::new());
    let direct = flows(&wired(Box::<Template>::default(), &mut here), b"hello");
    let foreign = flows(&wired(foreign_template(Template::default()), &mut there), b"hello");
    assert_eq!(direct.0.len(), 1);
    assert_eq!(direct.0[0].fields, foreign.0[0].fields);
    assert_eq!(direct.0[0].marks, foreign.0[0].marks);
    assert_eq!(direct.0[0].marks[Mark::ServerHello as usize], Some(2));
    let list = here.id("t.list").and_then(|id| foreign.0[0].fields.get(id));
    assert_eq!(list, Some(Value::U16List(&[7, 8])));
}

#[test]
fn what_is_not_its_own_is_left_out_and_counted() {
    let Instance::Protocol(odd) = across(Instance::Protocol(Box::new(Odd))) else { unreachable!() };
    let mut fields = FieldTable::new();
    let mut templates = wired(odd, &mut fields);
    templates.push(wire(foreign_template(Template::default()), &mut fields));
    let (records, errors) = flows(&templates, b"oddhello");
    assert_eq!((errors, records[0].template), (0, Some(1)), "and the rest goes to the other one");
    assert_eq!(records[0].templates().collect::<Vec<_>>(), [(0, 4), (1, 0)]);
    let own = records[0].handed[0].fields.get(FieldId::FIRST_DECLARED);
    assert_eq!(own, Some(Value::U64(7)));
    let hello = records[0].fields.get(ClientHello::FIRST);
    assert_ne!(hello, Some(Value::Bytes(b"?")));
    let sni = Record::read(|id| records[0].fields.get(id)).map(|hello: ClientHello<'_>| hello.sni.len());
    assert_eq!(sni, Some(5), "what stands behind the offset of the first");
}

#[test]
fn a_template_draws_the_same_from_across() {
    let Instance::Protocol(foreign) = across(Instance::Protocol(Box::new(Odd))) else { unreachable!() };
    let stream = |ended| StreamView {
        forward: b"odd",
        backward: b"yes",
        forward_ended: false,
        backward_ended: ended,
        carrier: Carrier::Tcp,
        originator_port: 1,
        responder_port: 2,
        ..StreamView::default()
    };
    let (direct, across) = (Tree::of(&Odd, &stream(false)), Tree::of(&*foreign, &stream(false)));
    assert_eq!(direct, across);
    assert_eq!((across.nodes.len(), across.outside, across.unbalanced), (2, true, false));
    let failed = Tree::of(&*foreign, &stream(true));
    assert_eq!(failed.failed.as_deref(), Some("panicked: a template that panics while it draws"));
    assert_eq!((failed.nodes, failed.unbalanced), (across.nodes, true));
    // A template without a tree of its own draws nothing.
    assert_eq!(Tree::of(&*foreign_template(Template::default()), &stream(true)), Tree::default());
}

#[test]
fn a_panic_stays_on_its_side() {
    let templates = wired(foreign_template(Template::default()), &mut FieldTable::new());
    let (parsed, errors) = flows(&templates, b"panic");
    assert_eq!((parsed.len(), errors), (1, 1));
    let (probed, errors) = flows(&templates, b"!");
    assert_eq!((probed[0].template, errors), (None, 1));
    assert_eq!(probed[0].probe_errors[0].1.message, "panicked: a template that panics while it looks");
}

#[test]
fn an_extractor_computes_the_same_from_across() {
    let mut fields = FieldTable::new();
    let (mut records, _) = flows(&wired(Box::<Template>::default(), &mut fields), b"hello");
    records[0].conversation.gap = 0.1 + 0.2;
    records[0].conversation.earlier = 7;
    records[0].conversation.beacon = BeaconSnapshot { period: 6.5, confidence: 0.25, ..BeaconSnapshot::default() };
    let link = NameLink { name: b"abc"[..].into(), age: 0.5, ttl: 300, answers: 2 };
    records[0].names = DnsSnapshot { link: Some(link), queries: 9, nxdomain_share: 0.75 };
    records[0].host = HostSnapshot { earlier: 5, failed: 4, tls: 3, services: 2.5, hellos: 1.5, recent: 0.5 };
    let picked: Vec<&FlowRecord> = records.iter().collect();
    let rows = |mut extractor: Box<dyn FeatureExtractor>| {
        extractor.wire(&fields).unwrap();
        let source = picked.as_slice();
        // Wider rows, as a pipeline has them: neighbours must stay untouched.
        let width = extractor.columns().len();
        let mut data = vec![f32::NAN; width + 3];
        extractor.extract(&FlowBatch::new(&source), &mut RowsMut::new(&mut data, width + 3, 2, width)).unwrap();
        (extractor.columns(), data.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    let direct = rows(Box::<Extractor>::default());
    let Instance::Feature(foreign) = across(Instance::Feature(Box::<Extractor>::default())) else { unreachable!() };
    let foreign = rows(foreign);
    assert_eq!(direct, foreign);
    assert_eq!(f32::from_bits(direct.1[13]), 0.1, "the declared field is read");
    let since_1_3: Vec<f32> = direct.1[14..21].iter().map(|bits| f32::from_bits(*bits)).collect();
    assert_eq!(since_1_3, [6.5, 0.25, 303.5, 209.0, 0.75, 345.0, 67.5]);
}

#[test]
fn a_classifier_learns_and_scores_the_same_from_across() {
    let Instance::Classifier(mut foreign) = across(Instance::Classifier(Box::<Sum>::default())) else { unreachable!() };
    let values = [1.0, 2.0, 3.0, 4.0];
    let rows = Rows::new(&values, 2);
    foreign.fit(&TrainingSet { rows, labels: &[true, false], weights: &[0.5, 9.0], seed: 3 }).unwrap();
    let mut scores = [0.0; 2];
    foreign.predict(&rows, &mut scores).unwrap();
    assert_eq!(scores, [6.5, 10.5]);
    let mut parts = [0.0; 2];
    foreign.explain(rows.row(1), &mut parts).unwrap();
    assert_eq!(parts, [3.0, 4.0]);
    let saved = foreign.save().unwrap();
    let error = foreign.load(&saved[1..]).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (PluginErrorKind::Data, "eight bytes are wanted"));
    foreign.load(&saved).unwrap();
}

#[test]
fn datagrams_and_made_bytes_cross() {
    let read = |contents, foreign: bool| {
        let mut fields = FieldTable::new();
        // The first one makes, the second one reads.
        let templates = [contents, ""]
            .into_iter()
            .map(|contents| {
                let maker = Instance::Protocol(Box::new(Maker { contents, ..Maker::default() }));
                let Instance::Protocol(maker) = (if foreign { across(maker) } else { maker }) else { unreachable!() };
                wire(maker, &mut fields)
            })
            .collect();
        let templates = Templates::new(templates);
        let (mut records, errors) = flows_over(17, &templates, b"make");
        let record = records.remove(0);
        let text = |name| match fields.id(name).and_then(|id| record.fields.get(id)) {
            Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        let told = (text("maker.ends"), text("maker.inside"), record.marks[Mark::ServerHello as usize], errors);
        (told, record)
    };
    for foreign in [false, true] {
        let (told, record) = read("inside", foreign);
        assert_eq!(told, ("[[4, 8], [4]]".into(), "make|make".into(), Some(2), 0), "{foreign}");
        let [guest] = &record.guests[..] else { panic!("{:?}", record.guests) };
        // What is not its own is left out behind a boundary alone.
        assert_eq!((record.template, guest.template, guest.refused), (Some(0), 1, u32::from(foreign)));
        let (told, record) = read("else", foreign);
        assert_eq!((told.1.as_str(), record.guests.len(), told.3), ("", 0, 0));
    }
    let (told, record) = read("broken", true);
    assert_eq!((told.0.as_str(), told.1.as_str(), told.3), ("[[4, 8], [4]]", "", 1));
    assert_eq!(record.probe_errors[0].1.message, "panicked: a template that panics over what others made");
    assert_eq!((record.template, record.probe_errors.len()), (Some(0), 1), "asked once and no more");
    let stream = StreamView { datagram_ends: [&[1, 2], &[]], ..StreamView::default() };
    let Instance::Protocol(foreign) = across(Instance::Protocol(Box::<Maker>::default())) else { unreachable!() };
    assert_eq!(Tree::of(&*foreign, &stream).nodes[0].value, "[[1, 2], []]");
}
