//! A portal of one's own: the real binary on a free port, with a data folder that ends with it.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::unistd::Pid;
use tempfile::TempDir;

use crate::chromedriver::free_port;
use crate::room::{Room, quick_pipeline};

/// A running portal, which ends with this value.
pub(crate) struct Site {
    child: Child,
    /// Where people find it: where it listens, or a road that leads there.
    pub(crate) address: String,
    /// Where it listens.
    listens: String,
    /// The path of the link for the first administrator.
    pub(crate) setup: String,
    data: TempDir,
    /// How it is started, for when it is started again.
    arguments: Vec<OsString>,
    variables: Vec<(String, String)>,
}

impl Site {
    /// A portal with nothing set.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A portal with these variables set.
    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &[], variables)
    }

    /// A portal whose configuration is made from what `prepare` puts into its folder.
    pub(crate) fn start_prepared(prepare: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = prepare(folder.path());
        let path = folder.path().join("web.toml");
        std::fs::write(&path, config).unwrap();
        Self::start_in(folder, &["--config".as_ref(), path.as_os_str()], &[])
    }

    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// A portal in a network of its own, on whose interfaces one may capture.
    pub(crate) fn start_live(room: &Room) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipeline = quick_pipeline(folder.path());
        let config = format!("[live]\nenabled = true\n[[pipeline]]\nname = 'quick'\nfile = '{}'\n", pipeline.display());
        let path = folder.path().join("web.toml");
        std::fs::write(&path, config).unwrap();
        let port = free_port();
        let arguments = ["--config".as_ref(), path.as_os_str()];
        let site = room.inside(|| Self::start_at(port, folder, &arguments, &[]));
        room.forward(port);
        site
    }

    fn start_in(data: TempDir, arguments: &[&OsStr], variables: &[(&str, &str)]) -> Self {
        Self::start_at(free_port(), data, arguments, variables)
    }

    fn start_at(port: u16, data: TempDir, arguments: &[&OsStr], variables: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{port}");
        let arguments: Vec<OsString> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<(String, String)> = variables.iter().map(owned).collect();
        let (child, lines) = launch(&data, &address, &arguments, &variables);
        let listens = address;
        let address = format!("http://{listens}");
        let setup = lines.map_while(Result::ok).find_map(|line| line.trim().strip_prefix(&address).map(str::to_owned));
        // From here on a panic ends the portal.
        let mut site = Self { child, address, listens, setup: String::new(), data, arguments, variables };
        site.setup = setup.expect("the portal prints the link for the first administrator");
        site
    }

    /// From here on it is found at the end of a slow road: 64 KiB of what is sent there take so many milliseconds.
    pub(crate) fn slow_down(&mut self, milliseconds: Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        self.address = format!("http://{}", listener.local_addr().unwrap());
        let to = self.listens.clone();
        // It ends with the tests.
        std::thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                let Ok(there) = TcpStream::connect(&to) else { continue };
                let (mut from, mut back) = (there.try_clone().unwrap(), here.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut back);
                    let _ = back.shutdown(Shutdown::Both);
                });
                let milliseconds = Arc::clone(&milliseconds);
                std::thread::spawn(move || carry(here, there, &milliseconds));
            }
        });
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was, on what it left.
    pub(crate) fn again(&mut self) {
        let (child, mut lines) = launch(&self.data, &self.listens, &self.arguments, &self.variables);
        self.child = child;
        let listens = lines.any(|line| line.is_ok_and(|line| line.starts_with("The portal listens on ")));
        assert!(listens, "it starts again");
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, milliseconds: &AtomicU64) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        std::thread::sleep(Duration::from_millis(milliseconds.load(Ordering::Relaxed)));
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn launch(
    data: &TempDir,
    address: &str,
    arguments: &[OsString],
    variables: &[(String, String)],
) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch-web"))
        .args(arguments)
        .env("VEILWATCH_WEB_DATA", data.path())
        .env("VEILWATCH_WEB_ADDRESS", address)
        .env("RUST_LOG", "error")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

impl Drop for Site {
    fn drop(&mut self) {
        // Its workers end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
