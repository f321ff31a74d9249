//! The Debian package and the container file: built, looked into, installed beside the system, and run from there.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::portal::soon;

/// The top of the source tree.
fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[track_caller]
fn well(output: Output) -> String {
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words}\n{}", String::from_utf8_lossy(&output.stderr));
    words
}

fn is_there(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: there is no {tool}");
    }
    found
}

/// The package of the binaries that this test was built with.
fn build(folder: &Path) -> Option<PathBuf> {
    let binaries = Path::new(env!("CARGO_BIN_EXE_veilwatch-web")).parent().unwrap();
    if !is_there("dpkg-deb") {
        return None;
    }
    if !binaries.join("veilwatch").exists() {
        eprintln!("skipped: the command is not built beside the portal");
        return None;
    }
    let script = source().join("config/packages/debian.sh");
    let said = well(
        Command::new(script)
            .args([binaries, folder])
            .env("SOURCE_DATE_EPOCH", "1800000000")
            .env("COMPRESSION", "none")
            .output()
            .unwrap(),
    );
    Some(PathBuf::from(said.trim()))
}

#[test]
fn the_debian_package_installs_runs_and_keeps_data_when_it_is_purged() {
    let folder = tempfile::tempdir().unwrap();
    let Some(package) = build(&folder.path().join("one")) else { return };
    let again = build(&folder.path().join("two")).unwrap();
    assert!(std::fs::read(&package).unwrap() == std::fs::read(again).unwrap(), "two builds differ");
    let deb = |arguments: &[&str]| well(Command::new("dpkg-deb").args(arguments).arg(&package).output().unwrap());
    assert_eq!(
        deb(&["--show", "--showformat=${Package} ${Version}"]).trim(),
        format!("veilwatch {}", env!("CARGO_PKG_VERSION"))
    );
    let contents = deb(&["--contents"]);
    for name in [
        "usr/bin/veilwatch",
        "usr/bin/veilwatch-web",
        "etc/veilwatch/web.toml",
        "usr/lib/systemd/system/veilwatch-web.service",
        "usr/lib/systemd/system/veilwatch.service",
        "usr/lib/sysusers.d/veilwatch-web.conf",
        "usr/share/man/man1/veilwatch-web.1.gz",
        "usr/share/doc/veilwatch/copyright",
        "usr/share/doc/veilwatch/OPERATIONS.md",
        "usr/share/veilwatch/models/default/weights.bin",
    ] {
        assert!(contents.lines().any(|line| line.ends_with(&format!(" ./{name}"))), "{name} in {contents}");
    }
    // Everything is root's, and nobody else can change it.
    assert!(contents.lines().all(|line| line.contains(" root/root ") && !line[..10].contains('s')), "{contents}");
    assert!(contents.lines().all(|line| line.as_bytes()[5] == b'-' && line.as_bytes()[8] == b'-'), "{contents}");

    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root installs packages");
        return;
    }
    let root = folder.path().join("root");
    for name in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "usr/share/debconf", "etc"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    let dpkg = |arguments: &[&str]| {
        let mut command = Command::new("dpkg");
        // Maintainer scripts are told the root, and run outside of it: there is no shell in it.
        command.arg(format!("--root={}", root.display())).arg("--force-script-chrootless,depends,unsafe-io");
        well(command.args(arguments).output().unwrap())
    };
    dpkg(&["--install", package.to_str().unwrap()]);
    assert!(std::fs::read_to_string(root.join("etc/passwd")).is_ok_and(|users| users.contains("veilwatch-web")));
    let info = root.join("var/lib/dpkg/info/veilwatch.conffiles");
    assert!(std::fs::read_to_string(info).unwrap().lines().any(|line| line == "/etc/veilwatch/web.toml"));

    let data = root.join("var/lib/veilwatch-web");
    let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let command = || {
        let mut command = Command::new(root.join("usr/bin/veilwatch-web"));
        command.arg("--config").arg(root.join("etc/veilwatch/web.toml")).env_clear();
        command.env("VEILWATCH_WEB_DATA", &data).env("VEILWATCH_WEB_ADDRESS", address.to_string());
        command.env("VEILWATCH_WEB_LOG__ACCESS", root.join("access.jsonl"));
        command
    };
    let mut portal = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    soon("the portal is well", || {
        assert!(portal.try_wait().unwrap().is_none(), "it has ended");
        command().arg("health").output().unwrap().status.success()
    });
    kill(Pid::from_raw(i32::try_from(portal.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(portal.wait().unwrap().success());
    assert!(well(command().arg("check").output().unwrap()).contains("is whole"));

    // Changed configuration stays when the package goes, and data when it is purged and nobody was asked.
    let config = root.join("etc/veilwatch/web.toml");
    dpkg(&["--remove", "veilwatch"]);
    assert!(!root.join("usr/bin/veilwatch-web").exists() && config.exists());
    dpkg(&["--purge", "veilwatch"]);
    assert!(!config.exists() && data.join("portal.sqlite").exists());
    // Somebody is asked, and says yes.
    dpkg(&["--install", package.to_str().unwrap()]);
    let yes = "db_version() { :; }\ndb_input() { :; }\ndb_go() { :; }\ndb_get() { RET=true; }\ndb_purge() { :; }\n";
    std::fs::write(root.join("usr/share/debconf/confmodule"), yes).unwrap();
    dpkg(&["--purge", "veilwatch"]);
    assert!(!data.exists());
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    if !is_there("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = std::fs::read_to_string(source().join("config/packages/systemd/veilwatch-web.service")).unwrap();
    // The binary is not installed here.
    let program = env!("CARGO_BIN_EXE_veilwatch-web");
    let path = folder.path().join("veilwatch-web.service");
    std::fs::write(&path, unit.replace("/usr/bin/veilwatch-web", program)).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&path).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if words.contains("Failed to initialize manager") {
        eprintln!("skipped: systemd-analyze does not work here");
        return;
    }
    // It also looks at the system's own units.
    assert!(!words.contains("veilwatch-web"), "{words}");
}

/// What no engine is needed for: what is copied is there, and is a whole workspace.
#[test]
fn the_container_file_copies_what_is_there_and_enough_of_it() {
    let text = std::fs::read_to_string(source().join("config/packages/Containerfile")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut stages, mut copied) = (0, 0);
    for line in text.lines() {
        stages += usize::from(line.starts_with("FROM "));
        let Some(words) = line.strip_prefix("COPY ").filter(|words| !words.starts_with("--from")) else { continue };
        let names: Vec<&str> = words.split(' ').collect();
        let (_, names) = names.split_last().unwrap();
        for name in names {
            assert!(source().join(name).exists(), "{name}");
            if stages == 1 {
                std::os::unix::fs::symlink(source().join(name), folder.path().join(name)).unwrap();
                copied += 1;
            }
        }
    }
    assert!(copied > 8 && stages == 2);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--offline", "--locked", "--no-deps", "--format-version=1", "--quiet"]);
    let said = well(command.current_dir(folder.path()).output().unwrap());
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    let packages = found["packages"].as_array().unwrap();
    assert!(packages.iter().any(|package| package["name"] == "veilwatch-web"));
    // Whoever runs in it is not root, and its commands are words that the program knows.
    assert!(text.contains("USER 65532:65532") && text.contains("VOLUME [\"/data\"]"));
    let config = source().join("config/packages/container.toml");
    let output = crate::backup::run(folder.path(), &["--config", config.to_str().unwrap(), "health"]);
    assert_eq!(output.status.code(), Some(1), "the portal of this configuration does not run: {output:?}");
}
