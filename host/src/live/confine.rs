//! What a process that captures gives up, once its rings are open and before it looks at a packet.
//!
//! Every capability; every file but those it was told of; every call that capturing has no use for. As with the workers of
//! the portal, none of it can be taken back, and threads that are started later are held to it too.

use crate::sandbox::{self, Calls, Needs, SandboxError};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What a capture needs after it was confined.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// Files and folders that are read, such as a configuration that may be read again.
    pub read: Vec<PathBuf>,
    /// Folders in which files are made, written and removed.
    pub write: Vec<PathBuf>,
    /// Libraries of plugins.
    pub libraries: Vec<PathBuf>,
    /// Folders of libraries.
    pub library_folders: Vec<PathBuf>,
    /// Whether it opens interfaces again and again, and makes folders: then it keeps the one capability for that.
    pub opens_again: bool,
}

/// Why a process could not be confined.
#[derive(Debug, thiserror::Error)]
#[error(
    "the process that captures cannot be confined ({0}); it takes Linux 5.13 or later with Landlock and seccomp, or \
     `live.sandbox = false` where there is none"
)]
pub struct ConfineError(String);

/// What newer C libraries ask instead of `TCGETS`.
const TCGETS2: u64 = 0x802c_542a;

/// Calls that end the portal's workers, or fail there, and that a capture has a use for.
#[allow(clippy::unnecessary_cast, reason = "other C libraries have these numbers in other types")]
const CALLS: Calls<'static> = Calls {
    useful: &[
        // The rings, and who asks for numbers.
        libc::SYS_bind,
        libc::SYS_getsockopt,
        libc::SYS_setsockopt,
        libc::SYS_accept4,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_shutdown,
        // Files that are written in turn.
        libc::SYS_unlinkat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_unlink,
    ],
    // Whether an interface is there again, and which number it has.
    // And how wide the terminal is, if it is one.
    controls: &[
        libc::SIOCGIFFLAGS as u64,
        libc::SIOCGIFINDEX as u64,
        libc::TCGETS as u64,
        TCGETS2,
        libc::TIOCGWINSZ as u64,
    ],
    ending: &[],
    families: &[],
};

/// Those of one that opens interfaces again: sockets to capture and to ask for interfaces, and whole files in place of others.
const AGAIN: &[i64] = &[
    libc::SYS_getsockname,
    libc::SYS_recvmsg,
    libc::SYS_mkdirat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fchown,
    libc::SYS_fchmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
];

/// Calls of a session that somebody looks at elsewhere: it takes its rings up again where an interface was gone, and that is
/// all it does with a socket.
#[allow(clippy::unnecessary_cast, reason = "other C libraries have these numbers in other types")]
const SESSION: Calls<'static> = Calls {
    useful: &[libc::SYS_bind, libc::SYS_getsockopt, libc::SYS_setsockopt],
    controls: &[libc::SIOCGIFFLAGS as u64, libc::SIOCGIFINDEX as u64],
    ending: &[],
    families: &[],
};

/// Whether this process, and programs it starts with its rights, may open rings.
pub fn may_capture() -> bool {
    capabilities(None).is_ok_and(|sets| sets.permitted.contains(CapabilitySet::NET_RAW))
}

/// The same as [`confine`] for a session whose files are open by now: it reads what is named, writes into no folder, and speaks
/// to nobody but its parent.
pub(crate) fn confine_session(reach: &Reach) -> Result<(), ConfineError> {
    confine_to(reach, &SESSION)
}

/// Gives everything up that is not within reach. Called before other threads are started.
pub fn confine(reach: &Reach) -> Result<(), ConfineError> {
    confine_to(reach, &CALLS)
}

fn confine_to(reach: &Reach, calls: &Calls<'_>) -> Result<(), ConfineError> {
    let why = |error: SandboxError| ConfineError(error.reason());
    give_up_capabilities(reach).map_err(|error| ConfineError(format!("capabilities: {error}")))?;
    sandbox::close_to_others().map_err(why)?;
    let (mut folders, read): (Vec<PathBuf>, Vec<PathBuf>) =
        reach.read.iter().cloned().partition(|path: &PathBuf| path.is_dir());
    folders.extend(reach.library_folders.iter().cloned());
    let needs = Needs {
        read,
        libraries: reach.libraries.clone(),
        folders,
        listed: Vec::new(),
        write: None,
        make: reach.write.clone(),
    };
    if !reach.opens_again {
        return sandbox::confine_to(&needs, calls).map(drop).map_err(why);
    }
    let useful = [calls.useful, AGAIN].concat();
    let families = &[libc::AF_PACKET, libc::AF_NETLINK];
    sandbox::confine_to(&needs, &Calls { useful: &useful, families, ..*calls }).map(drop).map_err(why)
}

/// Capabilities go, all but those it cannot be without: root without any may neither write into the folders of others nor read
/// what is theirs alone, and whoever captures with sudo mostly does. Which folders those are is confined as well.
fn give_up_capabilities(reach: &Reach) -> rustix::io::Result<()> {
    let mut kept = CapabilitySet::empty();
    if nix::unistd::geteuid().is_root() {
        let others = |path: &PathBuf| path.metadata().is_ok_and(|found| found.uid() != 0);
        if reach.read.iter().any(others) {
            kept |= CapabilitySet::DAC_READ_SEARCH;
        }
        if !reach.write.is_empty() {
            kept |= CapabilitySet::DAC_OVERRIDE;
        }
        if reach.opens_again {
            kept |= CapabilitySet::CHOWN;
        }
    }
    if reach.opens_again {
        kept |= CapabilitySet::NET_RAW;
    }
    // What it has not got it cannot keep; whoever needs it says so in better words.
    let kept = kept & capabilities(None)?.permitted;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })
}
