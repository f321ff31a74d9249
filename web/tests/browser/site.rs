//! A portal of one's own: the real binary on a free port, with a data folder that ends with it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::chromedriver::free_port;
use crate::room::{Room, quick_pipeline};

/// A running portal, which ends with this value.
pub(crate) struct Site {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
    /// The path of the link for the first administrator.
    pub(crate) setup: String,
    _data: TempDir,
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
        let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch-web"))
            .args(arguments)
            .env("VEILWATCH_WEB_DATA", data.path())
            .env("VEILWATCH_WEB_ADDRESS", &address)
            .env("RUST_LOG", "error")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = format!("http://{address}");
        let setup = lines.map_while(Result::ok).find_map(|line| line.trim().strip_prefix(&address).map(str::to_owned));
        // From here on a panic ends the portal.
        let mut site = Self { child, address, setup: String::new(), _data: data };
        site.setup = setup.expect("the portal prints the link for the first administrator");
        site
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Its workers end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
