//! What plugins are called with: flows and packets of a capture, or of the test kit.

use super::measure::LESSON;
use anyhow::Result;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use veilwatch::engine::{self, Detection, Pipeline, Progress, RunOptions, Sink};
use veilwatch::source::{Block, Source};
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::packet::{Decoded, Decoder};
use veilwatch_testkit::flows::variety;
use veilwatch_testkit::talk::Talk;

/// Packets of a capture that are used at most.
const PACKETS: u64 = 100_000;

/// What plugins are called with.
pub(super) struct Material {
    blocks: Vec<Block>,
    talks: Vec<Talk>,
    pub(super) flows: Vec<FlowRecord>,
    pub(super) pipeline: Pipeline,
    /// For people: what it is.
    pub(super) words: String,
}

impl Material {
    pub(super) fn new(capture: Option<&Path>) -> Result<Self> {
        let (config, mut registry) = crate::commands::prepare(None)?;
        let pipeline = Pipeline::untrained(config, &mut registry)?;
        let Some(path) = capture else {
            let flows = variety(LESSON, pipeline.fields());
            let talks = talks();
            let words = format!("{} flows and {} conversations of the test kit", flows.len(), talks.len());
            return Ok(Self { blocks: Vec::new(), talks, flows, pipeline, words });
        };
        let (stop, progress) = (AtomicBool::new(false), Progress::default());
        let options = RunOptions { workers: 1, packets: Some(PACKETS), stop: &stop, progress: &progress };
        let mut kept = Kept::default();
        let open = || Source::open(path, &pipeline.config().input);
        engine::run(&pipeline, open()?, options, &mut kept)?;
        let (mut blocks, mut packets, mut source) = (Vec::new(), 0, open()?);
        while packets < PACKETS
            && let Some(block) = source.next_block(None)?
        {
            packets += block.len() as u64;
            blocks.push(block);
        }
        let words = format!("{} scored flows and {packets} packets of {}", kept.0.len(), path.display());
        Ok(Self { blocks, talks: Vec::new(), flows: kept.0, pipeline, words })
    }

    /// Calls with all packets, in order, with number and time; those in fragments come whole, as in a run.
    pub(super) fn each_packet(&self, mut take: impl FnMut(u64, u64, &Decoded<'_>)) {
        let mut decoder = Decoder::new(self.pipeline.config().flows.decoding(), 1);
        for packet in self.blocks.iter().flat_map(Block::packets) {
            if let Ok(decoded) = decoder.decode(0, &packet) {
                take(packet.number, packet.time_ns, &decoded);
            }
        }
        let talked = self.talks.iter().flat_map(|talk| talk.packets().iter().map(move |packet| (talk, packet)));
        talked.zip(1..).for_each(|((talk, packet), number)| take(number, packet.time_ns, &talk.decoded(packet)));
    }
}

/// Scored flows of a run.
#[derive(Default)]
struct Kept(Vec<FlowRecord>);

impl Sink for Kept {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if detection.scored.is_some() {
            self.0.push(detection.flow.clone());
        }
        Ok(())
    }
}

/// Conversations of several protocols, so that a template meets its own and others.
fn talks() -> Vec<Talk> {
    // A ClientHello of TLS 1.2 with one cipher suite.
    let mut hello = b"\x16\x03\x01\0\x32\x01\0\0\x2e\x03\x03".to_vec();
    hello.extend([7; 32]);
    hello.extend(b"\0\0\x02\x13\x01\x01\0\0\0");
    let said: [(bool, &[u8], &[u8]); 4] = [
        (true, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        (true, b"SSH-2.0-OpenSSH_9.6\r\n", b"SSH-2.0-dropbear_2022.83\r\n"),
        (true, &hello, b"\x15\x03\x03\0\x02\x02\x28"),
        (false, b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x02bc\0\0\x01\0\x01", b"\x12\x34\x81\x83"),
    ];
    (0..64)
        .flat_map(|at| said.iter().map(move |said| (at, *said)))
        .map(|(at, (tcp, forward, backward))| {
            let talk = if tcp { Talk::tcp() } else { Talk::udp() };
            let talk = talk.between(&format!("10.0.0.1:{}", 40_000 + at), "192.0.2.1:443");
            let talk = if tcp { talk.open() } else { talk };
            let talk = talk.forward(forward).wait_ms(20).backward(backward);
            if tcp { talk.close() } else { talk }
        })
        .collect()
}
