//! A terminal with the program in it: keys go in, and the screen is read. tmux is the terminal.

#![allow(dead_code, reason = "every test takes its share")]

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// One terminal, with a folder of its own.
pub(crate) struct Terminal {
    /// Where its socket lies, and the program keeps what it keeps.
    pub(crate) folder: tempfile::TempDir,
}

impl Terminal {
    /// Begins the command in one of so many columns and lines; says so where there is no tmux, or it can open no terminal.
    pub(crate) fn begin<S: AsRef<OsStr>>(size: (u16, u16), args: &[S]) -> Option<Self> {
        Self::begin_in(Path::new("."), size, args)
    }

    /// The same in another folder.
    pub(crate) fn begin_in<S: AsRef<OsStr>>(folder: &Path, size: (u16, u16), args: &[S]) -> Option<Self> {
        let terminal = Self { folder: tempfile::tempdir().unwrap() };
        // One that holds nothing but a program which waits tells whether there can be any.
        match terminal.command().args(["new-session", "-d", "sleep", "600"]).output() {
            Err(_) => {
                eprintln!("skipped: tmux is not there");
                return None;
            }
            Ok(output) if !output.status.success() => {
                eprintln!("skipped: tmux opens no terminal: {}", String::from_utf8_lossy(&output.stderr));
                return None;
            }
            Ok(_) => {}
        }
        // Whatever it is that calls the tests, the program finds a terminal of the same kind.
        let cache = format!("VEILWATCH_CACHE={}", terminal.folder.path().join("cache").display());
        let mut command = terminal.command();
        command.current_dir(folder);
        command.args(["new-session", "-d", "-s", "program", "-x", &size.0.to_string(), "-y", &size.1.to_string()]);
        command.args(["env", "-u", "NO_COLOR", "LANG=C.UTF-8", &cache, env!("CARGO_BIN_EXE_veilwatch")]).args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        terminal.tmux(&["kill-session", "-t", "0"]);
        Some(terminal)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        // A socket of its own: the usual folder may be somebody else's.
        command.arg("-S").arg(self.folder.path().join("tmux")).args(["-f", "/dev/null"]);
        command
    }

    /// What tmux answers.
    pub(crate) fn tmux(&self, args: &[&str]) -> String {
        let output = self.command().args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types keys, by tmux's names.
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a text as it is.
    pub(crate) fn types(&self, text: &str) {
        self.keys(&["-l", text]);
    }

    /// Types a path as it is.
    pub(crate) fn types_path(&self, path: &Path) {
        self.types(path.to_str().unwrap());
    }

    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Keeps the screen as a picture for the documents, where that is asked for (`VEILWATCH_WRITE_PICTURES=1`).
    pub(crate) fn picture(&self, name: &str) {
        if std::env::var_os("VEILWATCH_WRITE_PICTURES").is_none() {
            return;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures");
        std::fs::create_dir_all(&folder).unwrap();
        let drawn = anstyle_svg::Term::new().render_svg(&self.tmux(&["capture-pane", "-e", "-p"]));
        std::fs::write(folder.join(name).with_extension("svg"), drawn).unwrap();
    }

    /// Waits until all of it is on the screen.
    #[track_caller]
    pub(crate) fn shows(&self, words: &[&str]) -> String {
        let begin = Instant::now();
        loop {
            let screen = self.screen();
            if words.iter().all(|word| screen.contains(word)) {
                return screen;
            }
            let sessions = self.tmux(&["list-sessions"]);
            assert!(begin.elapsed() < LONG, "{words:?} are not on the screen of [{sessions}]:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until none of it is on the screen.
    #[track_caller]
    pub(crate) fn hides(&self, word: &str) -> String {
        let begin = Instant::now();
        loop {
            let screen = self.screen();
            if !screen.contains(word) {
                return screen;
            }
            assert!(begin.elapsed() < LONG, "{word:?} stays on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until the program has ended, and the terminal with it.
    #[track_caller]
    pub(crate) fn ends(&self) {
        let begin = Instant::now();
        while !self.tmux(&["list-sessions"]).is_empty() {
            assert!(begin.elapsed() < LONG, "it goes on:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
