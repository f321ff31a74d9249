use super::{Common, Found, Signature, find, not_vouched_for, shown, signed_by};
use crate::commands::plugin::show;
use anyhow::{Result, bail};
use serde::Serialize;
use std::process::ExitCode;
use veilwatch::engine::Pipeline;
use veilwatch::model::{ModelSettings, PublicKey};

/// Arguments of `veilwatch model verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A model: a folder, or `NAME` or `NAME@VERSION` of the registry.
    model: String,
    /// A public key, one of which must have signed it; instead of the configuration's.
    #[arg(long, value_name = "KEY")]
    trusted: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// What was found good.
#[derive(Debug, Serialize)]
struct Line<'a> {
    model: &'a str,
    /// The card can be read and used, and the weights are those that it names.
    card: &'static str,
    signature: Signature,
    /// Whether it fits the pipeline: its features, its classifier, its weights; null where no pipeline was named.
    pipeline: Option<&'static str>,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (mut config, mut registry) = args.common.prepare()?;
    if !args.trusted.is_empty() {
        if let Some(error) = args.trusted.iter().find_map(|key| PublicKey::parse(key).err()) {
            return Err(error.into());
        }
        let folder = std::mem::take(&mut config.models.folder);
        config.models = ModelSettings { folder, trusted_keys: args.trusted.clone(), require_signature: true };
    }
    let Found { name, model, signer, .. } = find(&args.model, &config.models)?;
    if let Some(error) = not_vouched_for(&name, signer, &config.models) {
        return Err(error.into());
    }
    let fits = args.common.config.is_some();
    if fits {
        let mut pipeline = Pipeline::untrained(config, &mut registry)?;
        pipeline.use_model(&model)?;
    }
    if !model.card.report.is_possible() {
        bail!("model {name}: its card claims figures that cannot be; get it again from where it came");
    }
    if show::for_people(args.common.format) {
        let fits = if fits { "it fits the pipeline" } else { "whether it fits a pipeline, --config says" };
        show::text(&format!(
            "{}: good; the card is sound and the weights are those that it names; signed by {}; {fits}",
            shown(&name),
            signed_by(signer)
        ))?;
    } else {
        let pipeline = fits.then_some("good");
        show::lines(&[Line { model: &name, card: "good", signature: signer.into(), pipeline }])?;
    }
    Ok(ExitCode::SUCCESS)
}
