//! Just enough HTTP/1.1 to talk to the portal, and to break off in the middle of a request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// All values of a header.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}: {}", self.status, self.text()))
    }

    /// The same, if it has this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// A connection to the portal.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The head of a request; `more` holds whole lines.
pub(crate) fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: portal\r\nConnection: close\r\n{more}\r\n")
}

/// Sends a request and hears the answer.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, more: &str, body: &[u8]) -> Answer {
    let mut stream = connect(address);
    let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = head(method, path, &format!("{more}{length}"));
    stream.write_all(request.as_bytes()).unwrap();
    // Whoever refuses a body need not read it.
    let _ = stream.write_all(body);
    hear(stream).unwrap_or_else(|| panic!("no answer to {method} {path}"))
}

/// What a connection still says until it is closed; nothing where it is closed without a word.
pub(crate) fn hear(mut stream: TcpStream) -> Option<Answer> {
    let mut all = Vec::new();
    let mut piece = [0; 1 << 14];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(bytes) => all.extend_from_slice(&piece[..bytes]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing came for {PATIENCE:?}"),
            // Closed while there was still something on its way to it: what it said counts.
            Err(_) => break,
        }
    }
    if all.is_empty() { None } else { Some(parse(&all)) }
}

fn parse(all: &[u8]) -> Answer {
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer without an end of its head");
    let text = str::from_utf8(&all[..end]).unwrap();
    let mut lines = text.split("\r\n");
    let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    if status == 100 {
        return parse(&all[end + 4..]);
    }
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
        .collect();
    let mut answer = Answer { status, headers, body: all[end + 4..].to_vec() };
    let is_chunked = answer.headers("transfer-encoding").any(|value| value == "chunked");
    if is_chunked {
        answer.body = whole(&answer.body);
    }
    answer
}

/// Chunks without what is around them.
fn whole(mut chunks: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(line) = chunks.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(str::from_utf8(&chunks[..line]).unwrap(), 16).unwrap();
        let rest = &chunks[line + 2..];
        if length == 0 || rest.len() < length + 2 {
            break;
        }
        whole.extend_from_slice(&rest[..length]);
        chunks = &rest[length + 2..];
    }
    whole
}

/// A text in a form.
pub(crate) fn encoded(fields: &[(&str, &str)]) -> String {
    let one = |text: &str| {
        let mut out = String::new();
        for byte in text.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
        out
    };
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", one(name), one(value))).collect();
    pairs.join("&")
}
