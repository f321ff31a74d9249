use super::registry::{ModelRegistry, VersionName};
use super::signature::{PublicKey, Trust};
use super::{Model, ModelError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where models of one's own are kept, and whose signature counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// The registry's folder, relative to the file that names it; empty where there is none.
    pub folder: PathBuf,
    /// Public keys, as 64 hexadecimal digits or in Base64.
    pub trusted_keys: Vec<String>,
    /// Whether a model that is not in the box must be signed by one of them.
    pub require_signature: bool,
}

impl ModelSettings {
    /// What a model's name begins with that is to be looked for in the registry.
    pub const REGISTRY: &'static str = "registry:";

    /// Whether this names a folder, and neither a model in the box nor one of the registry.
    pub fn is_folder(name: &str) -> bool {
        !Model::is_in_the_box(name) && !name.starts_with(Self::REGISTRY)
    }

    /// Whose word counts. Keys that are none are left out: a configuration that has such is refused where it is read.
    pub fn trust(&self) -> Trust {
        let keys = self.trusted_keys.iter().filter_map(|key| PublicKey::parse(key).ok()).collect();
        Trust { keys, required: self.require_signature }
    }

    /// The name of a certain version for one that leads to whichever is the champion, which must be the one that was promoted;
    /// other names stay what they are. Whoever begins something knows by it what they began with.
    ///
    /// # Errors
    /// Where there is no champion of that name, or its card has changed.
    pub fn pinned(&self, name: &str) -> Result<String, ModelError> {
        let Some(asked) = name.strip_prefix(Self::REGISTRY) else { return Ok(name.to_owned()) };
        let asked: VersionName = asked.parse()?;
        if asked.version.is_some() {
            return Ok(name.to_owned());
        }
        let champion = ModelRegistry::open(self)?.champion(&asked.name)?;
        Ok(format!("{}{champion}", Self::REGISTRY))
    }

    /// What a process must be able to read to open a model of this name; nothing for one in the box.
    pub fn needed(&self, name: &str) -> Option<PathBuf> {
        match name.strip_prefix(Self::REGISTRY) {
            Some(asked) => {
                let VersionName { name, .. } = asked.parse().ok()?;
                ModelRegistry::open(self).ok().map(|registry| registry.folder_of(&name))
            }
            None => Self::is_folder(name).then(|| PathBuf::from(name)),
        }
    }

    /// What is wrong, with the key to look at.
    pub(crate) fn flaw(&self) -> Option<(&'static str, String)> {
        if let Some(error) = self.trusted_keys.iter().find_map(|key| PublicKey::parse(key).err()) {
            return Some(("trusted_keys", error.to_string()));
        }
        (self.require_signature && self.trusted_keys.is_empty()).then(|| {
            let words = "`require_signature = true` without a key in `trusted_keys` refuses every model outside of the \
                         box; add the public keys that you trust";
            ("require_signature", words.to_owned())
        })
    }
}
