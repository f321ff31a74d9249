//! Figures for Prometheus, in its text format (version 0.0.4): how they are written, and a few threads that serve them,
//! each of which answers one request. A server of a library would bring more system calls than a confined process should
//! have, and a port of its own keeps figures away from whoever may talk to the program otherwise.

use std::fmt::{Display, Write as _};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a request that are read.
const REQUEST: usize = 8 << 10;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests that are answered at once.
const AT_ONCE: u64 = 32;

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the program starts again.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts of what is at most so large.
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Figures as text.
#[derive(Clone, Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins the figures of one name; what follows are its samples.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
    }

    /// One figure, told apart from others of its name by labels.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A name with one figure.
    pub fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// What every program tells of itself: since when it runs, its memory, its version.
    pub fn program(&mut self, started: SystemTime, version: &str) {
        let started = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let words = "When the process began, in seconds since 1970.";
        self.one("process_start_time_seconds", Kind::Gauge, words, started);
        if let Some(bytes) = resident() {
            self.one("process_resident_memory_bytes", Kind::Gauge, "Memory that the process holds.", bytes);
        }
        self.family("veilwatch_build_info", Kind::Gauge, "The version.");
        self.sample("veilwatch_build_info", &[("version", version)], 1);
    }

    /// All of it.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// A label's value: an interface may have almost any name.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Memory that the process holds, in bytes.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}

/// One request that is being answered.
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

/// Answers `/metrics` with `text` from now on, until the process ends.
///
/// # Errors
/// Where the system has no thread left.
pub fn serve(listener: TcpListener, text: impl Fn() -> String + Send + Sync + 'static) -> io::Result<()> {
    let text = Arc::new(text);
    let answer_all = move || {
        let busy = Arc::new(AtomicU64::new(0));
        for stream in listener.incoming() {
            match stream {
                Ok(stream) if busy.load(Ordering::Relaxed) < AT_ONCE => {
                    let (text, held) = (Arc::clone(&text), Busy::new(&busy));
                    // Who hangs up in the middle has no use for an answer.
                    let answer = move || {
                        let _held = held;
                        let _ = answer(stream, &*text);
                    };
                    let _ = std::thread::Builder::new().name("metrics".into()).spawn(answer);
                }
                // More are turned away at once.
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    };
    std::thread::Builder::new().name("metrics".into()).spawn(answer_all).map(drop)
}

fn answer(mut stream: TcpStream, text: &(impl Fn() -> String + ?Sized)) -> io::Result<()> {
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
        (Some(b"GET" | b"HEAD"), Some(b"/metrics")) => ("200 OK", "text/plain; version=0.0.4", text()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stay_labels() {
        let mut text = Text::default();
        text.one("a_total", Kind::Counter, "As.", 3);
        text.family("b", Kind::Gauge, "Bs.");
        text.sample("b", &[("of", "x\"} 1\nc 2\\"), ("and", "y")], 0.5);
        assert_eq!(
            text.into_string(),
            "# HELP a_total As.\n# TYPE a_total counter\na_total 3\n# HELP b Bs.\n# TYPE b gauge\n\
             b{of=\"x\\\"} 1\\nc 2\\\\\",and=\"y\"} 0.5\n"
        );
    }

    #[test]
    fn figures_are_under_metrics_and_nothing_else_is_there() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        serve(listener, || "a 1\n".to_owned()).unwrap();
        let ask = |request: &str| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let answer = ask("GET /metrics?x=1 HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\na 1\n"), "{answer}");
        assert!(ask("HEAD /metrics HTTP/1.1\r\n\r\n").ends_with("Content-Length: 4\r\nConnection: close\r\n\r\n"));
        assert!(ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    }
}
