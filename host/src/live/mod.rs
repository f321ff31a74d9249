//! Live interfaces: packets as they come, for the same pipeline that reads captures.
//!
//! Linux alone. The kernel puts packets into a ring of memory that it shares with this process (AF_PACKET, `packet(7)`); one
//! thread takes them out in the order of their times, writes them down where that is wanted, and hands them to the engine in
//! blocks as a capture file's would be. So a capture that was written down reads, as a file, as it was judged.
//!
//! | module | story |
//! |---|---|
//! | `interface` | which interfaces there are, and of what kind |
//! | `ring` | the kernel's ring; all that is unsafe |
//! | `taker` | several rings become blocks of packets; the end, drops, interfaces that go down |
//! | `record` | packets into capture files, in turn where that is wanted; full disks |
//! | `confine` | what a process gives up once its rings are open |
//! | `settings` | bounds |

mod confine;
mod interface;
mod record;
mod ring;
mod settings;
mod taker;

pub(crate) use confine::confine_session;
pub use confine::{ConfineError, Reach, confine, may_capture};
pub use interface::{Interface, interfaces};
pub(crate) use record::Recorder;
pub use record::{FileRing, RecordError, Recording};
pub use settings::LiveSettings;

use crate::config::nearest;
use crate::filter::{Filter, FilterError};
use crate::source::{Block, Feed, Source, SourceStatus};
use ring::{Ring, tagged_pass};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use taker::Taker;
use veilwatch_core::packet::LinkType;

/// Why there is no live capture.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The process may not.
    #[error(
        "{interface}: capturing needs the capability CAP_NET_RAW: run it with sudo, or once `sudo setcap cap_net_raw=ep \
         {program}`"
    )]
    Forbidden {
        /// The interface.
        interface: String,
        /// This program.
        program: String,
    },
    /// The interfaces cannot be listed.
    #[error("the interfaces of this machine cannot be listed: {0}")]
    Listing(std::io::Error),
    /// There is no such interface.
    #[error("there is no interface `{name}`{}; `veilwatch interfaces` lists them", hint.as_ref().map(|hint| format!("; did you mean `{hint}`?")).unwrap_or_default())]
    NoInterface {
        /// What was asked for.
        name: String,
        /// The nearest that there is.
        hint: Option<String>,
    },
    /// What its packets begin with is not decoded.
    #[error("{name}: interfaces of hardware type {kind} cannot be captured on; capture on the one below it")]
    Unknown {
        /// The interface.
        name: String,
        /// `ARPHRD_…` of the kernel.
        kind: u16,
    },
    /// `any` is none.
    #[error("no interface is up that can be captured on; `veilwatch interfaces` lists them")]
    NothingUp,
    /// All rings together are too large.
    #[error(
        "the rings of {interfaces} interfaces take {all} bytes, more than `live.all_rings_bytes = {most}`: name fewer \
         interfaces, or lower `live.ring_bytes`"
    )]
    Rings {
        /// Bytes of all.
        all: u64,
        /// Of how many interfaces.
        interfaces: usize,
        /// The bound.
        most: u64,
    },
    /// Its ring cannot be had.
    #[error("{name}: {what} ({error})")]
    Ring {
        /// The interface.
        name: String,
        /// What was tried, and what to do.
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// The filter cannot be used.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Packets cannot be written down.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What to capture.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Names of interfaces, at least one.
    pub interfaces: Vec<String>,
    /// Whether to have the interfaces take packets that are for others.
    pub promiscuous: bool,
    /// Which packets, in tcpdump's language; empty for all. Others are not captured at all.
    pub filter: String,
    /// Where packets are written down.
    pub recording: Option<Recording>,
    /// Packets after which it ends.
    pub packets: Option<u64>,
    /// Time after which it ends.
    pub duration: Option<Duration>,
    /// Bytes of what is written down after which it ends, more or less a block of packets.
    pub bytes: Option<u64>,
}

/// A live capture. It goes on while it exists. Packets wait in the rings until a run takes them; those that find them full
/// are lost, and counted.
pub struct Live {
    name: String,
    shared: Arc<Shared>,
    taker: Arc<Mutex<Taker>>,
}

/// What a capture and whoever looks on have in common.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    turn: AtomicBool,
    paused: AtomicBool,
    passed_over: AtomicU64,
    ended: AtomicBool,
    interfaces: Vec<PerInterface>,
    recorded: AtomicU64,
    recorded_bytes: AtomicU64,
    not_recorded: AtomicU64,
}

#[derive(Debug, Default)]
struct PerInterface {
    name: String,
    taken: AtomicU64,
    taken_bytes: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
    downs: AtomicU64,
    is_down: AtomicBool,
}

/// What a live capture came to so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveCounts {
    /// Interface by interface, in the order they were asked for.
    pub interfaces: Vec<InterfaceCounts>,
    /// Packets that were written down.
    pub recorded: u64,
    /// Bytes of the files they are in.
    pub recorded_bytes: u64,
    /// Packets that were to be written down and could not.
    pub not_recorded: u64,
}

/// What came of one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceCounts {
    /// Its name.
    pub name: String,
    /// Packets that were taken from its rings.
    pub taken: u64,
    /// Bytes of these on the wire.
    pub taken_bytes: u64,
    /// Packets that the kernel had for it, those that it lost among them.
    pub received: u64,
    /// Packets that the kernel lost, because its ring was full.
    pub dropped: u64,
    /// Times that the interface went down.
    pub downs: u64,
}

impl LiveCounts {
    /// What came since it was asked before.
    pub fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        for (now, then) in since.interfaces.iter_mut().zip(&before.interfaces) {
            now.taken -= then.taken.min(now.taken);
            now.taken_bytes -= then.taken_bytes.min(now.taken_bytes);
            now.received -= then.received.min(now.received);
            now.dropped -= then.dropped.min(now.dropped);
            now.downs -= then.downs.min(now.downs);
        }
        since.recorded -= before.recorded.min(since.recorded);
        since.recorded_bytes -= before.recorded_bytes.min(since.recorded_bytes);
        since.not_recorded -= before.not_recorded.min(since.not_recorded);
        since
    }

    /// Packets that the kernel lost.
    pub fn dropped(&self) -> u64 {
        self.interfaces.iter().map(|interface| interface.dropped).sum()
    }

    /// Times that an interface went down.
    pub fn downs(&self) -> u64 {
        self.interfaces.iter().map(|interface| interface.downs).sum()
    }

    /// Whether packets are missing that should have been captured.
    pub fn is_partial(&self) -> bool {
        self.dropped() > 0 || self.not_recorded > 0 || self.downs() > 0
    }
}

impl Live {
    /// Opens the interfaces: from now on their packets are captured. `tell` gets a line where a person should know of
    /// something while it goes on.
    pub fn open(
        wanted: &Wanted,
        settings: &LiveSettings,
        tell: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self, LiveError> {
        let mut filter = Filter::new(&wanted.filter)?;
        if let Some(filter) = &mut filter {
            // Later the process may look nothing up any more.
            filter.compile_all()?;
        }
        let mut rings = Vec::new();
        let mut found = Vec::new();
        let chosen = choose(&wanted.interfaces)?;
        let all = chosen.len() as u64 * u64::from(settings.rings) * u64::from(settings.ring_bytes);
        if all > settings.all_rings_bytes {
            return Err(LiveError::Rings { all, interfaces: chosen.len(), most: settings.all_rings_bytes });
        }
        for (at, interface) in chosen.into_iter().enumerate() {
            let link = interface.link().unwrap_or(LinkType::ETHERNET);
            let program = filter.as_ref().map(|filter| filter.instructions(link)).transpose()?.map(tagged_pass);
            let mut group = None;
            for _ in 0..settings.rings.max(1) {
                let ring = Ring::open(at, &interface, wanted.promiscuous, settings, program.as_deref(), &mut group)?;
                rings.push(ring);
            }
            found.push(interface);
        }
        let interfaces =
            found.iter().map(|found| PerInterface { name: found.name.clone(), ..PerInterface::default() }).collect();
        let shared = Arc::new(Shared { interfaces, ..Shared::default() });
        let name = found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>().join(", ");
        let links: Vec<(String, LinkType)> =
            found.iter().filter_map(|interface| Some((interface.name.clone(), interface.link()?))).collect();
        let recorder = wanted.recording.as_ref().map(|recording| Recorder::open(recording, &links)).transpose()?;
        let taker = Taker::new(rings, found, filter, recorder, wanted, settings, Arc::clone(&shared), Box::new(tell));
        Ok(Self { name, shared, taker: Arc::new(Mutex::new(taker)) })
    }

    /// The interfaces, as messages call them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The capture for a run of the engine. It ends with the capture, or at the next [`turn`](Control::turn): then another run
    /// takes the rest.
    pub fn source(&self) -> Source {
        self.tapped(|_| {})
    }

    /// The same, of which somebody sees every block before the run does.
    pub fn tapped(&self, tap: impl FnMut(&Block) + Send + 'static) -> Source {
        self.shared.turn.store(false, Ordering::Relaxed);
        let packets = self.taker.lock().unwrap_or_else(PoisonError::into_inner).taken();
        Source::feed(&self.name, packets, Hand { taker: Arc::clone(&self.taker), tap })
    }

    /// A handle for other threads.
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.shared))
    }

    /// Whether it has ended, and all that it captured was taken.
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }
}

/// What other threads may ask of a live capture.
#[derive(Debug, Clone)]
pub struct Control(Arc<Shared>);

impl Control {
    /// Ends it. What was captured by now is still handed out.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }

    /// Ends the run that takes from it, and not the capture.
    pub fn turn(&self) {
        self.0.turn.store(true, Ordering::Relaxed);
    }

    /// Has packets that come be passed over, or not any more. Those are in no file, nobody sees them, and they have no numbers;
    /// but they are counted.
    pub fn pause(&self, pause: bool) {
        self.0.paused.store(pause, Ordering::Relaxed);
    }

    /// Whether packets are passed over.
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Relaxed)
    }

    /// Packets that were passed over.
    pub fn passed_over(&self) -> u64 {
        self.0.passed_over.load(Ordering::Relaxed)
    }

    /// Whether one of the interfaces is down at the time.
    pub fn is_down(&self) -> bool {
        self.0.interfaces.iter().any(|interface| interface.is_down.load(Ordering::Relaxed))
    }

    /// What it came to so far.
    pub fn counts(&self) -> LiveCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let interface = |interface: &PerInterface| InterfaceCounts {
            name: interface.name.clone(),
            taken: read(&interface.taken),
            taken_bytes: read(&interface.taken_bytes),
            received: read(&interface.received),
            dropped: read(&interface.dropped),
            downs: read(&interface.downs),
        };
        let Shared { interfaces, recorded, recorded_bytes, not_recorded, .. } = &*self.0;
        LiveCounts {
            interfaces: interfaces.iter().map(interface).collect(),
            recorded: read(recorded),
            recorded_bytes: read(recorded_bytes),
            not_recorded: read(not_recorded),
        }
    }
}

/// A run's hold on the capture, of which somebody else may see the packets too.
struct Hand<T> {
    taker: Arc<Mutex<Taker>>,
    tap: T,
}

impl<T: FnMut(&Block) + Send> Feed for Hand<T> {
    fn fill(&mut self, block: &mut Block, status: &mut SourceStatus) -> bool {
        // Nobody else takes at the same time; a run that panicked left nothing half done that matters.
        let goes_on = self.taker.lock().unwrap_or_else(PoisonError::into_inner).fill(block, status);
        if !block.is_empty() {
            (self.tap)(block);
        }
        goes_on
    }
}

/// The word for all interfaces that are up and can be captured on.
const ANY: &str = "any";

fn choose(names: &[String]) -> Result<Vec<Interface>, LiveError> {
    let known = interfaces().map_err(LiveError::Listing)?;
    let mut chosen: Vec<Interface> = Vec::new();
    for name in names {
        let is_one = known.iter().any(|interface| interface.name == *name);
        if !is_one && name != ANY {
            let hint = nearest(name, known.iter().map(|interface| interface.name.as_str()));
            return Err(LiveError::NoInterface { name: name.clone(), hint: hint.map(str::to_owned) });
        }
        let is_meant = |interface: &&Interface| match is_one {
            true => interface.name == *name,
            false => interface.is_up && interface.link().is_some(),
        };
        // Each of them once.
        for found in known.iter().filter(is_meant) {
            if !chosen.contains(found) {
                chosen.push(found.clone());
            }
        }
    }
    if chosen.is_empty() { Err(LiveError::NothingUp) } else { Ok(chosen) }
}
