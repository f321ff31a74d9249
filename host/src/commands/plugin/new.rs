use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use veilwatch::config::Config;
use veilwatch::plugins::Registry;

/// Arguments of `veilwatch plugin new`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What it is to be.
    #[arg(value_enum)]
    kind: Kind,
    /// What it is called: lower-case letters, digits and hyphens.
    name: String,
    /// Folder in which its own folder is made.
    #[arg(long, value_name = "PARENT", default_value = ".")]
    folder: PathBuf,
    /// Folder of the crate `veilwatch-core` to build against; by default that of the checkout that this program was built
    /// from.
    #[arg(long, value_name = "PATH")]
    core: Option<PathBuf>,
}

/// The kinds of plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Recognises a protocol and reads what it shows in the clear.
    Protocol,
    /// Turns flows into columns of numbers.
    Feature,
    /// Learns from labelled rows, and scores rows.
    Classifier,
}

/// Longest name.
const NAME: usize = 40;

/// Names that Rust, cargo or the plugin's own dependencies have taken.
const TAKEN: &str = "abstract alloc as async await become box break build const continue core crate deps do dyn else enum \
    examples extern false final fn for gen if impl in incremental let loop macro match mod move mut override \
    priv proc-macro pub ref return self serde serde-json static std struct super test trait true try type typeof unsafe \
    unsized use virtual where while yield";

/// For settings.
const SERDE: &str = "serde = { version = \"1\", features = [\"derive\"] }";

/// Everything that a plugin of one kind is written from.
struct Template {
    word: &'static str,
    source: &'static str,
    tests: &'static str,
    /// How it is used, for its README.
    instructions: &'static str,
    /// What its source needs beside the contract.
    dependency: &'static str,
    /// How it stands in its pipeline.
    how: &'static str,
    model: &'static str,
}

impl Kind {
    fn template(self) -> Template {
        match self {
            Self::Protocol => Template {
                word: "protocol",
                source: include_str!("new/protocol.rs"),
                tests: include_str!("new/protocol_test.rs"),
                instructions: include_str!("new/protocol_use.md.txt"),
                dependency: SERDE,
                how: " beside its plugins",
                model: "default",
            },
            Self::Feature => Template {
                word: "feature",
                source: include_str!("new/feature.rs"),
                tests: include_str!("new/feature_test.rs"),
                instructions: include_str!("new/feature_use.md.txt"),
                dependency: SERDE,
                how: " beside its plugins, and a model that was trained on all of them",
                model: "model",
            },
            Self::Classifier => Template {
                word: "classifier",
                source: include_str!("new/classifier.rs"),
                tests: include_str!("new/classifier_test.rs"),
                instructions: include_str!("new/classifier_use.md.txt"),
                dependency: "serde_json = \"1\"",
                how: " in the place of its classifier, and a model that it learnt",
                model: "model",
            },
        }
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (kind, name) = (args.kind.template(), args.name.as_str());
    check_name(name)?;
    let path = format!("{}/{name}", kind.word);
    if Registry::with_builtins()?.find(&path).is_some() {
        bail!("`{path}` is in the box already; choose another name");
    }
    let folder = args.folder.join(name);
    // A link that leads nowhere is there, too.
    ensure!(folder.symlink_metadata().is_err(), "{}: is there already; choose another name", folder.display());
    ensure!(args.folder.is_dir(), "{}: there is no such folder; make it first", args.folder.display());
    let core = core(args.core.as_deref())?;
    let files = files(&kind, name, &core)?;
    write(&folder, &files, core.parent())?;
    let (library, folder) = (library(name), folder.display());
    super::show::text(&format!(
        "wrote {folder}: src/lib.rs is the plugin, README.md says what to do with it\n\
         next: cd {folder} && cargo test && cargo build --release && veilwatch plugin check {library}"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn check_name(name: &str) -> Result<()> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let hyphens = !name.ends_with('-') && !name.contains("--");
    ensure!(
        letters && begins && hyphens && (2..=NAME).contains(&name.len()),
        "`{name}`: a name has 2 to {NAME} lower-case letters, digits and single hyphens, and begins with a letter"
    );
    ensure!(
        TAKEN.split(' ').all(|taken| taken != name)
            && !name.starts_with("veilwatch-core")
            && !name.starts_with("veilwatch-testkit"),
        "`{name}`: Rust or cargo have taken this name; choose another one"
    );
    Ok(())
}

/// The folder of `veilwatch-core`, links resolved; the test kit lies beside it.
fn core(given: Option<&Path>) -> Result<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let is_core = |path: &Path| {
        let manifest = std::fs::read_to_string(path.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "name = \"veilwatch-core\"")
            && path.join("../testkit/Cargo.toml").is_file()
    };
    match given {
        Some(path) => {
            // Whoever gives the checkout itself means the crate in it.
            let found = [path.to_owned(), path.join("core")].into_iter().find(|path| is_core(path));
            let found = found.with_context(|| {
                format!(
                    "{}: holds no crate veilwatch-core with the test kit beside it; correct `--core`",
                    path.display()
                )
            })?;
            Ok(found.canonicalize()?)
        }
        None => {
            let path = checkout.join("core");
            ensure!(
                is_core(&path),
                "the checkout that this program was built from is gone; give the folder of veilwatch-core with `--core`"
            );
            Ok(path.canonicalize()?)
        }
    }
}

/// Where cargo puts the library, seen from the plugin's folder.
fn library(name: &str) -> String {
    format!("target/release/lib{}.so", name.replace('-', "_"))
}

/// What goes into the folder.
fn files(kind: &Template, name: &str, core: &Path) -> Result<Vec<(&'static str, String)>> {
    let quoted = |path: PathBuf| toml::Value::String(path.display().to_string()).to_string();
    let plugins = plugins(kind, name)?;
    let fill = |text: &str| {
        [
            ("{{name}}", name),
            ("{{snake}}", &name.replace('-', "_")),
            ("{{kind}}", kind.word),
            ("{{library}}", &library(name)),
            ("{{core}}", &quoted(core.to_owned())),
            ("{{testkit}}", &quoted(core.with_file_name("testkit"))),
            ("{{dependency}}", kind.dependency),
            ("{{how}}", kind.how),
            ("{{model}}", &format!("\"{}\"", kind.model)),
            ("{{plugins}}", &plugins),
        ]
        .iter()
        .fold(text.to_owned(), |text, (mark, word)| text.replace(mark, word))
    };
    let readme = include_str!("new/README.md.txt").replace("{{use}}", kind.instructions);
    Ok(vec![
        ("Cargo.toml", fill(include_str!("new/Cargo.toml.txt"))),
        ("src/lib.rs", fill(kind.source)),
        ("tests/plugin.rs", fill(kind.tests)),
        ("pipeline.toml", fill(include_str!("new/pipeline.toml.txt")).trim_end().to_owned() + "\n"),
        ("README.md", fill(&readme)),
        ("rustfmt.toml", include_str!("new/rustfmt.toml.txt").to_owned()),
        (".gitignore", include_str!("new/gitignore.txt").to_owned()),
    ])
}

/// The entries of the default pipeline with the new plugin in its place: templates first, the classifier last.
fn plugins(kind: &Template, name: &str) -> Result<String> {
    let word = |entry: &Option<String>| entry.as_deref().and_then(|plugin| Some(plugin.split_once('/')?.0.to_owned()));
    let default = Config::builtin()?.plugin;
    // An id stands once in a pipeline.
    let id = if default.iter().any(|entry| entry.id == name) { format!("{name}-new") } else { name.to_owned() };
    let mut entries = Vec::new();
    for wanted in ["protocol", "feature", "classifier"] {
        let own = kind.word == wanted;
        for entry in &default {
            if word(&entry.plugin).as_deref() == Some(wanted) && !(own && wanted == "classifier") {
                let plugin = entry.plugin.as_deref().unwrap_or_default();
                entries.push(format!("[[plugin]]\nid = \"{}\"\nuse = \"{plugin}\"\n", entry.id));
            }
        }
        if own {
            let mut entry = String::new();
            write!(entry, "[[plugin]]\nid = \"{id}\"\npath = \"{}\"\n", library(name))?;
            entries.push(entry);
        }
    }
    Ok(entries.join("\n"))
}

/// Writes a folder: all of it, or nothing.
fn write(folder: &Path, files: &[(&str, String)], checkout: Option<&Path>) -> Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unfinished = parent.join(format!(".veilwatch-plugin-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        for (name, text) in files {
            let path = unfinished.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(&unfinished))?;
            std::fs::write(path, text)?;
        }
        // The versions that this program was built with: types of the contract must not look different in memory.
        if let Some(lock) = checkout.map(|checkout| checkout.join("Cargo.lock")).filter(|lock| lock.is_file()) {
            std::fs::copy(lock, unfinished.join("Cargo.lock"))?;
        }
        std::fs::rename(&unfinished, folder)
    };
    write().with_context(|| format!("{}: cannot be written", folder.display())).inspect_err(|_| {
        // What was begun is nobody's; where it cannot be removed, the error above says enough.
        let _ = std::fs::remove_dir_all(&unfinished);
    })
}
