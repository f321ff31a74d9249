//! Whether a portal answers, asked from outside: for a container's health check, which has no other program at hand.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::Config;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the portal of this configuration, on this computer, whether it is well. With `[tls]` it only finds out whether
/// somebody listens: the certificate is for the name that visitors use, and not for this address.
///
/// # Errors
/// Where nobody answers, or the answer is not that it is well.
pub fn ask(config: &Config) -> io::Result<()> {
    let ip = match config.address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, config.address.port());
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    if config.tls.is_some() {
        return Ok(());
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    match &head {
        b"HTTP/1.1 200" => Ok(()),
        other => Err(io::Error::other(format!("it says {}", String::from_utf8_lossy(other).escape_debug()))),
    }
}
