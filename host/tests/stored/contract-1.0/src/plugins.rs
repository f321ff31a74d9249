//! One plugin of each kind that uses all of contract 1.0: every kind of field, a mark, all numbers of a flow.

use veilwatch_core::feature::{Column, Evidence, FlowBatch, Rows, RowsMut};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::{
    Classifier, FeatureExtractor, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
    TrainingSet,
};
use veilwatch_core::record::{ClientHello, FieldId, FieldKind, FieldSpec, FieldTable, Mark, Value};

veilwatch_core::declare_plugins!(
    protocol "stored" "how a flow's first bytes look": Beginning,
    feature "stored" "all numbers of a flow": Numbers,
    classifier "stored" "distance to the mean of the malicious rows": Distance,
);

/// These plugins take no settings.
fn none(settings: Settings<'_>) -> Result<(), PluginError> {
    if settings.text().trim().is_empty() { Ok(()) } else { Err(PluginError::settings("it takes no settings")) }
}

/// Recognises every flow over TCP in which the originator says four bytes.
#[derive(Debug, Default)]
pub struct Beginning {
    ids: Vec<FieldId>,
}

impl Beginning {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        none(settings)?;
        Ok(Self::default())
    }
}

impl ProtocolTemplate for Beginning {
    fn fields(&self) -> Vec<FieldSpec> {
        [
            ("stored.sum", FieldKind::U64),
            ("stored.mean", FieldKind::F64),
            ("stored.answer", FieldKind::Bytes),
            ("stored.pairs", FieldKind::U16List),
        ]
        .map(|(name, kind)| FieldSpec { name: name.into(), kind, words: "of the first bytes".into() })
        .to_vec()
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        match stream.forward.len() {
            4.. => Probe::Certain,
            _ if stream.forward_ended => Probe::No,
            _ => Probe::Unsure,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let sum: u64 = stream.forward.iter().take(64).map(|byte| u64::from(*byte)).sum();
        let answer = &stream.backward[..stream.backward.len().min(16)];
        let pairs: Vec<u16> =
            stream.forward.chunks_exact(2).take(8).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        let mean = sum as f64 / stream.forward.len().clamp(1, 64) as f64;
        for (id, value) in
            self.ids.iter().zip([Value::U64(sum), Value::F64(mean), Value::Bytes(answer), Value::U16List(&pairs)])
        {
            out.field(*id, value);
        }
        out.record(&ClientHello { sni: answer, ciphers: &pairs, ..ClientHello::default() });
        out.mark(Mark::ClientHello, Direction::Forward, 3);
        let whole = stream.forward.len() >= 64 && stream.backward.len() >= 16;
        Ok(if whole { Progress::Done } else { Progress::More { forward: 64, backward: 16 } })
    }
}

/// One column for each number that a flow has.
#[derive(Debug, Default)]
pub struct Numbers {
    own: [Option<FieldId>; 4],
}

/// Of each direction.
const DIRECTION: [&str; 21] = [
    "packets",
    "bytes",
    "payload",
    "syn",
    "fin",
    "rst",
    "psh",
    "retransmitted",
    "reordered",
    "first",
    "last",
    "lengths_count",
    "lengths_min",
    "lengths_max",
    "lengths_mean",
    "lengths_squares",
    "gaps_count",
    "gaps_min",
    "gaps_max",
    "gaps_mean",
    "gaps_squares",
];

/// Of the whole flow.
const FLOW: [&str; 16] = [
    "duration",
    "port",
    "protocol",
    "earlier",
    "failed",
    "gap",
    "gap_mean",
    "gap_variation",
    "sent_variation",
    "sizes",
    "times",
    "ciphers",
    "sum",
    "mean",
    "answer",
    "pairs",
];

impl Numbers {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        none(settings)?;
        Ok(Self::default())
    }
}

impl FeatureExtractor for Numbers {
    fn columns(&self) -> Vec<Column> {
        let column = |name: String| Column::new(name, "count", "a number of the flow", Evidence::Flow);
        let of = |side: &str| DIRECTION.map(|name| column(format!("{side}_{name}")));
        [of("forward").to_vec(), of("backward").to_vec(), FLOW.map(|name| column(name.into())).to_vec()].concat()
    }

    fn wire(&mut self, fields: &FieldTable) -> Result<(), PluginError> {
        self.own = ["stored.sum", "stored.mean", "stored.answer", "stored.pairs"].map(|name| fields.id(name));
        Ok(())
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let mut row = rows.writer(at);
            for direction in [Direction::Forward, Direction::Backward] {
                let stats = flow.direction(direction);
                for number in [stats.packets, stats.bytes, stats.payload_bytes] {
                    row.put(number as f64);
                }
                let flags = [stats.syn, stats.fin, stats.rst, stats.psh, stats.retransmitted, stats.reordered];
                for number in flags {
                    row.put(f64::from(number));
                }
                // What does not fit into a single-precision number exactly is cut to its last digits.
                row.put((stats.first_ns % 1_000_000) as f64);
                row.put((stats.last_ns % 1_000_000) as f64);
                for moments in [&stats.lengths, &stats.gaps] {
                    row.put(moments.count as f64);
                    for number in [moments.min, moments.max, moments.mean, moments.squares] {
                        row.put(if number.is_finite() { number.min(1e30) } else { f64::NAN });
                    }
                }
            }
            let (known, splt) = (flow.conversation(), flow.splt());
            row.put(flow.duration());
            row.put(f64::from(flow.responder_port()));
            row.put(f64::from(flow.protocol()));
            row.put(f64::from(known.earlier));
            row.put(f64::from(known.failed));
            for number in [known.gap, known.gap_mean, known.gap_variation, known.sent_variation] {
                row.put(if number.is_finite() { number } else { f64::NAN });
            }
            row.put(splt.sizes.iter().copied().map(f64::from).sum());
            row.put(splt.times_us.iter().copied().map(f64::from).sum());
            row.put(flow.record::<ClientHello<'_>>().map_or(f64::NAN, |hello| hello.ciphers.len() as f64));
            for id in self.own {
                row.put(match id.and_then(|id| flow.value(id)) {
                    Some(Value::U64(number)) => number as f64,
                    Some(Value::F64(number)) => number,
                    Some(Value::Bytes(bytes)) => bytes.iter().map(|byte| f64::from(*byte)).sum(),
                    Some(Value::U16List(list)) => list.iter().map(|number| f64::from(*number)).sum(),
                    None => f64::NAN,
                });
            }
        }
        Ok(())
    }
}

/// Scores a row by how near it is to the mean of the malicious ones.
#[derive(Debug, Default)]
pub struct Distance {
    mean: Vec<f64>,
}

impl Distance {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        none(settings)?;
        Ok(Self::default())
    }
}

/// How much one value adds.
fn part(value: f32, mean: f64) -> f64 {
    if value.is_nan() { 0.0 } else { -(f64::from(value) - mean).abs() / (1.0 + mean.abs()) }
}

impl Classifier for Distance {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        let mut mean = vec![0.0; data.rows.width()];
        let mut total = data.seed as f64 % 2.0;
        for ((row, label), weight) in data.rows.iter().zip(data.labels).zip(data.weights) {
            if *label {
                total += f64::from(*weight);
                for (mean, value) in mean.iter_mut().zip(row).filter(|(_, value)| !value.is_nan()) {
                    *mean += f64::from(*value) * f64::from(*weight);
                }
            }
        }
        mean.iter_mut().for_each(|mean| *mean /= total.max(1.0));
        self.mean = mean;
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, PluginError> {
        Ok(self.mean.iter().flat_map(|mean| mean.to_le_bytes()).collect())
    }

    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        if !weights.len().is_multiple_of(8) {
            return Err(PluginError::data("weights are eight bytes a column"));
        }
        let number = |bytes: &[u8]| bytes.try_into().map_or(f64::NAN, f64::from_le_bytes);
        self.mean = weights.chunks_exact(8).map(number).collect();
        Ok(())
    }

    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        if rows.width() != self.mean.len() {
            return Err(PluginError::data(format!("{} columns were learnt, not {}", self.mean.len(), rows.width())));
        }
        for (row, score) in rows.iter().zip(scores) {
            *score = row.iter().zip(&self.mean).map(|(value, mean)| part(*value, *mean)).sum();
        }
        Ok(())
    }

    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        for ((cell, value), mean) in contributions.iter_mut().zip(row).zip(&self.mean) {
            *cell = part(*value, *mean);
        }
        Ok(())
    }
}
