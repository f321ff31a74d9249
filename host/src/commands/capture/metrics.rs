//! Figures for Prometheus, in its text format (version 0.0.4): a few threads, each of which answers one request. A server
//! of a library would bring more calls than a confined process should have.

use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use veilwatch::engine::Progress;
use veilwatch::live::{Control, InterfaceCounts};

/// What is told of a capture.
pub(super) struct Metrics {
    progress: Arc<Progress>,
    control: Control,
    /// Pieces of the log that could not be written.
    lost: Arc<AtomicU64>,
    started: SystemTime,
    /// Times that the configuration was read again, and of those the ones that failed.
    pub(super) reloads: AtomicU64,
    pub(super) failed_reloads: AtomicU64,
}

/// Bytes of a request that are read.
const REQUEST: usize = 8 << 10;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Requests that are answered at once.
const AT_ONCE: u64 = 32;

/// One of them.
struct Busy(Arc<AtomicU64>);

impl Busy {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes the address, before rights are given up.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("metrics cannot be served at {address}"))?;
    if address.port() == 0 {
        super::super::say(&format!("metrics at http://{}/metrics", listener.local_addr()?));
    }
    Ok(listener)
}

impl Metrics {
    pub(super) fn new(progress: Arc<Progress>, control: Control, lost: Arc<AtomicU64>) -> Self {
        let (reloads, failed_reloads) = Default::default();
        Self { progress, control, lost, started: SystemTime::now(), reloads, failed_reloads }
    }

    /// Answers from now on, until the process ends.
    pub(super) fn serve(self, listener: Option<TcpListener>) -> Result<Arc<Self>> {
        let metrics = Arc::new(self);
        if let Some(listener) = listener {
            let metrics = Arc::clone(&metrics);
            let answer = move || {
                let busy = Arc::new(AtomicU64::new(0));
                for stream in listener.incoming() {
                    match stream {
                        Ok(stream) if busy.load(Ordering::Relaxed) < AT_ONCE => {
                            let (metrics, held) = (Arc::clone(&metrics), Busy::new(&busy));
                            // Who hangs up in the middle has no use for an answer.
                            let answer = move || {
                                let _held = held;
                                let _ = metrics.answer(stream);
                            };
                            let _ = std::thread::Builder::new().name("metrics".into()).spawn(answer);
                        }
                        // More are turned away at once.
                        Ok(_) => {}
                        Err(_) => std::thread::sleep(Duration::from_millis(100)),
                    }
                }
            };
            std::thread::Builder::new().name("metrics".into()).spawn(answer).context("no thread for metrics")?;
        }
        Ok(metrics)
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (mut request, begin) = (Vec::new(), Instant::now());
        let mut some = [0; 1024];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let bytes = stream.read(&mut some)?;
            if bytes == 0 || request.len() + bytes > REQUEST || begin.elapsed() > PATIENCE {
                return Ok(());
            }
            request.extend_from_slice(some.get(..bytes).unwrap_or_default());
        }
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        let (method, path) = (words.next(), words.next().and_then(|path| path.split(|byte| *byte == b'?').next()));
        let (status, kind, body) = match (method, path) {
            (Some(b"GET" | b"HEAD"), Some(b"/metrics")) => ("200 OK", "text/plain; version=0.0.4", self.text()),
            (Some(b"GET" | b"HEAD"), _) => ("404 Not Found", "text/plain", "figures are under /metrics\n".into()),
            _ => ("405 Method Not Allowed", "text/plain", String::new()),
        };
        let length = body.len();
        let body = if line.starts_with(b"HEAD") { "" } else { &body };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }

    /// All figures.
    fn text(&self) -> String {
        let counts = self.control.counts();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut out = String::new();
        let mut per_interface = |name: &str, help: &str, count: fn(&InterfaceCounts) -> u64| {
            let _ = writeln!(out, "# HELP veilwatch_{name}_total {help}\n# TYPE veilwatch_{name}_total counter");
            for interface in &counts.interfaces {
                let label = label(&interface.name);
                let _ = writeln!(out, "veilwatch_{name}_total{{interface=\"{label}\"}} {}", count(interface));
            }
        };
        per_interface("packets", "Packets taken from the interface.", |of| of.taken);
        per_interface("bytes", "Bytes of these packets on the wire.", |of| of.taken_bytes);
        per_interface("received", "Packets that the kernel had, lost ones among them.", |of| of.received);
        per_interface("dropped", "Packets that the kernel lost because nobody took them in time.", |of| of.dropped);
        per_interface("interface_downs", "Times that the interface went down.", |of| of.downs);
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        let progress = &self.progress;
        one("veilwatch_flows_total", "counter", "Flows that have ended.", read(&progress.flows));
        one("veilwatch_alerts_total", "counter", "Malicious and suspicious flows among them.", read(&progress.alerts));
        one("veilwatch_malicious_total", "counter", "Malicious flows among them.", read(&progress.malicious));
        one("veilwatch_recorded_packets_total", "counter", "Packets that were written down.", counts.recorded);
        one("veilwatch_recorded_bytes_total", "counter", "Bytes of the files they are in.", counts.recorded_bytes);
        one(
            "veilwatch_not_recorded_packets_total",
            "counter",
            "Packets that were to be written down and could not.",
            counts.not_recorded,
        );
        one("veilwatch_log_lost_total", "counter", "Pieces of the result that could not be written.", read(&self.lost));
        one("veilwatch_reloads_total", "counter", "Times the configuration was read again.", read(&self.reloads));
        one("veilwatch_reloads_failed_total", "counter", "Those that failed.", read(&self.failed_reloads));
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        one("process_start_time_seconds", "gauge", "When the process began, in seconds since 1970.", started);
        if let Some(bytes) = resident() {
            one("process_resident_memory_bytes", "gauge", "Memory that the process holds.", bytes);
        }
        let _ = writeln!(
            out,
            "# HELP veilwatch_build_info The version.\n# TYPE veilwatch_build_info gauge\nveilwatch_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        );
        out
    }
}

/// A label's value: an interface may have almost any name.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Memory that the process holds, in bytes.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}
