//! A network of its own, with a cable both ends of which are there: for portals that capture. Whoever is not root cannot have
//! one.

#![allow(dead_code, reason = "not every binary of tests has a use for all of it")]

use std::fs::File;
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendto, socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use veilwatch::source::{InputLimits, Source};

/// Where packets are put into the cable, and where they come out of it.
pub(crate) const ENDS: [&str; 2] = ["into0", "out0"];

/// A network that ends with this value, and with all that is in it.
pub(crate) struct Room {
    holder: Child,
}

impl Room {
    /// A new one; nothing where that is not allowed, or a tool is missing: why.
    pub(crate) fn new() -> Result<Self, &'static str> {
        if !nix::unistd::geteuid().is_root() {
            return Err("networks of their own are root's");
        }
        let holder = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo; exec sleep 600"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut room = Self { holder: holder.map_err(|_| "unshare is not there")? };
        // It has its network once it says something.
        let is_there = room.holder.stdout.take().unwrap().read_exact(&mut [0]).is_ok();
        if !is_there {
            return Err("networks of their own are not allowed here");
        }
        let [into, out] = ENDS;
        let lines = format!(
            "ip link set lo up && ip link add {into} type veth peer name {out} && \
             ip link set {into} mtu 65535 addrgenmode none up && ip link set {out} mtu 65535 addrgenmode none up"
        );
        let made = room.inside(|| Command::new("sh").args(["-ec", &lines]).stderr(Stdio::null()).status());
        if made.is_ok_and(|status| status.success()) { Ok(room) } else { Err("ip is not there, or veth not allowed") }
    }

    /// Puts this thread into the network, and all that it starts from now on.
    pub(crate) fn enter(&self) {
        let name = File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        move_into_link_name_space(name.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Does something on a thread that is in there.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Sends frames into the cable.
    pub(crate) fn send(&self, frames: &[Vec<u8>]) {
        self.inside(|| {
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).unwrap();
            let end = getifaddrs().unwrap().filter(|one| one.interface_name == ENDS[0]).find_map(|one| one.address);
            let end = *end.unwrap().as_link_addr().unwrap();
            for frame in frames {
                sendto(socket.as_raw_fd(), frame, &end, MsgFlags::empty()).unwrap();
            }
        });
    }

    /// Listens out here at this port, and connects whoever comes with the same port in there, for as long as the test runs.
    pub(crate) fn forward(&self, port: u16) {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let name = format!("/proc/{}/ns/net", self.holder.id());
        std::thread::spawn(move || {
            for outside in listener.incoming().map_while(Result::ok) {
                let name = name.clone();
                std::thread::spawn(move || {
                    let Ok(file) = File::open(name) else { return };
                    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                    let Ok(inside) = TcpStream::connect(("127.0.0.1", port)) else { return };
                    let copy = |mut from: TcpStream, mut to: TcpStream| {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    };
                    let (Ok(back), Ok(there)) = (inside.try_clone(), outside.try_clone()) else { return };
                    std::thread::spawn(move || copy(back, there));
                    copy(outside, inside);
                });
            }
        });
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = (self.holder.kill(), self.holder.wait());
    }
}

/// The packets of a capture.
pub(crate) fn frames_of(capture: &Path) -> Vec<Vec<u8>> {
    let mut source = Source::open(capture, &InputLimits::default()).unwrap();
    let mut frames = Vec::new();
    while let Some(block) = source.next_block(None).unwrap() {
        frames.extend(block.packets().map(|packet| packet.data.to_vec()));
    }
    frames
}

/// Frames that are of no flow.
pub(crate) fn some_frames(count: usize) -> Vec<Vec<u8>> {
    vec![[&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xb5], &[7; 46]].concat(); count]
}

/// The default pipeline, which tells flows soon after they were closed, and early.
pub(crate) fn quick_pipeline(folder: &Path) -> std::path::PathBuf {
    let text = veilwatch::config::EXAMPLE
        .replace("linger_seconds = 10 ", "linger_seconds = 1 ")
        .replace("early_packets = 0 ", "early_packets = 12 ");
    assert_ne!(text, veilwatch::config::EXAMPLE);
    let path = folder.join("quick.toml");
    std::fs::write(&path, text).unwrap();
    path
}
