//! What several tests share: the examples, the command, the data beside the checkout.

#![allow(dead_code, reason = "every test takes its share")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The pipeline with every protocol.
pub(crate) const PROTOCOLS: &str = include_str!("../../../config/protocols.toml");

/// The same, read.
pub(crate) fn protocols() -> veilwatch::config::Config {
    veilwatch::config::Config::parse(PROTOCOLS, "config/protocols.toml").unwrap()
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A capture that ships with the project.
pub(crate) fn example(name: &str) -> PathBuf {
    root().join("examples/captures").join(name)
}

/// A folder of the data beside the checkout; says so where it is absent.
pub(crate) fn shared(folder: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(folder);
    if path.is_dir() {
        return path.canonicalize().ok();
    }
    eprintln!("skipped: ../shared/data/{folder} is not there");
    None
}

/// Whether there are capture filters here; says so where not.
pub(crate) fn filters() -> bool {
    let filter = veilwatch::filter::Filter::new("ip");
    if let Err(error) = &filter {
        eprintln!("skipped: {error}");
    }
    filter.is_ok()
}

/// Runs the command.
pub(crate) fn veilwatch<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_veilwatch"))
        .args(args)
        .current_dir(root())
        // Which libraries were tried is nobody's business but the tests'.
        .env("VEILWATCH_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
        .output()
        .unwrap()
}

/// Exit status and standard output of a run.
pub(crate) fn out(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Exit status and standard error of a run.
pub(crate) fn err(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
