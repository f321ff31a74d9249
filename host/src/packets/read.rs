use super::{Bitten, Browser, Extent, Numbers, PacketView};
use crate::engine::{Pipeline, Progress, RunError};
use crate::filter::Passage;
use crate::query::PacketQuery;
use crate::source::{Damage, Source};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a capture is read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions<'a> {
    /// Which packets are shown; the numbers are those of the capture, whatever a filter keeps out.
    pub numbers: &'a Numbers,
    /// Which of these are shown; without it all.
    pub query: Option<&'a PacketQuery>,
    /// Set from elsewhere to end it with what was shown so far.
    pub stop: &'a AtomicBool,
    /// Kept up to date while it goes on; of flows nothing is counted.
    pub progress: &'a Progress,
}

/// How far it came.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Packets that were read.
    pub packets: u64,
    /// Packets that were shown.
    pub shown: u64,
    /// What ended reading before the capture's end.
    pub damage: Option<Damage>,
    /// Whether it was told to stop.
    pub interrupted: bool,
    /// Packets of link types for which the capture filter cannot be compiled, with why.
    pub unfilterable: BTreeMap<u16, (u64, String)>,
    /// How often bounds bit.
    pub bitten: Bitten,
}

impl Outcome {
    /// Whether something of what was asked for is missing.
    pub fn is_partial(&self) -> bool {
        self.damage.is_some() || self.interrupted || !self.unfilterable.is_empty()
    }

    /// What a person must know beside the packets, a line each; nothing where all went well.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (link, (count, why)) in &self.unfilterable {
            lines.push(format!(
                "the capture filter cannot be used with link type {link} ({why}): {count} of {} packets were passed over; \
                 use another expression",
                self.packets
            ));
        }
        lines.extend(self.bitten.warnings());
        if self.interrupted {
            lines.push("interrupted: these are the packets so far".into());
        }
        if let Some(damage) = &self.damage {
            lines.push(format!("damaged: {damage}; what came before it was shown"));
        }
        lines
    }
}

/// What a reader does with packets.
pub trait PacketSink {
    /// Takes one.
    fn packet(&mut self, view: &PacketView<'_>) -> io::Result<()>;

    /// What was taken reaches whoever reads it: nothing may come for a while.
    fn flush(&mut self) -> io::Result<()>;
}

/// Reads a capture until behind the last packet that was asked for, and hands over those that were.
pub fn read(
    pipeline: &Pipeline,
    mut source: Source,
    options: ReadOptions<'_>,
    sink: &mut dyn PacketSink,
) -> Result<Outcome, RunError> {
    let _watchdog = pipeline.watch();
    let mut browser = Browser::new(pipeline);
    source.set_filter(pipeline.filter().cloned());
    let (mut outcome, mut recycled) = (Outcome::default(), None);
    let last = options.numbers.last();
    'blocks: while outcome.packets < last {
        let Some(block) = source.next_block(recycled.take())? else {
            outcome.interrupted |= source.interrupted();
            outcome.damage = source.status().damage.clone();
            break;
        };
        options.progress.read(&source);
        for (packet, passage) in block.filtered() {
            if options.stop.load(Ordering::Relaxed) {
                outcome.interrupted = true;
                break 'blocks;
            }
            if packet.number > last {
                break 'blocks;
            }
            outcome.packets = packet.number;
            browser.begin(packet.time_ns);
            match passage {
                Passage::KeptOut => {}
                Passage::Unfilterable => {
                    let why = || source.filter().and_then(|filter| filter.refusal(packet.link)).unwrap_or_default();
                    outcome.unfilterable.entry(packet.link.0).or_insert_with(|| (0, why().to_owned())).0 += 1;
                }
                Passage::Seen if options.numbers.holds(packet.number) => {
                    let taken = browser.take(&packet);
                    let holds = |query: &PacketQuery| {
                        query.holds(&browser.show(&packet, &taken, query.extent(), Some(query.names())))
                    };
                    if options.query.is_none_or(holds) {
                        sink.packet(&browser.show(&packet, &taken, Extent::ALL, None))?;
                        outcome.shown += 1;
                    }
                }
                Passage::Seen => browser.pass(&packet),
            }
        }
        pipeline.late()?;
        sink.flush()?;
        recycled = Some(block);
    }
    sink.flush()?;
    outcome.bitten = browser.bitten();
    Ok(outcome)
}
