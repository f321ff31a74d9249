//! Fuzzes the parsers of traffic, on any toolchain: `cargo run --profile fuzz -p veilwatch --example fuzz -- --help`.
//!
//! It begins with the corpus, changes it by chance, and keeps what leads to something new, as long as it runs. An input on
//! which a parser panics, breaks a rule or does not come back is written to a file, and how to look at it again is said.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to a person")]

#[path = "../tests/fuzz/targets.rs"]
mod targets;

use clap::Parser;
use nix::time::{ClockId, clock_gettime};
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use targets::{Target, targets};
use veilwatch::source::{InputLimits, Source};
use veilwatch_core::packet::{DecodeLimits, Decoder};
use veilwatch_testkit::fuzz::{Input, Look, Mutator, Piece, Seen};

/// Most inputs of a pool: what was new is forgotten again past it, but for the corpus.
const POOL: usize = 4096;

/// Different failures of one target after which the next one's turn comes.
const FAILURES: usize = 8;

#[derive(Parser)]
struct Arguments {
    /// Names of targets; all without any.
    targets: Vec<String>,
    /// Inputs for each target.
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    /// Seconds for each target at most.
    #[arg(long, default_value_t = u64::MAX)]
    seconds: u64,
    /// What chance begins with: the same seed gives the same inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds of processor time after which one input stalls.
    #[arg(long, default_value_t = 10)]
    patience: u64,
    /// Where inputs that fail are written.
    #[arg(long, default_value = "target/fuzz")]
    failures: PathBuf,
    /// Reads this input, with every look, and no other.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Adds to each corpus what is new in these folders of inputs, or in the flows of these captures, the smallest first.
    #[arg(long)]
    gather: Vec<PathBuf>,
    /// Bytes that one corpus may have then.
    #[arg(long, default_value_t = 8_000)]
    corpus_bytes: usize,
}

/// What is read now, and since when: in processor time, so that it does not matter what else the machine does.
type Now = Arc<Mutex<Option<(Duration, String, Arc<Input>)>>>;

/// Processor time that this program has had.
fn processor() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut all = targets()?;
    if let Some(unknown) = arguments.targets.iter().find(|name| all.iter().all(|target| target.name != **name)) {
        let names: Vec<&str> = all.iter().map(|target| target.name.as_str()).collect();
        return Err(format!("there is no target `{unknown}`; there are {}", names.join(", ")).into());
    }
    all.retain(|target| arguments.targets.is_empty() || arguments.targets.contains(&target.name));
    // Failures are told in a line each.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(file) = &arguments.replay {
        let input = Input::decode(&std::fs::read(file)?);
        for target in &all {
            println!("{}: {:?}", target.name, attempt(target, &input, Look::ALL));
        }
        return Ok(());
    }
    if !arguments.gather.is_empty() {
        return all.iter().try_for_each(|target| gather(target, &arguments));
    }
    let now = watch(&arguments);
    let mut failed = 0;
    for target in &all {
        failed += fuzz(target, &arguments, &now)?;
    }
    if failed > 0 { Err(format!("{failed} failures").into()) } else { Ok(()) }
}

/// Reads an input; a panic is a failure as any other.
fn attempt(target: &Target, input: &Input, look: Look) -> Result<Seen, String> {
    catch_unwind(AssertUnwindSafe(|| target.read(input, look))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(format!(
            "panicked: {}",
            text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        ))
    })
}

/// A thread that ends the program where an input does not come back: what stands in a loop cannot be ended otherwise.
fn watch(arguments: &Arguments) -> Now {
    let now = Now::default();
    let (watched, patience) = (Arc::clone(&now), Duration::from_secs(arguments.patience));
    let failures = arguments.failures.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = watched.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((since, target, input)) = &*now
                && processor().saturating_sub(*since) > patience
            {
                let why = format!("did not come back within {patience:?}");
                if let Err(error) = keep(&failures, target, input, &why) {
                    eprintln!("the input cannot be kept: {error}");
                }
                std::process::exit(3);
            }
        }
    });
    now
}

/// Writes an input that failed, and says how to look at it.
fn keep(folder: &Path, target: &str, input: &Input, why: &str) -> std::io::Result<()> {
    let bytes = input.encode();
    let name =
        bytes.iter().fold(0u64, |sum, byte| sum.rotate_left(7) ^ u64::from(*byte).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    std::fs::create_dir_all(folder)?;
    let file = folder.join(format!("{target}-{name:016x}"));
    std::fs::write(&file, bytes)?;
    let why: String = why.chars().take(400).collect();
    println!(
        "{target}: FAILED, {why}\n    again with: cargo run --profile fuzz -p veilwatch --example fuzz -- {target} --replay {}",
        file.display()
    );
    Ok(())
}

/// The entries of a folder, in order; none where there is no folder.
fn entries(folder: &Path) -> std::io::Result<Vec<Input>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    paths.into_iter().filter(|path| path.is_file()).map(|path| Ok(Input::decode(&std::fs::read(path)?))).collect()
}

/// Fuzzes one target; how often it failed.
fn fuzz(target: &Target, arguments: &Arguments, now: &Now) -> Result<usize, Box<dyn Error>> {
    let mut pool = entries(&target.corpus())?;
    if pool.is_empty() {
        pool.push(Input::default());
    }
    let corpus = pool.len();
    let mut mutator = Mutator::new(arguments.seed, &pool);
    let (mut known, mut failures) = (HashSet::new(), HashSet::new());
    let (begin, mut done, mut longest) = (Instant::now(), 0, Duration::ZERO);
    while done < arguments.inputs && begin.elapsed().as_secs() < arguments.seconds && failures.len() < FAILURES {
        // The corpus itself comes first.
        let input = if done < corpus as u64 {
            pool[done as usize].clone()
        } else {
            let [one, other] = [mutator.below(pool.len()), mutator.below(pool.len())];
            mutator.mutate(&pool[one], &pool[other])
        };
        let since = processor();
        let input = Arc::new(input);
        *now.lock().unwrap_or_else(PoisonError::into_inner) = Some((since, target.name.clone(), Arc::clone(&input)));
        let outcome = attempt(target, &input, Look::of(&input));
        *now.lock().unwrap_or_else(PoisonError::into_inner) = None;
        longest = longest.max(processor().saturating_sub(since));
        done += 1;
        match outcome {
            Ok(Seen(seen)) => {
                if known.insert((seen, Look::of(&input).draws())) && done > corpus as u64 {
                    if pool.len() < POOL {
                        pool.push(Input::clone(&input));
                    } else {
                        let at = corpus + mutator.below(POOL - corpus);
                        pool[at] = Input::clone(&input);
                    }
                }
            }
            Err(why) => {
                // The same failure is told once: by what it says before its values.
                if failures.insert(why.chars().filter(|c| !c.is_ascii_digit()).take(60).collect::<String>()) {
                    keep(&arguments.failures, &target.name, &input, &why)?;
                }
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{}: {done} inputs, seed {}, {:.0} a second, {} outcomes, the longest took {longest:.1?}, {} failures",
        target.name,
        arguments.seed,
        done as f64 / seconds,
        known.len(),
        failures.len()
    );
    Ok(failures.len())
}

/// Payload packets that a flow's input has.
const PACKETS: usize = 12;

/// The beginnings of a capture's flows.
fn flows(capture: &Path) -> Result<Vec<Input>, Box<dyn Error>> {
    let mut source = Source::open(capture, &InputLimits::default())?;
    let mut decoder = Decoder::new(DecodeLimits::default(), 1);
    let mut flows: HashMap<_, (_, Input)> = HashMap::new();
    while let Some(block) = source.next_block(None)? {
        for packet in block.packets() {
            let Ok(decoded) = decoder.decode(0, &packet) else { continue };
            let (one, other) = ((decoded.src, decoded.src_port), (decoded.dst, decoded.dst_port));
            let key = (decoded.protocol, one.min(other), one.max(other));
            let (first, input) = flows.entry(key).or_insert_with(|| {
                let udp = if decoded.protocol == 17 { Input::UDP } else { Input::OPENED };
                (one, Input { how: [udp | Input::port(decoded.dst_port), 0], pieces: Vec::new() })
            });
            if !decoded.payload.is_empty() && input.pieces.len() < PACKETS {
                let mark = if *first == one { 0 } else { Piece::BACKWARD };
                input.pieces.push(Piece { mark, bytes: decoded.payload.to_vec() });
            }
        }
    }
    Ok(flows.into_values().map(|(_, input)| input).collect())
}

/// Adds what is new to a corpus, as long as there is room.
fn gather(target: &Target, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut candidates = Vec::new();
    for from in &arguments.gather {
        candidates.extend(if from.is_dir() { entries(from)? } else { flows(from)? });
    }
    candidates.sort_by_cached_key(|input| (input.len(), input.encode()));
    let corpus = entries(&target.corpus())?;
    let mut room = arguments.corpus_bytes.saturating_sub(corpus.iter().map(|input| input.encode().len()).sum());
    let seen = |input: &Input| attempt(target, input, Look::ALL).ok().map(|Seen(seen)| seen);
    let mut known: HashSet<u64> = corpus.iter().filter_map(seen).collect();
    std::fs::create_dir_all(target.corpus())?;
    let mut number = corpus.len();
    for input in candidates {
        let bytes = input.encode();
        if bytes.len() <= room && seen(&input).is_some_and(|seen| known.insert(seen)) {
            room -= bytes.len();
            std::fs::write(target.corpus().join(format!("seed-{number:03}")), bytes)?;
            number += 1;
        }
    }
    println!("{}: {number} entries, {room} bytes left", target.name);
    Ok(())
}
