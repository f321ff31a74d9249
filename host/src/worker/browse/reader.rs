use super::say::*;
use crate::output::plain;
use crate::worker::order::Event;
use crate::worker::supervise::{Process, WorkerEnd, ended, keep_tail};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use veilwatch_core::detect::is_unruly;
use veilwatch_core::plugin::dissect;

/// A child that browses, on its parent's side. It may have become an attacker's: what it says is held against the protocol and
/// its bounds, and texts are a capture's. It ends with this value.
///
/// Its life hangs on the thread that starts it, which must not be a short-lived one of a pool.
pub struct Reader {
    process: Process,
    /// What a thread of its own writes to it: one that does not read keeps nobody else waiting.
    input: SyncSender<Vec<u8>>,
    heard: Receiver<Heard>,
    tail: Arc<Mutex<Vec<u8>>>,
    order: BrowseOrder,
    asked: u64,
}

/// What comes from a child.
enum Heard {
    Answer(Box<Answer>),
    Last(Event),
    Babble(&'static str),
}

/// Bytes of its last words.
const EVENT_BYTES: usize = 64 << 10;
/// Time for a dead child's last words to come through.
const DRAIN: Duration = Duration::from_millis(500);

impl Reader {
    /// Starts one: this program, or another that calls [`main`](crate::worker::main) when its one argument is `worker`.
    pub fn start(program: &Path, order: &BrowseOrder) -> Result<Self, WorkerEnd> {
        let mut process = Process::start(program)?;
        let gone = || io::Error::other("a pipe to it is missing");
        let input = process.child.stdin.take().ok_or_else(gone)?;
        let output = process.child.stdout.take().ok_or_else(gone)?;
        let errors = process.child.stderr.take().ok_or_else(gone)?;
        let (said, heard) = mpsc::sync_channel(1);
        let tail = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&tail);
        let thread = |name: &str| thread::Builder::new().name(format!("reader {name}"));
        // One that says more than anybody reads waits for its end.
        thread("errors").spawn(move || keep_tail(errors, &kept, || {}))?;
        thread("output").spawn(move || read_answers(output, &said))?;
        // The order, and the first question behind it.
        let (tell, to_tell) = mpsc::sync_channel(2);
        thread("input").spawn(move || write_lines(input, &to_tell))?;
        let input = tell;
        let _ = input.try_send(line(order)?);
        Ok(Self { process, input, heard, tail, order: order.clone(), asked: 0 })
    }

    /// Asks, and waits so long for the answer. After an error there is no child any more.
    pub fn ask(&mut self, ask: &Ask, patience: Duration) -> Result<Answer, WorkerEnd> {
        self.asked += 1;
        let until = Instant::now() + patience;
        // An answer comes after its question; an end may have come between two.
        let heard = match self.heard.try_recv() {
            Ok(Heard::Answer(_)) => return Err(self.babble("an answer before its question")),
            Ok(end) => Ok(end),
            Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => {
                let question = line(&Asked { id: self.asked, ask: ask.clone() })?;
                if let Err(TrySendError::Full(_)) = self.input.try_send(question) {
                    return Err(self.babble("answers without reading questions"));
                }
                self.heard.recv_timeout(until.saturating_duration_since(Instant::now()))
            }
        };
        let last = match heard {
            Ok(Heard::Answer(answer)) => {
                return match unbelievable(&answer, self.asked, ask) {
                    None => Ok(*answer),
                    Some(what) => Err(self.babble(what)),
                };
            }
            Ok(Heard::Babble(what)) => return Err(self.babble(what)),
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.process.end();
                return Err(WorkerEnd::WallTime { seconds: patience.as_secs() });
            }
            Ok(Heard::Last(event)) => Some(event),
            Err(RecvTimeoutError::Disconnected) => None,
        };
        // It is on its way out.
        let until = Instant::now() + DRAIN;
        while !self.process.has_ended() && Instant::now() < until {
            thread::sleep(DRAIN / 50);
        }
        let (status, cpu_seconds) = self.process.end()?;
        thread::sleep(DRAIN / 50);
        let words = self.tail.lock().map(|tail| tail.clone()).unwrap_or_default();
        let words = plain(String::from_utf8_lossy(&words).trim());
        match ended(status, cpu_seconds, words, &self.order.limits, last) {
            Ok(_) => Err(WorkerEnd::Babble { what: "an answer to another question" }),
            Err(end) => Err(end),
        }
    }

    fn babble(&mut self, what: &'static str) -> WorkerEnd {
        let _ = self.process.end();
        WorkerEnd::Babble { what }
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.process.child.id()
    }
}

pub(in crate::worker) fn line(what: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(what).map_err(io::Error::other)?;
    line.push(b'\n');
    Ok(line)
}

/// Writes until nobody asks any more, or the child is gone: how it ended is said elsewhere.
pub(in crate::worker) fn write_lines(mut input: ChildStdin, lines: &Receiver<Vec<u8>>) {
    for line in lines {
        if input.write_all(&line).and_then(|()| input.flush()).is_err() {
            return;
        }
    }
}

fn read_answers(output: ChildStdout, said: &SyncSender<Heard>) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        match output.by_ref().take(ANSWER_BYTES as u64 + 1).read_until(b'\n', &mut line) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let heard = if line.last() == Some(&b'\n') {
            match serde_json::from_slice(&line) {
                Ok(answer) => Heard::Answer(Box::new(answer)),
                Err(_) if line.len() > EVENT_BYTES => Heard::Babble("last words too long"),
                Err(_) => match serde_json::from_slice(&line) {
                    Ok(event @ Event::Failed(_)) => Heard::Last(event),
                    _ => Heard::Babble("a line that is no answer"),
                },
            }
        } else if line.len() > ANSWER_BYTES {
            Heard::Babble("a line too long")
        } else {
            // Cut off in the middle of a line: how it died says more.
            return;
        };
        let is_last = !matches!(heard, Heard::Answer(_));
        if said.send(heard).is_err() || is_last {
            return;
        }
    }
}

/// All texts of an answer, and how long each may be.
fn texts(said: &Said) -> Vec<(&str, usize)> {
    let mut all: Vec<(&str, usize)> = Vec::new();
    match said {
        Said::Rows(said) => said.rows.iter().for_each(|row| all.extend(row_texts(row))),
        Said::Packet(Some(page)) => {
            all.extend(row_texts(&page.row));
            for PacketField { field, label, value, .. } in &page.nodes {
                all.extend([
                    (&**field, dissect::LABEL_BYTES),
                    (label, dissect::LABEL_BYTES),
                    (value, dissect::VALUE_BYTES),
                ]);
            }
            page.checksums
                .iter()
                .for_each(|(field, status)| all.extend([(&**field, CELL_BYTES), (status, CELL_BYTES)]));
            page.warnings.iter().for_each(|words| all.push((words, WORDS_BYTES)));
        }
        Said::Stream(Some(part)) => part.ends.iter().for_each(|end| all.push((end, CELL_BYTES))),
        Said::Complete(said) => {
            said.fields.iter().for_each(|(name, words)| all.extend([(&**name, CELL_BYTES), (words, INFO_BYTES)]));
        }
        Said::Wrong(wrong) => all.push((&wrong.what, WORDS_BYTES)),
        Said::Unreadable(words) => all.push((words, WORDS_BYTES)),
        Said::Packet(None) | Said::Stream(None) => {}
    }
    all
}

fn row_texts(row: &PacketRow) -> [(&str, usize); 4] {
    let PacketRow { src, dst, protocol, info, .. } = row;
    [(src, CELL_BYTES), (dst, CELL_BYTES), (protocol, CELL_BYTES), (info, INFO_BYTES)]
}

/// What makes an answer one that no honest child gives.
fn unbelievable(answer: &Answer, id: u64, ask: &Ask) -> Option<&'static str> {
    // Escapes of what would steer a terminal are longer than what they stand for.
    let long = |text: &str, most: usize| text.len() > 10 * most + 4;
    let is_hex = |hex: &str, most: usize| {
        hex.len() <= 2 * most && hex.len().is_multiple_of(2) && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if answer.id != id {
        return Some("a word out of turn");
    }
    let damage = answer.read.damage.as_deref().map(|words| (words, WORDS_BYTES));
    if texts(&answer.said).into_iter().chain(damage).any(|(text, most)| long(text, most) || text.contains(is_unruly)) {
        return Some("words that it has no use for");
    }
    let is_fine = match (&answer.said, ask) {
        (Said::Rows(said), Ask::Rows { from, count, flow, filter, .. }) => {
            let is_sorted = said.rows.windows(2).all(|pair| matches!(pair, [a, b] if a.number < b.number));
            let has_search = said.search.is_some() == (flow.is_none() && !filter.trim().is_empty());
            let begins = said.rows.first().is_none_or(|first| first.number >= *from);
            said.rows.len() <= *count as usize && is_sorted && begins && has_search
        }
        (Said::Packet(None), Ask::Packet { .. }) | (Said::Stream(None), Ask::Stream { .. }) => true,
        (Said::Packet(Some(page)), Ask::Packet { number }) => {
            let shown = page.hex.len() as u64 / 2;
            let field = |field: &PacketField| {
                let is_in = field.bytes.is_none_or(|(from, to)| from <= to && to <= page.captured);
                is_in && usize::from(field.depth) <= dissect::DEPTH
            };
            page.row.number == *number
                && page.checksums.len() <= REMARKS
                && page.warnings.len() <= REMARKS
                && is_hex(&page.hex, PACKET_BYTES)
                && shown == page.captured.min(PACKET_BYTES as u64)
                && page.nodes.len() <= dissect::NODES
                && page.nodes.iter().all(field)
        }
        (Said::Stream(Some(part)), Ask::Stream { skip, .. }) => {
            let bytes: usize = part.pieces.iter().map(|piece| piece.hex.len() / 2).sum();
            part.skipped == *skip
                && bytes <= STREAM_BYTES
                && part.pieces.iter().all(|piece| !piece.hex.is_empty() && is_hex(&piece.hex, STREAM_BYTES))
        }
        (Said::Complete(said), Ask::Complete { .. }) => said.fields.len() <= COMPLETIONS,
        (Said::Wrong(wrong), Ask::Rows { .. }) => wrong.place.0 <= wrong.place.1,
        (Said::Unreadable(_), _) => true,
        _ => false,
    };
    (!is_fine).then_some("an answer that makes no sense")
}
