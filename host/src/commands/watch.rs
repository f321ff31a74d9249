//! Progress on a terminal, for anything that takes longer than two seconds.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Shows progress until it is dropped; nothing where standard error is no terminal.
pub(super) struct Watch {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a watch shows: how much is done, of how much, and a few words.
pub(super) type Look = Box<dyn Fn() -> (u64, Option<u64>, String) + Send>;

impl Watch {
    /// Looks on with `look` ten times a second; `bytes` says that it counts bytes.
    pub(super) fn start(bytes: bool, look: Look) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { end: None, thread: None };
        }
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            if ended.recv_timeout(Duration::from_secs(2)) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template = match (bytes, look().1.is_some()) {
                (true, true) => "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg}",
                (true, false) => "{spinner} {bytes} {bytes_per_sec} {msg}",
                (false, _) => "{bar:30} {pos}/{len} {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            loop {
                let (done, total, words) = look();
                if let Some(total) = total {
                    bar.set_length(total);
                }
                bar.set_position(done);
                bar.set_message(words);
                if ended.recv_timeout(Duration::from_millis(100)) != Err(RecvTimeoutError::Timeout) {
                    bar.finish_and_clear();
                    return;
                }
            }
        });
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
