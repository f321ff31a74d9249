use super::shown;
use crate::commands::plugin::show::{self, Format};
use anyhow::Result;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use veilwatch::model::{Model, PrivateKey};

/// Arguments of `veilwatch model keygen`.
#[derive(Debug, clap::Args)]
pub(crate) struct KeygenArgs {
    /// Where the private key is written; a file that is there already is never overwritten.
    file: PathBuf,
    /// How to write it; by default a text on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Arguments of `veilwatch model sign`.
#[derive(Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// The model's folder, which gets a `card.sig`.
    folder: PathBuf,
    /// The private key, as `veilwatch model keygen` made it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How to write it; by default a text on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Line {
    /// The public key.
    key: String,
    /// What was written.
    file: String,
}

/// Makes a key.
pub(crate) fn keygen(args: &KeygenArgs) -> Result<ExitCode> {
    let key = PrivateKey::generate()?;
    key.write_new(&args.file)?;
    let line = Line { key: key.public().to_string(), file: args.file.display().to_string() };
    let words =
        "keep the file to yourself; whoever should trust you adds the public key to `trusted_keys` under [models]";
    tell(args.format, &line, words)
}

/// Signs a model.
pub(crate) fn sign(args: &SignArgs) -> Result<ExitCode> {
    let key = PrivateKey::read(&args.key)?;
    let signature = Model::sign(&args.folder, &key)?;
    let file: &Path = &args.folder.join("card.sig");
    let line = Line { key: signature.key().to_string(), file: file.display().to_string() };
    tell(args.format, &line, "whatever changes in the model from now on makes the signature wrong")
}

fn tell(format: Option<Format>, line: &Line, words: &str) -> Result<ExitCode> {
    if show::for_people(format) {
        show::text(&format!("wrote {}\npublic key: {}\n{words}", shown(&line.file), line.key))?;
    } else {
        show::lines(&[line])?;
    }
    Ok(ExitCode::SUCCESS)
}
