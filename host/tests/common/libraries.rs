//! Libraries that tests compile from `tests/fixtures`, each once in a run of the tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Where cargo put this test, and everything that it links to.
fn deps() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The crate as cargo built it last.
fn extern_crate(name: &str) -> String {
    let built = std::fs::read_dir(deps()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| {
        let file = path.file_name().unwrap().to_string_lossy();
        file.starts_with(&format!("lib{name}-")) && file.ends_with(".rlib")
    });
    let newest = built.max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    format!("--extern={name}={}", newest.unwrap_or_else(|| panic!("{name} was not built")).display())
}

/// Compiles a fixture as a library; `krates` are those that it names, `more` are arguments of the compiler.
pub(crate) fn compile(source: &str, krates: &str, more: &[&str]) -> PathBuf {
    static DONE: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut done = DONE.lock().unwrap();
    let key = format!("{source} {more:?}");
    if let Some(path) = done.get(&key) {
        return path.clone();
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixtures");
    std::fs::create_dir_all(&folder).unwrap();
    let plain: String = key.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let path = folder.join(format!("lib{plain}.so"));
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc
        .args(["--crate-type=cdylib", "--edition=2024", "--cap-lints=allow", "-Cdebuginfo=0", "-Cstrip=debuginfo"])
        .arg(format!("-Ldependency={}", deps().display()))
        .args(more)
        .arg("-o")
        .arg(&path)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(source).with_extension("rs"))
        .env("CARGO_PKG_VERSION", "1.2.3");
    for krate in krates.split_whitespace() {
        rustc.arg(extern_crate(krate));
    }
    if let Some(version) = more.iter().find_map(|argument| argument.strip_prefix("--cfg=version_")) {
        // Its types are those of our crate by name, so that their layout is what is compared.
        rustc.env("VEILWATCH_TEST_VERSION", version.replace('_', ".")).env("CARGO_PKG_NAME", "veilwatch-core");
    }
    let output = rustc.output().unwrap();
    assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
    done.insert(key, path.clone());
    path
}
