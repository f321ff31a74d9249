//! A feature extractor that misbehaves as its setting `does` tells it: what a worker must survive, or die of alone.

#![allow(unsafe_code, reason = "some misdeeds have no safe way")]
#![allow(clippy::panic, clippy::print_stdout, reason = "misdeeds")]

use serde::Deserialize;
use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use veilwatch_core::feature::{Column, FlowBatch, RowsMut};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};

veilwatch_core::declare_plugins!(feature "hostile" "misbehaves as it is told": Hostile);
veilwatch_core::export_plugins!(declarations);

/// What it does on the first batch.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Does {
    #[default]
    Nothing,
    Panic,
    PanicInCreate,
    /// Never comes back from being created.
    HangInCreate,
    Abort,
    /// Uses the processor for ever.
    Hang,
    /// The same, deaf to the signal that says that it is enough.
    HangOn,
    /// Sleeps for ever.
    Sleep,
    Memory,
    /// Writes into every file on disk that is open, for ever.
    Disk,
    /// Makes a file where `file` says.
    MakeFile,
    /// Reads the file that `file` names.
    OpenFile,
    /// Opens the file that `file` names for writing.
    ChangeFile,
    /// Removes the file that `file` names.
    RemoveFile,
    Socket,
    Exec,
    Fork,
    /// Sends the parent a signal.
    Kill,
    /// Has the kernel send the parent a signal.
    KillByFile,
    /// Starts a thread and waits for it, as an honest plugin may.
    Thread,
    /// Prints for ever.
    Babble,
    /// Prints a line, as an honest plugin may.
    Print,
    /// Writes nonsense into every file that is open, the line to the parent among them.
    Forge,
    /// Leaves a message for the parent that is longer than any line.
    Long,
}

/// The extractor.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hostile {
    does: Does,
    file: PathBuf,
}

impl Hostile {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let plugin: Self = settings.read()?;
        match plugin.does {
            Does::PanicInCreate => panic!("told to"),
            Does::HangInCreate => hang(),
            _ => Ok(plugin),
        }
    }

    fn misbehave(&self) {
        match self.does {
            Does::Nothing | Does::PanicInCreate | Does::HangInCreate => {}
            Does::Panic => panic!("told to"),
            Does::Abort => std::process::abort(),
            Does::Hang => hang(),
            Does::HangOn => {
                // SAFETY: a call with two numbers.
                unsafe { libc::signal(libc::SIGXCPU, libc::SIG_IGN) };
                hang();
            }
            Does::Sleep => loop {
                std::thread::sleep(std::time::Duration::from_secs(1));
            },
            Does::Memory => {
                let mut all: Vec<Vec<u8>> = Vec::new();
                loop {
                    all.push(vec![1; 16 << 20]);
                }
            }
            Does::Disk => loop {
                if everywhere(&[b'x'; 1 << 16], |file| file.metadata().is_ok_and(|facts| facts.is_file())) == 0 {
                    panic!("nothing can be written");
                }
            },
            Does::MakeFile => tell(File::create_new(&self.file).map(drop)),
            Does::OpenFile => tell(std::fs::read(&self.file).map(drop)),
            Does::ChangeFile => tell(File::options().write(true).open(&self.file).map(drop)),
            Does::RemoveFile => tell(std::fs::remove_file(&self.file)),
            Does::Socket => tell(std::net::UdpSocket::bind("127.0.0.1:0").map(drop)),
            Does::Exec => tell(Err(Command::new("/bin/true").exec())),
            Does::Fork => {
                // SAFETY: the child, should there ever be one, ends at once.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    // SAFETY: it ends this process only.
                    unsafe { libc::_exit(0) }
                }
                panic!("forked: {child}");
            }
            Does::Kill => {
                // SAFETY: a call with two numbers.
                let killed = unsafe { libc::kill(libc::getppid(), 0) };
                tell(if killed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) });
            }
            Does::KillByFile => {
                // SAFETY: a call with numbers, on standard output.
                let set = unsafe { libc::fcntl(1, libc::F_SETOWN, libc::getppid()) };
                tell(if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) });
            }
            Does::Thread => {
                if std::thread::spawn(|| 42).join().ok() != Some(42) {
                    panic!("the thread went wrong");
                }
            }
            Does::Babble => loop {
                println!("a plugin has a lot to say");
            },
            Does::Print => println!("{{\"failed\":{{\"why\":\"empty\",\"words\":\"a lie\"}}}}"),
            Does::Forge => {
                everywhere(b"this is no event\n", |_| true);
            }
            Does::Long => {
                everywhere(&[b'x'; 1 << 20], |_| true);
            }
        }
    }
}

fn hang() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Panics with what came of something that must not be possible: the host shows the words.
fn tell(outcome: std::io::Result<()>) {
    match outcome {
        Ok(()) => panic!("it was possible"),
        Err(error) => panic!("refused: {error}"),
    }
}

/// Writes to all open files that `these` chooses, but not to the first three; returns how many took it.
fn everywhere(bytes: &[u8], these: impl Fn(&File) -> bool) -> usize {
    let write = |number| {
        // SAFETY: the file is only looked at and written to, and left open for whoever has it.
        let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(number) });
        these(&file) && file.write_all(bytes).is_ok()
    };
    (3..64).filter(|number| write(*number)).count()
}

impl FeatureExtractor for Hostile {
    fn columns(&self) -> Vec<Column> {
        // None, so that a model that was trained without it still fits.
        Vec::new()
    }

    fn extract(&self, batch: &FlowBatch<'_>, _: &mut RowsMut<'_>) -> Result<(), PluginError> {
        if batch.iter().next().is_some() {
            self.misbehave();
        }
        Ok(())
    }
}
