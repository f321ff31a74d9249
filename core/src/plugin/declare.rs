use super::{Classifier, FeatureExtractor, PluginError, ProtocolTemplate, Settings};
use std::fmt;
use std::sync::Arc;

/// The three kinds of plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PluginKind {
    /// A [`ProtocolTemplate`].
    Protocol = 0,
    /// A [`FeatureExtractor`].
    Feature = 1,
    /// A [`Classifier`].
    Classifier = 2,
}

impl PluginKind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Protocol, Self::Feature, Self::Classifier].get(usize::from(number)).copied()
    }

    /// The word that stands before the slash in `use = "feature/splt"`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Feature => "feature",
            Self::Classifier => "classifier",
        }
    }
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What it is.
    pub kind: PluginKind,
    /// Its name within its kind, in lower case with hyphens.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for, in a few words.
    pub summary: String,
}

impl Manifest {
    /// `kind/name`, as the configuration writes it.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// A plugin that was created with its settings.
pub enum Instance {
    /// A protocol template.
    Protocol(Box<dyn ProtocolTemplate>),
    /// A feature extractor.
    Feature(Box<dyn FeatureExtractor>),
    /// A classifier.
    Classifier(Box<dyn Classifier>),
}

impl Instance {
    /// The kind it is.
    pub fn kind(&self) -> PluginKind {
        match self {
            Self::Protocol(_) => PluginKind::Protocol,
            Self::Feature(_) => PluginKind::Feature,
            Self::Classifier(_) => PluginKind::Classifier,
        }
    }
}

/// A plugin before it is created: what it is, and how to make one.
#[derive(Clone)]
pub struct Declaration {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Makes an instance.
    pub create: Create,
}

/// Makes an instance of a plugin from its settings.
pub type Create = Arc<dyn Fn(Settings<'_>) -> Result<Instance, PluginError> + Send + Sync>;

impl fmt::Debug for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Declaration").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// Lists the plugins of a crate: writes `pub fn declarations() -> Vec<Declaration>`.
///
/// Each line is a kind (`protocol`, `feature`, `classifier`), a name, a summary and a type that has
/// `fn create(settings: Settings<'_>) -> Result<Self, PluginError>` and the kind's trait.
#[macro_export]
macro_rules! declare_plugins {
    ($($kind:ident $name:literal $summary:literal : $type:ty),+ $(,)?) => {
        /// The plugins of this crate, for the host's registry.
        pub fn declarations() -> Vec<$crate::plugin::Declaration> {
            vec![$($crate::plugin::Declaration {
                manifest: $crate::plugin::Manifest {
                    kind: $crate::declare_plugins!(@kind $kind),
                    name: $name.into(),
                    version: env!("CARGO_PKG_VERSION").into(),
                    summary: $summary.into(),
                },
                create: std::sync::Arc::new(|settings| {
                    let plugin = <$type>::create(settings)?;
                    Ok($crate::declare_plugins!(@instance $kind)(Box::new(plugin)))
                }),
            }),+]
        }
    };
    (@kind protocol) => { $crate::plugin::PluginKind::Protocol };
    (@kind feature) => { $crate::plugin::PluginKind::Feature };
    (@kind classifier) => { $crate::plugin::PluginKind::Classifier };
    (@instance protocol) => { $crate::plugin::Instance::Protocol };
    (@instance feature) => { $crate::plugin::Instance::Feature };
    (@instance classifier) => { $crate::plugin::Instance::Classifier };
}
