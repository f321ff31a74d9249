//! Makes a version the champion of its name: the one way that the command and the portal go.

use super::{
    Card, Figure, Model, ModelError, ModelRegistry, RegistryError, Standing, VersionName, compare, same_protocol,
};
use std::path::Path;

/// Why a model does not become a champion.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// It cannot be opened, or the registry cannot take it.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its figures cannot be.
    #[error("model {0}: its card claims figures that cannot be; get it again from where it came")]
    Impossible(String),
    /// It is worse than the champion.
    #[error(
        "the model is worse than the champion {champion} by more than chance would make it{}: {}; leave the champion, or \
         give --even-if-worse", if *same { "" } else { " (of other data, or split another way)" }, worse.join("; ")
    )]
    Worse {
        /// The champion.
        champion: VersionName,
        /// Whether both were judged on the same data, split the same way.
        same: bool,
        /// The figures, in words.
        worse: Vec<String>,
    },
}

impl From<RegistryError> for PromoteError {
    fn from(error: RegistryError) -> Self {
        Self::Model(error.into())
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Promoted {
    /// The champion now.
    pub version: u32,
    /// The one before, where that was another.
    pub former: Option<u32>,
    /// Why the champion before could not be compared with, where it could not.
    pub incomparable: Option<String>,
}

/// Where the model is.
#[derive(Debug, Clone, Copy)]
pub enum Candidate<'a> {
    /// In a folder, from which it is copied.
    Folder(&'a Path),
    /// A version that the registry has.
    Version(u32),
}

/// Promotes a model under a name. `fits` is asked whether the model, in this folder, fits the pipeline that is to use it;
/// of a folder twice: before anything is made, and of the copy, because the folder may be another one by then. Whoever goes
/// `even_if_worse` may go on where the registry cannot say what was before.
///
/// # Errors
/// Where the registry refuses, it does not fit, or it is worse than the champion by more than the intervals.
pub fn promote<E: From<PromoteError>>(
    registry: &ModelRegistry,
    name: &str,
    candidate: Candidate<'_>,
    even_if_worse: bool,
    mut fits: impl FnMut(&Model, &Path) -> Result<(), E>,
) -> Result<Promoted, E> {
    let mut good = |model: &Model, place: &Path| -> Result<(), E> {
        fits(model, place)?;
        if model.card.report.is_possible() { Ok(()) } else { Err(PromoteError::Impossible(name.to_owned()).into()) }
    };
    let place = match candidate {
        Candidate::Folder(folder) => folder.to_owned(),
        Candidate::Version(version) => {
            let asked = VersionName { name: name.to_owned(), version: Some(version) };
            registry.place(&asked).map_err(PromoteError::from)?
        }
    };
    let opened = Model::open_signed(&place.display().to_string(), registry.trust());
    let (model, _) = opened.map_err(PromoteError::from)?;
    good(&model, &place)?;
    let edit = registry.edit(name).map_err(PromoteError::from)?;
    let champions = if even_if_worse { registry.champions_to_keep(name) } else { registry.champions(name) };
    let former = champions.map_err(PromoteError::from)?.last().map(|champion| champion.version);
    let mut incomparable = None;
    let mut compared = |model: &Model| -> Result<(), PromoteError> {
        if !even_if_worse {
            incomparable = no_worse(registry, name, former, &model.card)?;
        }
        Ok(())
    };
    let version = match candidate {
        Candidate::Version(version) => {
            compared(&model)?;
            version
        }
        Candidate::Folder(folder) => {
            let staged = edit.stage(folder).map_err(PromoteError::from)?;
            good(&staged.model, staged.folder())?;
            compared(&staged.model)?;
            edit.take_in(staged).map_err(PromoteError::from)?
        }
    };
    edit.promote(version).map_err(PromoteError::from)?;
    Ok(Promoted { version, former: former.filter(|former| *former != version), incomparable })
}

/// An error where a card is worse than the champion's by more than the intervals; else why it could not be compared.
fn no_worse(
    registry: &ModelRegistry,
    name: &str,
    former: Option<u32>,
    card: &Card,
) -> Result<Option<String>, PromoteError> {
    let Some(former) = former else { return Ok(None) };
    let champion = VersionName { name: name.to_owned(), version: Some(former) };
    // One that cannot be read any more keeps nobody from taking its place.
    let opened = registry.place(&champion).and_then(|place| Model::open(&place.display().to_string()));
    let champions = match opened {
        Ok(model) => model.card,
        Err(error) => return Ok(Some(format!("the champion {champion} cannot be compared with: {error}"))),
    };
    let worse: Vec<String> = compare(&champions, card)
        .into_iter()
        .filter(|row| row.standing == Some(Standing::Worse))
        .map(|row| format!("{} {} against {}", row.figure, words(row.other), words(row.one)))
        .collect();
    if worse.is_empty() {
        return Ok(None);
    }
    Err(PromoteError::Worse { champion, same: same_protocol(&champions, card), worse })
}

fn words(figure: Option<Figure>) -> String {
    figure.map_or("none".into(), |Figure { value, low, high }| format!("{value:.3} [{low:.3} – {high:.3}]"))
}
