//! Plugins that `veilwatch plugin new` wrote, built as an author builds them.

#![allow(dead_code, clippy::unwrap_used, reason = "every test takes its share; helpers of tests count as tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where all of them are built, so that what they share is built once, and only in the first run of the tests.
pub(crate) fn target() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated");
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// The cargo that runs these tests.
fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// A command in a folder, with this test's `veilwatch`, and a `cargo` that asks no registry and builds into
/// [`target`], to which the `target` of each crate leads.
pub(crate) fn command(program: &str, folder: &Path, tools: &Path) -> Command {
    let wrapper = tools.join("cargo");
    if !wrapper.exists() {
        let script = format!(
            "#!/bin/bash\nfolder=.\n\
             for word in \"$@\"; do [ \"$before\" = --manifest-path ] && folder=$(dirname \"$word\"); before=$word; done\n\
             ln -sfn {:?} \"$folder/target\"\nexec {:?} \"$@\"\n",
            target(),
            cargo()
        );
        std::fs::write(&wrapper, script).unwrap();
        std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let ours = Path::new(env!("CARGO_BIN_EXE_veilwatch")).parent().unwrap();
    let paths = [tools.to_owned(), ours.to_owned()];
    let old = std::env::var_os("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("PATH", std::env::join_paths(paths.into_iter().chain(std::env::split_paths(&old))).unwrap())
        .env("CARGO_NET_OFFLINE", "true")
        // Nobody debugs them.
        .env("CARGO_PROFILE_DEV_DEBUG", "none")
        .env("VEILWATCH_CACHE", tools.join("cache"))
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET_DIR");
    command
}

/// Everything that a command said.
pub(crate) fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}
