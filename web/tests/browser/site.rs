//! A portal of one's own: the real binary on a free port, with a data folder that ends with it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::chromedriver::free_port;

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
        let data = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch-web"))
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
