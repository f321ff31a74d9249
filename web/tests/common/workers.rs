//! The worker processes of a portal that is a process of its own.

use nix::unistd::Pid;

/// Those that live.
pub(crate) fn workers_of(portal: Pid) -> Vec<Pid> {
    let all = std::fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid::from_raw))
        .filter(|pid| parent_of(*pid) == Some(portal) && is_worker(*pid))
        .collect()
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
