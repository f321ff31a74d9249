//! Finished flows of every kind, and the rows that an extractor makes of them.
//!
//! ```
//! use veilwatch_core::record::FieldTable;
//! use veilwatch_testkit::flows;
//!
//! let all = flows::variety(32, &FieldTable::new());
//! assert_eq!(all.len(), 32);
//! assert!(all.iter().any(|flow| flow.protocol == 17));
//! ```

use crate::talk::Talk;
use veilwatch_core::context::{BeaconSnapshot, ConversationSnapshot, DnsSnapshot, HostSnapshot, NameLink};
use veilwatch_core::feature::{Column, FlowBatch, RowsMut};
use veilwatch_core::flow::{DirectionStats, FlowRecord, Moments, Templates};
use veilwatch_core::plugin::{Declaration, FeatureExtractor, Instance, PluginError, Settings};
use veilwatch_core::record::{
    CertificateInfo, ClientHello, FieldId, FieldKind, FieldTable, Mark, Record, ServerHello, TlsRecords, Value,
};

/// How many kinds of flow [`variety`] goes through before it begins anew.
pub const KINDS: usize = 8;

/// Finished flows: every eighth is TLS-like, over UDP, one-way, without payload, long, with odd clocks, with the largest
/// counts there can be, or begun by the responder. The same `size` and fields give the same flows.
///
/// Some of them carry a value for each field of the table, typed and declared; among the values are empty and very large
/// ones.
pub fn variety(size: usize, fields: &FieldTable) -> Vec<FlowRecord> {
    let mut chance = Chance(1);
    (0..size)
        .map(|at| {
            let mut flow = talk(at % KINDS, &mut chance).flow(&Templates::default());
            match at % KINDS {
                0 => tls_like(&mut flow, fields, &mut chance),
                5 => odd_clocks(&mut flow, &mut chance),
                6 => {
                    extreme_counts(&mut flow);
                    tls_like(&mut flow, fields, &mut chance);
                }
                7 => declared(&mut flow, fields, &mut chance),
                _ => {}
            }
            flow.conversation = conversation(&mut chance);
            flow.names = names(&mut chance);
            flow.host = host(&mut chance);
            flow
        })
        .collect()
}

/// Writes fields by name into a flow, as a template would have.
///
/// # Errors
/// The first name that the table does not have, or that holds another kind of value.
pub fn write(flow: &mut FlowRecord, fields: &FieldTable, values: &[(&str, Value<'_>)]) -> Result<(), String> {
    for (name, value) in values {
        let spec = fields.id(name).and_then(|id| Some((id, fields.spec(id)?)));
        let (id, spec) = spec.ok_or_else(|| format!("no field is named `{name}`"))?;
        if spec.kind != value.kind() {
            return Err(format!("`{name}` holds {:?}, not {:?}", spec.kind, value.kind()));
        }
        flow.fields.set(id, *value);
    }
    Ok(())
}

/// The rows that an extractor makes of some flows, by the names of its columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
    values: Vec<f32>,
}

impl Table {
    /// Makes the extractor of a declaration with settings (TOML text), wires it, and lets it fill one row a flow.
    ///
    /// # Errors
    /// What the plugin says, or that it is no extractor.
    pub fn new(
        declaration: &Declaration,
        settings: &str,
        fields: &FieldTable,
        flows: &[FlowRecord],
    ) -> Result<Self, PluginError> {
        let instance = (declaration.create)(Settings::new(settings))?;
        let Instance::Feature(mut extractor) = instance else {
            return Err(PluginError::failed(format!("{} is no extractor", declaration.manifest.path())));
        };
        extractor.wire(fields)?;
        let columns = extractor.columns();
        let values = extract(&*extractor, columns.len(), &flows.iter().collect::<Vec<_>>())?;
        Ok(Self { columns, values })
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.columns.len()).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The values of a column, one a row; `None` where there is no such column.
    pub fn column(&self, name: &str) -> Option<Vec<f32>> {
        let at = self.columns.iter().position(|column| column.name == name)?;
        Some(self.values.iter().skip(at).step_by(self.columns.len()).copied().collect())
    }

    /// One value; `None` where there is no such row or column.
    pub fn get(&self, row: usize, name: &str) -> Option<f32> {
        self.column(name)?.get(row).copied()
    }
}

/// The rows of one batch, `width` wide.
pub(crate) fn extract(
    extractor: &dyn FeatureExtractor,
    width: usize,
    flows: &[&FlowRecord],
) -> Result<Vec<f32>, PluginError> {
    let mut rows = vec![f32::NAN; flows.len() * width];
    extractor.extract(&FlowBatch::new(&flows), &mut RowsMut::new(&mut rows, width, 0, width))?;
    Ok(rows)
}

/// Numbers that look like chance and are the same in every run (Knuth, MMIX).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number below `limit`; 0 for a limit of 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).checked_rem(limit).unwrap_or(0)
    }

    /// A number from 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.below(1 << 24) as f64 / f64::from(1 << 24)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

fn talk(kind: usize, chance: &mut Chance) -> Talk {
    let port = 1024 + chance.below(60_000);
    let ends = |talk: Talk, service: u64| talk.between(&format!("10.0.0.7:{port}"), &format!("192.0.2.9:{service}"));
    let mut some = |most: u64| {
        let len = 1 + chance.below(most) as usize;
        chance.bytes(len)
    };
    match kind {
        1 => ends(Talk::udp(), 53).forward(&some(60)).wait_ms(3).backward(&some(400)),
        2 => ends(Talk::tcp(), 443).open().forward(&some(900)).wait_ms(250).forward(&some(900)),
        // A SYN that nobody answers has no payload, and a begin only.
        3 => ends(Talk::tcp(), 8443).open(),
        4 => {
            let mut long = ends(Talk::tcp(), 443).open().segments(1200);
            for _ in 0..20 {
                long = long.forward(&some(3000)).wait_ms(40).backward(&some(9000)).wait_ms(7);
            }
            long.close()
        }
        7 => ends(Talk::tcp(), 25).backward(&some(90)).wait_ms(5).forward(&some(30)),
        _ => {
            let talk = ends(Talk::tcp(), 443).open().segments(1400).forward(&some(600)).wait_ms(30);
            talk.backward(&some(4000)).wait_ms(2).forward(&some(200)).close()
        }
    }
}

/// Fills the typed records of TLS, and declared fields.
fn tls_like(flow: &mut FlowRecord, fields: &FieldTable, chance: &mut Chance) {
    let records = [
        (ClientHello::FIRST, ClientHello::FIELDS.len()),
        (ServerHello::FIRST, ServerHello::FIELDS.len()),
        (CertificateInfo::FIRST, CertificateInfo::FIELDS.len()),
        (TlsRecords::FIRST, TlsRecords::FIELDS.len()),
    ];
    // A record is there whole or not at all; what comes later in a handshake may be missing.
    let there = 1 + chance.below(records.len() as u64) as usize;
    for (first, len) in &records[..there] {
        for at in 0..*len {
            let id = FieldId(first.0 + u16::try_from(at).unwrap_or(0));
            fill(flow, id, fields, chance);
        }
    }
    for (place, mark) in flow.marks.iter_mut().enumerate().take(there.min(Mark::COUNT)) {
        *mark = Some(flow.first_packet + 3 + place as u64);
    }
    flow.template = Some(0);
    declared(flow, fields, chance);
}

fn declared(flow: &mut FlowRecord, fields: &FieldTable, chance: &mut Chance) {
    for (id, _) in fields.declared() {
        // Now and then one is missing.
        if chance.below(8) > 0 {
            fill(flow, id, fields, chance);
        }
    }
    flow.template = Some(0);
}

/// Writes some value of a field's kind: small ones, empty ones, and now and then the largest.
fn fill(flow: &mut FlowRecord, id: FieldId, fields: &FieldTable, chance: &mut Chance) {
    let Some(spec) = fields.spec(id) else { return };
    let large = chance.below(16) == 0;
    let len = if large { 500 } else { chance.below(24) as usize };
    match spec.kind {
        FieldKind::U64 => {
            let numbers = [0, 1, 2, 60, 0x0303, 0x0304, 65_535, 1_700_000_000];
            let number = if large { u64::MAX } else { numbers[chance.below(8) as usize] };
            flow.fields.set(id, Value::U64(number));
        }
        FieldKind::F64 => {
            let numbers = [0.0, 0.25, -1.0, 1e9, f64::NAN, f64::MIN_POSITIVE, -0.0, 12.5];
            let number = if large { f64::MAX } else { numbers[chance.below(8) as usize] };
            flow.fields.set(id, Value::F64(number));
        }
        FieldKind::Bytes => {
            let letters = b"abcdefg-.0123 \xff";
            let text: Vec<u8> = (0..len).map(|_| letters[chance.below(letters.len() as u64) as usize]).collect();
            flow.fields.set(id, Value::Bytes(&text));
        }
        FieldKind::U16List => {
            let list: Vec<u16> = (0..len).map(|_| chance.below(65_536) as u16).collect();
            flow.fields.set(id, Value::U16List(&list));
        }
    }
}

fn odd_clocks(flow: &mut FlowRecord, chance: &mut Chance) {
    let begin = [0, 1, u64::MAX / 2, u64::MAX - 1][chance.below(4) as usize];
    let lasts = [0, 1, u64::MAX][chance.below(3) as usize];
    flow.first_ns = begin;
    flow.last_ns = begin.saturating_add(lasts);
    flow.ended_ns = flow.last_ns;
    for stats in &mut flow.stats {
        (stats.first_ns, stats.last_ns) = (flow.first_ns, flow.last_ns);
    }
    flow.splt.times_us.iter_mut().for_each(|time| *time = u32::MAX);
}

/// A count that no capture reaches; those of both directions can still be added.
const MOST: u64 = 1 << 62;

fn extreme_counts(flow: &mut FlowRecord) {
    let moments =
        |most: f64| Moments { count: MOST, min: 0.0, max: most, mean: most / 2.0, squares: most * most * 1e9 };
    for stats in &mut flow.stats {
        *stats = DirectionStats {
            packets: MOST,
            bytes: MOST,
            payload_bytes: MOST,
            lengths: moments(f64::from(u32::MAX)),
            // Centuries in seconds: all that nanoseconds can hold.
            gaps: moments(u64::MAX as f64 / 1e9),
            syn: u32::MAX / 4,
            fin: u32::MAX / 4,
            rst: u32::MAX / 4,
            psh: u32::MAX / 4,
            retransmitted: u32::MAX / 4,
            reordered: u32::MAX / 4,
            ..*stats
        };
    }
    let sizes = flow.splt.sizes.iter_mut();
    sizes.for_each(|size| *size = if *size > 0 { i32::MAX } else { -i32::MAX });
}

fn conversation(chance: &mut Chance) -> ConversationSnapshot {
    let nothing = f64::NAN;
    let earlier = [0, 1, 2, 40, u32::MAX][chance.below(5) as usize];
    let known = |least: u32, value: f64| if earlier < least { nothing } else { value };
    ConversationSnapshot {
        earlier,
        failed: earlier / 3,
        gap: known(1, chance.share() * 600.0),
        gap_mean: known(2, 300.0),
        gap_variation: known(2, chance.share()),
        sent_variation: known(1, chance.share()),
        beacon: match earlier {
            0..3 => BeaconSnapshot::default(),
            _ => BeaconSnapshot::from_values(std::array::from_fn(|_| chance.share() as f32)),
        },
    }
}

fn names(chance: &mut Chance) -> DnsSnapshot {
    let names: [&[u8]; 6] = [b"www.example.com", b"a", b"", b"..", b"\xff\x00.x--9", &[b'q'; 253]];
    let name = names[chance.below(6) as usize];
    let link =
        NameLink { name: name.into(), age: chance.share() * 1e4, ttl: u32::MAX, answers: chance.below(9) as u32 };
    match chance.below(3) {
        0 => DnsSnapshot::default(),
        1 => DnsSnapshot { link: None, queries: u32::MAX, nxdomain_share: chance.share() },
        _ => DnsSnapshot { link: Some(link), queries: 3, nxdomain_share: 0.0 },
    }
}

fn host(chance: &mut Chance) -> HostSnapshot {
    let earlier = [0, 1, 40, u32::MAX][chance.below(4) as usize];
    let about = if earlier == 0 { 0.0 } else { chance.share() as f32 * 600.0 };
    HostSnapshot { earlier, failed: earlier / 3, tls: earlier / 2, services: about, hellos: about, recent: about }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilwatch_core::record::FieldSpec;

    fn fields() -> FieldTable {
        let mut fields = FieldTable::new();
        let spec = FieldSpec { name: "test.seconds".into(), kind: FieldKind::U64, words: "seconds".into() };
        fields.declare(spec, "test").unwrap();
        fields
    }

    #[test]
    fn every_kind_is_there_and_all_is_the_same_again() {
        let fields = fields();
        let flows = variety(64, &fields);
        assert_eq!(format!("{flows:?}"), format!("{:?}", variety(64, &fields)));
        let has = |what: &str, wanted: &dyn Fn(&FlowRecord) -> bool| assert!(flows.iter().any(wanted), "{what}");
        has("tls", &|flow| ClientHello::read(|id| flow.fields.get(id)).is_some());
        has("udp", &|flow| flow.protocol == 17);
        has("one-way", &|flow| flow.stats[0].payload_bytes > 0 && flow.stats[1].payload_bytes == 0);
        has("empty", &|flow| flow.splt.sizes.is_empty());
        has("long", &|flow| flow.stats[1].packets > 60);
        has("no clock", &|flow| flow.first_ns == 0);
        has("extreme", &|flow| flow.stats[0].packets == MOST);
        let id = fields.id("test.seconds").unwrap();
        has("declared", &|flow| flow.fields.get(id).is_some());
        has("without", &|flow| flow.fields.is_empty());
    }

    #[test]
    fn fields_are_written_by_name_and_kind() {
        let fields = fields();
        let mut flow = Talk::udp().forward(b"x").flow(&Templates::default());
        write(&mut flow, &fields, &[("test.seconds", Value::U64(3))]).unwrap();
        assert_eq!(flow.fields.get(fields.id("test.seconds").unwrap()), Some(Value::U64(3)));
        assert!(write(&mut flow, &fields, &[("test.second", Value::U64(3))]).is_err());
        assert!(write(&mut flow, &fields, &[("test.seconds", Value::F64(3.0))]).is_err());
    }
}
