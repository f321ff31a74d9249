//! Ctrl-C, and a polite request to end (SIGTERM): a run ends with what was found so far, the second time at once.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, StdoutLock, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use veilwatch::source::Interrupted;

/// Whether somebody asked for the end.
pub(super) struct Interrupt {
    asked: Arc<AtomicBool>,
    /// Has something to read once somebody did, or nobody reads the output any more; it stays there.
    wake: UnixStream,
    waker: UnixStream,
}

impl Interrupt {
    /// Listens from now on, until the process ends.
    pub(super) fn listen() -> Result<Self> {
        Self::try_listen().context("Ctrl-C cannot be caught")
    }

    fn try_listen() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let (wake, waker) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            // In this order: a second signal finds the flag set, and whoever is woken finds it too.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
            pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Self { asked, wake, waker })
    }

    /// Has a terminal that is closed be the end too.
    pub(super) fn at_hang_up(&self) -> Result<()> {
        flag::register(SIGHUP, Arc::clone(&self.asked)).context("SIGHUP cannot be caught")?;
        Ok(())
    }

    /// Set once somebody asked.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.asked
    }

    /// The same for another thread.
    pub(super) fn shared(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// Whether somebody asked.
    pub(super) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Standard output. Where nobody reads it any more, no read goes on either, so that a run ends on a quiet pipe.
    pub(super) fn stdout(&self) -> io::Result<Output> {
        Ok(Output { inner: io::stdout().lock(), waker: self.waker.try_clone()? })
    }

    /// Standard input, of which no read goes on when somebody asks.
    pub(super) fn stdin(&self) -> io::Result<Patient> {
        // Not through its buffer: what waits in there shows in no poll.
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Patient { input, wake: self.wake.try_clone()? })
    }

    /// The same of a named pipe, of which opening does not wait for a writer either.
    pub(super) fn pipe(&self, path: &Path) -> io::Result<Patient> {
        let input = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        Ok(Patient { input, wake: self.wake.try_clone()? })
    }
}

/// An output whose end is the end of reading.
pub(super) struct Output {
    inner: StdoutLock<'static>,
    waker: UnixStream,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes).inspect_err(|_| _ = (&self.waker).write(&[0]))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush().inspect_err(|_| _ = (&self.waker).write(&[0]))
    }
}

/// An input that may have nothing to say for a long time.
pub(super) struct Patient {
    input: File,
    wake: UnixStream,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let wait = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut either = [wait(self.input.as_fd()), wait(self.wake.as_fd())];
            match poll(&mut either, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            if either[1].any() == Some(true) {
                return Err(io::Error::other(Interrupted));
            }
            match self.input.read(buffer) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                other => return other,
            }
        }
    }
}
