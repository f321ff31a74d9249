//! What a process gives up before it looks at what comes from others: a worker, a trial of a library, a live capture.
//!
//! * Limits of the kernel on memory, processor time, file size and open files.
//! * Landlock: the capture, the pipeline's libraries and its model can be read, the result written; every other file can
//!   neither be opened nor made. No TCP, no signals and no abstract sockets to others.
//! * seccomp: calls that no analysis has a use for fail, and those that only an attacker has a use for (sockets, other
//!   programs, other processes, the kernel itself) end the worker, so that the parent learns of it.
//!
//! What is left: a worker can learn whether a file of a given name exists, and how large it is.
//!
//! All of it holds for every thread that is started later, and cannot be taken back.

use crate::worker::WorkerLimits;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why a worker is not confined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// A limit cannot be set.
    #[error("the limit on {what} cannot be set ({error}); check the limits that the portal itself runs under")]
    Limit {
        /// Which.
        what: &'static str,
        /// What the system said.
        error: nix::Error,
    },
    /// Files cannot be confined.
    #[error(
        "files cannot be confined ({0}); Linux 5.13 or later with Landlock is needed, or `without_sandbox` where there is \
         none"
    )]
    Files(String),
    /// Calls cannot be confined.
    #[error(
        "system calls cannot be confined ({0}); Linux with seccomp is needed, or `without_sandbox` where there is none"
    )]
    Calls(String),
}

impl SandboxError {
    /// What is wrong, without advice.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Limit { what, error } => format!("{what}: {error}"),
            Self::Files(error) => format!("files: {error}"),
            Self::Calls(error) => format!("system calls: {error}"),
        }
    }
}

/// Which files a worker needs.
#[derive(Default)]
pub(crate) struct Needs<'a> {
    /// Files and folders that are read.
    pub(crate) read: Vec<PathBuf>,
    /// Libraries that are loaded; where there are any, those of the system can be too.
    pub(crate) libraries: Vec<PathBuf>,
    /// Folders of libraries, and others that are read.
    pub(crate) folders: Vec<PathBuf>,
    /// Folders that are listed and read, without a library in them.
    pub(crate) listed: Vec<PathBuf>,
    /// The file that is written.
    pub(crate) write: Option<&'a Path>,
    /// Folders in which files are made, written and removed.
    pub(crate) make: Vec<PathBuf>,
}

/// Calls that a process may make, or may not, unlike a worker that analyses.
pub(crate) struct Calls<'a> {
    /// Calls that work.
    pub(crate) useful: &'a [i64],
    /// Requests of `ioctl` that work.
    pub(crate) controls: &'a [u64],
    /// Calls that end the process; where there are any, so does opening a file to write it.
    pub(crate) ending: &'a [i64],
    /// Families of sockets that it may open.
    pub(crate) families: &'a [i32],
}

/// Those of a worker that analyses.
const ANALYSIS: Calls<'static> = Calls { useful: &[], controls: &[], ending: &[], families: &[] };

/// Seconds from the first signal of the processor-time limit to the one that cannot be caught.
const CPU_GRACE: u64 = 2;

/// Closes what a careless parent left open beside standard input, output and error. No other thread may run yet.
pub(crate) fn close_files() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> =
        open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(|number| *number > 2).collect();
    for number in numbers {
        // The folder's own number is among them, and closed by now.
        let _ = nix::unistd::close(number);
    }
}

/// Takes the limits on, and ends with the parent.
pub(crate) fn limit(limits: &WorkerLimits) -> Result<(), SandboxError> {
    let soft_and_hard = [
        ("memory", Resource::RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
        ("processor time", Resource::RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds.saturating_add(CPU_GRACE)),
        ("file size", Resource::RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes),
        ("open files", Resource::RLIMIT_NOFILE, limits.open_files, limits.open_files),
        ("core dumps", Resource::RLIMIT_CORE, 0, 0),
    ];
    for (what, resource, soft, hard) in soft_and_hard {
        let failed = |error| SandboxError::Limit { what, error };
        // A limit that is lower already stays: raising it is nobody's right.
        let (_, highest) = getrlimit(resource).map_err(failed)?;
        let hard = hard.min(highest);
        setrlimit(resource, soft.min(hard), hard).map_err(failed)?;
    }
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| SandboxError::Limit { what: "the life of the process", error })?;
    close_to_others()
}

/// Has nobody else look into its memory, and gives up getting rights by other programs.
pub(crate) fn close_to_others() -> Result<(), SandboxError> {
    let process = |what| move |error| SandboxError::Limit { what, error };
    // Memory that nobody else may look into, and no files of its own in /proc.
    prctl::set_dumpable(false).map_err(process("memory dumps"))?;
    prctl::set_no_new_privs().map_err(process("privileges"))
}

/// Gives up everything that `needs` does not name, and says by which version of Landlock. Only this thread and those it
/// starts are held to it.
pub(crate) fn confine(needs: &Needs<'_>) -> Result<i32, SandboxError> {
    confine_to(needs, &ANALYSIS)
}

/// Gives up everything for a process that tries a library: it can read that one and those of the system, and to write is
/// its end, so that whoever waits for it learns of it.
pub(crate) fn confine_trial(library: &Path) -> Result<(), SandboxError> {
    let libraries = vec![library.to_owned()];
    confine_to(&Needs { libraries, ..Needs::default() }, &Calls { ending: WRITING, ..ANALYSIS }).map(drop)
}

/// The same for other needs, and other calls.
pub(crate) fn confine_to(needs: &Needs<'_>, calls: &Calls<'_>) -> Result<i32, SandboxError> {
    // Both are tried, whatever becomes of the first.
    let files = confine_files(needs);
    let calls = confine_calls(calls).map_err(|error| SandboxError::Calls(error.to_string()));
    files.and_then(|version| calls.map(|()| version))
}

/// Where a library's own libraries are, and how the loader finds them.
const SYSTEM: [&str; 6] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"];

fn confine_files(needs: &Needs<'_>) -> Result<i32, SandboxError> {
    let failed = |error: landlock::RulesetError| SandboxError::Files(error.to_string());
    // Files are what it is for, and the first version of Landlock knows them; what later ones add is taken where it is.
    let newest = ABI::V6;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .map_err(failed)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(newest)))
        .and_then(|rules| rules.scope(Scope::from_all(newest)))
        .and_then(|rules| rules.create())
        .map_err(failed)?;
    let system: &[&str] = if needs.libraries.is_empty() && needs.folders.is_empty() { &[] } else { &SYSTEM };
    let system = system.iter().map(Path::new);
    let read = needs.read.iter().chain(&needs.libraries).map(PathBuf::as_path).chain(system);
    let write = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    let list = AccessFs::ReadFile | AccessFs::ReadDir;
    let make = list
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::MakeDir
        | AccessFs::RemoveDir;
    let all = read
        .map(|path| (path, AccessFs::ReadFile.into()))
        .chain(needs.folders.iter().chain(&needs.listed).map(|path| (path.as_path(), list)))
        .chain(needs.write.map(|path| (path, write)))
        .chain(needs.make.iter().map(|path| (path.as_path(), make)));
    for (path, access) in all {
        // What is not there need not be allowed; whoever opens it says so in better words.
        if let Ok(path) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(path, access)).map_err(failed)?;
        }
    }
    let status = rules.restrict_self().map_err(failed)?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) | (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => {
            Err(SandboxError::Files("the kernel has no Landlock, or it is switched off".into()))
        }
        (_, LandlockStatus::Available { effective_abi, kernel_abi }) => Ok(kernel_abi.unwrap_or(effective_abi as i32)),
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn confine_calls(calls: &Calls<'_>) -> Result<(), seccompiler::Error> {
    let Calls { useful: also, controls, ending, families } = calls;
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let (allow, no) = (SeccompAction::Allow, SeccompAction::Errno);
    let always = |calls: &[i64]| -> Rules { calls.iter().map(|call| (*call, Vec::new())).collect() };
    let mut hostile = always(HOSTILE);
    hostile.insert(libc::SYS_clone, vec![other_process()?]);
    hostile.retain(|call, _| !also.contains(call));
    if !families.is_empty() {
        // A rule holds where all of its conditions do.
        let others = families
            .iter()
            .map(|family| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, *family as u64));
        hostile.insert(libc::SYS_socket, vec![SeccompRule::new(others.collect::<Result<_, _>>()?)?]);
    }
    if !ending.is_empty() {
        hostile.extend(always(ending));
        hostile.insert(libc::SYS_openat, opening(2)?);
        #[cfg(target_arch = "x86_64")]
        hostile.insert(libc::SYS_open, opening(1)?);
    }
    let mut useful = always(USEFUL);
    useful.extend(always(also));
    if !families.is_empty() {
        let these = families.iter().map(|family| argument(0, SeccompCmpOp::Eq, *family as u64));
        useful.insert(libc::SYS_socket, these.collect::<Result<_, _>>()?);
    }
    if !controls.is_empty() {
        let controls = controls.iter().map(|request| argument(1, SeccompCmpOp::Eq, *request));
        useful.insert(libc::SYS_ioctl, controls.collect::<Result<_, _>>()?);
    }
    useful.insert(libc::SYS_clone, vec![own_thread()?]);
    let fcntl = FCNTL.iter().map(|command| argument(1, SeccompCmpOp::Eq, *command as u64));
    useful.insert(libc::SYS_fcntl, fcntl.collect::<Result<_, _>>()?);
    useful.insert(libc::SYS_prctl, vec![argument(0, SeccompCmpOp::Eq, PR_SET_NAME)?]);
    useful.insert(libc::SYS_prlimit64, vec![argument(2, SeccompCmpOp::Eq, 0)?]);
    useful.insert(libc::SYS_tgkill, vec![argument(0, SeccompCmpOp::Eq, u64::from(std::process::id()))?]);
    // Landlock before Linux 6.2 lets a file that can only be read be emptied.
    useful.insert(libc::SYS_openat, vec![argument(2, SeccompCmpOp::MaskedEq(libc::O_TRUNC as u64), 0)?]);
    #[cfg(target_arch = "x86_64")]
    useful.insert(libc::SYS_open, vec![argument(1, SeccompCmpOp::MaskedEq(libc::O_TRUNC as u64), 0)?]);
    // The last one goes last: it forbids to add more. Where filters disagree, the harshest answer counts.
    for (calls, others, these) in [
        (hostile, allow.clone(), SeccompAction::KillProcess),
        // Its arguments cannot be looked at; the C library falls back to `clone`, whose can.
        (always(&[libc::SYS_clone3]), allow.clone(), no(libc::ENOSYS as u32)),
        (useful, no(libc::EPERM as u32), allow),
    ] {
        let filter = SeccompFilter::new(calls, others, these, arch)?;
        let program: seccompiler::BpfProgram = filter.try_into()?;
        seccompiler::apply_filter_all_threads(&program)?;
    }
    Ok(())
}

/// Copies, flags and locks of files. Other commands of `fcntl` can have signals sent to whom one likes.
const FCNTL: &[i32] = &[
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
];
/// `PR_SET_NAME` of prctl(2): threads have names.
const PR_SET_NAME: u64 = libc::PR_SET_NAME as u64;
const THREAD: u64 = (libc::CLONE_THREAD | libc::CLONE_VM) as u64;
/// Flags for namespaces of its own, which a thread has no use for.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

fn argument(number: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::Error> {
    let condition = SeccompCondition::new(number, SeccompCmpArgLen::Qword, is, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

/// Flags with which a file is opened to be written or made.
fn opening(flags: u8) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let any = [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC].map(|flag| flag as u64);
    any.iter().map(|flag| argument(flags, SeccompCmpOp::MaskedEq(*flag), *flag)).collect()
}

/// `clone` for a thread.
fn own_thread() -> Result<SeccompRule, seccompiler::Error> {
    argument(0, SeccompCmpOp::MaskedEq(THREAD | NAMESPACES), THREAD)
}

/// `clone` for a process.
fn other_process() -> Result<SeccompRule, seccompiler::Error> {
    argument(0, SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64), 0)
}

/// Calls that an analysis and its result need; everything else fails with `EPERM`.
const USEFUL: &[i64] = &[
    // Files that are open, or that Landlock lets be opened.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_flock,
    libc::SYS_dup,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_ppoll,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // Threads.
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals that the process sends itself.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time, chance, and who it is.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    // Older names of calls above.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

/// Calls that change files or folders.
const WRITING: &[i64] = &[
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_truncate,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
];

/// Calls that only an attacker has a use for; each ends the worker.
const HOSTILE: &[i64] = &[
    // The network.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    // Who it is, and what it sees.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_personality,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];
