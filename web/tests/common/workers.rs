//! The worker processes of a portal that is a process of its own.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Those that live.
pub(crate) fn workers_of(portal: Pid) -> Vec<Pid> {
    let all = std::fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid::from_raw))
        .filter(|pid| parent_of(*pid) == Some(portal) && is_worker(*pid))
        .collect()
}

/// Lets them work for a moment, and halts them: whoever waits for the middle of a piece of work this way does not miss it,
/// however fast the machine is.
pub(crate) fn work_a_little(portal: Pid) {
    signal(portal, Signal::SIGCONT);
    std::thread::sleep(Duration::from_millis(10));
    halt(portal);
}

/// Halts them.
pub(crate) fn halt(portal: Pid) {
    signal(portal, Signal::SIGSTOP);
}

/// Has them go on.
pub(crate) fn work_on(portal: Pid) {
    signal(portal, Signal::SIGCONT);
}

fn signal(portal: Pid, signal: Signal) {
    for worker in workers_of(portal) {
        // It may just have ended.
        let _ = kill(worker, signal);
    }
}

/// Whether a worker still does anything.
#[allow(dead_code, reason = "not every test asks")]
pub(crate) fn lives(pid: Pid) -> bool {
    parent_of(pid).is_some() && is_worker(pid)
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let facts = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = facts.rsplit(')').next()?.split_whitespace();
    // A dead one that nobody has reaped yet does nothing any more.
    if words.next()? == "Z" {
        return None;
    }
    words.next()?.parse().ok().map(Pid::from_raw)
}

fn is_worker(pid: Pid) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"veilwatch-web\0worker\0"))
}
