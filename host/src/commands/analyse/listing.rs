//! Which packets are listed, and on which line each stands.

use super::work::Work;
use std::sync::Arc;
use veilwatch::analyser::{Page, Search};
use veilwatch::output::plain;

/// Packets that are listed.
#[derive(Clone)]
pub(super) enum Listing {
    /// All of the capture.
    All,
    /// Those of one flow.
    Flow {
        /// Their numbers, in order.
        numbers: Vec<u64>,
        /// The one from which somebody asked for the flow.
        of: u64,
    },
    /// Those of which an expression holds.
    Filter(Filter),
}

/// A display filter at work.
#[derive(Clone)]
pub(super) struct Filter {
    /// As it was written.
    pub(super) text: String,
    pub(super) search: Arc<Search>,
}

impl Filter {
    /// Whether it was stopped before all packets were looked at.
    pub(super) fn is_cut(&self) -> bool {
        self.search.is_stopped() && !self.search.is_whole()
    }
}

impl Listing {
    /// How many there are so far.
    pub(super) fn len(&self, work: &Work) -> usize {
        match self {
            Self::All => work.shared.index().len() as usize,
            Self::Flow { numbers, .. } => numbers.len(),
            Self::Filter(filter) => filter.search.found().len(),
        }
    }

    /// The number of the packet on a line.
    pub(super) fn number(&self, work: &Work, line: usize) -> Option<u64> {
        match self {
            Self::All => (line < self.len(work)).then_some(line as u64 + 1),
            Self::Flow { numbers, .. } => numbers.get(line).copied(),
            Self::Filter(filter) => filter.search.found().get(line).map(|number| u64::from(*number)),
        }
    }

    /// The line of a packet; nothing where it is not listed.
    pub(super) fn line(&self, work: &Work, number: u64) -> Option<usize> {
        match self {
            Self::All => {
                let line = usize::try_from(number.checked_sub(1)?).ok()?;
                (line < self.len(work)).then_some(line)
            }
            Self::Flow { numbers, .. } => numbers.binary_search(&number).ok(),
            Self::Filter(filter) => filter.search.found().binary_search(&u32::try_from(number).ok()?).ok(),
        }
    }

    /// The line of the first packet from a number on, else the last line.
    pub(super) fn line_from(&self, work: &Work, number: u64) -> usize {
        let line = match self {
            Self::All => usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX),
            Self::Flow { numbers, .. } => numbers.partition_point(|known| *known < number),
            Self::Filter(filter) => filter.search.found().partition_point(|known| u64::from(*known) < number),
        };
        line.min(self.len(work).saturating_sub(1))
    }

    /// Whether nothing more is looked for.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::All | Self::Flow { .. } => true,
            Self::Filter(filter) => filter.search.has_ended() && !filter.is_cut(),
        }
    }

    /// All numbers as they are now.
    pub(super) fn numbers(&self, work: &Work) -> Vec<u64> {
        match self {
            Self::All => (1..=self.len(work) as u64).collect(),
            Self::Flow { numbers, .. } => numbers.clone(),
            Self::Filter(filter) => filter.search.found().iter().map(|number| u64::from(*number)).collect(),
        }
    }

    /// What is listed, for the title; nothing where all is.
    pub(super) fn words(&self, work: &Work) -> Option<String> {
        match self {
            Self::All => None,
            Self::Flow { numbers, of } => Some(format!("only {} packets of the flow of packet {of}", numbers.len())),
            Self::Filter(filter) => {
                let Filter { text, search } = filter;
                let found = search.found().len();
                let state = match (filter.is_cut(), search.is_whole()) {
                    (true, _) => format!("stopped at packet {}, ", search.looked()),
                    (false, true) => String::new(),
                    (false, false) => format!("{} % looked at, ", share(search.looked(), work.shared.index().len())),
                };
                // As `veilwatch packets` says it.
                let missing = if search.was_bitten() { ", some may be missing: too many flows at once" } else { "" };
                Some(format!("{state}{found}{missing} of {}", plain(text)))
            }
        }
    }
}

/// A share in percent.
pub(super) fn share(part: u64, all: u64) -> u64 {
    (part * 100).checked_div(all).unwrap_or_default().min(100)
}

/// A packet's line.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) time: String,
    pub(super) src: String,
    pub(super) dst: String,
    pub(super) protocol: String,
    pub(super) length: u32,
    pub(super) info: String,
}

impl Row {
    pub(super) fn of(page: &Page) -> Self {
        let micros = page.since_ns.unsigned_abs() / 1000;
        let sign = if page.since_ns < 0 { "-" } else { "" };
        Self {
            time: format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000),
            src: plain(&page.src),
            dst: plain(&page.dst),
            protocol: plain(&page.protocol),
            length: page.wire_len,
            info: plain(&page.info),
        }
    }
}
