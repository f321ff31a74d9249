//! What the text of a pipeline may name, and where its mistakes stand.
//!
//! An administrator of the portal is not its operator: libraries and models are taken from the folders alone that the
//! operator set, by relative paths without `..`, and in the worker's copy of the text these paths are whole.

use std::path::{Component, Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use veilwatch::config::{Config, ConfigError, line_and_column};
use veilwatch::model::{Model, ModelSettings};

use crate::config::Framework;

/// Mistakes of one text that are told.
const MISTAKES: usize = 20;
/// Bytes of a path.
const PATH: usize = 200;

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line and character, from 1; none where no place is known.
    pub place: Option<(usize, usize)>,
    /// What.
    pub what: What,
}

/// What is wrong at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// In the words of whoever read it, in English.
    Words(String),
    /// The message `pipelines.<key>`, about this text.
    Message(&'static str, String),
}

impl Mistake {
    /// For the log, and for an entry whose pipeline can no longer be used.
    pub fn in_english(&self) -> String {
        match &self.what {
            What::Words(words) => words.clone(),
            What::Message(key, what) => format!("`{what}` cannot be used any more ({key})"),
        }
    }
}

/// A text that may be tried.
#[derive(Clone, Debug)]
pub struct Read {
    /// What it says.
    pub config: Config,
    /// The same for a worker: every path in it is whole.
    pub written: String,
}

/// Reads a text, and holds it to what the operator allows.
///
/// # Errors
/// All that is wrong with it, as far as one reading tells.
pub fn read(text: &str, allowed: &Framework) -> Result<Read, Vec<Mistake>> {
    if text.len() as u64 > allowed.pipeline_bytes {
        let bytes = allowed.pipeline_bytes.to_string();
        return Err(vec![Mistake { place: None, what: What::Message("mistake-size", bytes) }]);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut look = Look { text, allowed, mistakes: Vec::new() };
    for error in errors {
        look.tell(error.span().map_or(0, |span| span.start), What::Words(error.message().to_owned()));
    }
    if look.mistakes.is_empty() {
        look.all(table.get_ref());
        if let Err(error) = Config::parse(text, "") {
            look.mistakes.push(mistake_of(error));
        }
    }
    let Look { mut mistakes, .. } = look;
    if !mistakes.is_empty() {
        mistakes.sort_by_key(|mistake| mistake.place);
        mistakes.truncate(MISTAKES);
        return Err(mistakes);
    }
    let wrong = |error: &dyn std::fmt::Display| {
        vec![Mistake { place: None, what: What::Words(crate::jobs::clean(&error.to_string())) }]
    };
    let mut table: toml::Table = toml::from_str(text).map_err(|error| wrong(&error))?;
    make_whole(&mut table, allowed);
    let written = toml::to_string(&table).map_err(|error| wrong(&error))?;
    let config = Config::parse(&written, "").map_err(|error| wrong(&error))?;
    Ok(Read { config, written })
}

/// What a worker says of a text that it cannot use, at the plugin or the model that it speaks of.
pub fn refused(text: &str, words: &str) -> Mistake {
    let table = DeTable::parse_recoverable(text).0;
    let table = table.get_ref();
    let spoken_of = words.split_once("plugin `").and_then(|(_, rest)| rest.split('`').next());
    let of_plugin = spoken_of.and_then(|id| {
        let mut entries = plugins(table).filter_map(|entry| entry.get("id"));
        entries.find(|value| value.get_ref().as_str() == Some(id)).map(|value| value.span().start)
    });
    let at =
        of_plugin.or_else(|| table.get("model").filter(|_| words.contains("model")).map(|value| value.span().start));
    Mistake { place: at.map(|at| line_and_column(text, at)), what: What::Words(words.to_owned()) }
}

fn mistake_of(error: ConfigError) -> Mistake {
    match error {
        ConfigError::Invalid { line, column, message, hint, .. } => {
            let hint = hint.map(|hint| format!("; did you mean `{hint}`?")).unwrap_or_default();
            Mistake { place: Some((line, column)), what: What::Words(crate::jobs::clean(&format!("{message}{hint}"))) }
        }
        other => Mistake { place: None, what: What::Words(crate::jobs::clean(&other.to_string())) },
    }
}

type Value<'i> = Spanned<DeValue<'i>>;

/// The `[[plugin]]` entries of a text.
fn plugins<'t, 'i>(table: &'t DeTable<'i>) -> impl Iterator<Item = &'t DeTable<'i>> + use<'t, 'i> {
    let entries = table.get("plugin").and_then(|value| value.get_ref().as_array());
    entries.into_iter().flat_map(|entries| entries.iter()).filter_map(|entry| entry.get_ref().as_table())
}

/// The items of a list.
fn items<'v, 'i>(value: &'v Value<'i>) -> impl Iterator<Item = &'v Value<'i>> + use<'v, 'i> {
    value.get_ref().as_array().into_iter().flat_map(|items| items.iter())
}

struct Look<'a> {
    text: &'a str,
    allowed: &'a Framework,
    mistakes: Vec<Mistake>,
}

impl Look<'_> {
    fn tell(&mut self, at: usize, what: What) {
        self.mistakes.push(Mistake { place: Some(line_and_column(self.text, at)), what });
    }

    /// Looks at every key that names something outside of the text. Values of another kind are told by whoever reads on.
    fn all(&mut self, table: &DeTable<'_>) {
        let inner = |name: &str| table.get(name).and_then(|value| value.get_ref().as_table());
        let models = self.allowed.models.clone();
        let libraries = self.allowed.plugins.clone();
        for value in table.get("model").into_iter().chain(inner("shadow").and_then(|shadow| shadow.get("model"))) {
            match value.get_ref().as_str() {
                Some(name) if name.is_empty() || Model::is_in_the_box(name) => {}
                Some(name) if name.starts_with(ModelSettings::REGISTRY) => {
                    if models.is_none() {
                        self.tell(value.span().start, What::Message("mistake-no-models", name.to_owned()));
                    }
                }
                _ => self.path(value, models.as_deref(), "mistake-no-models"),
            }
        }
        if let Some(value) = inner("models").and_then(|models| models.get("folder"))
            && value.get_ref().as_str() != Some("")
        {
            self.tell(value.span().start, What::Message("mistake-registry", "folder".to_owned()));
        }
        let folders = |name: &str| inner(name).and_then(|table| table.get("folders"));
        for value in folders("plugins").into_iter().flat_map(items) {
            self.path(value, libraries.as_deref(), "mistake-no-plugins");
        }
        if let Some(value) = folders("tables").filter(|value| items(value).next().is_some()) {
            self.tell(value.span().start, What::Message("mistake-tables", "folders".to_owned()));
        }
        for value in plugins(table).filter_map(|entry| entry.get("path")) {
            self.path(value, libraries.as_deref(), "mistake-no-plugins");
        }
    }

    /// A path below one of the operator's folders; `without` says that there is no such folder.
    fn path(&mut self, value: &Value<'_>, root: Option<&Path>, without: &'static str) {
        let Some(path) = value.get_ref().as_str() else { return };
        let fault = match root {
            None => Some(without),
            Some(root) => below(root, path).err().or_else(|| self.is_too_large(root, path).then_some("mistake-large")),
        };
        if let Some(key) = fault {
            let shown: String = path.chars().take(PATH).collect();
            self.tell(value.span().start, What::Message(key, crate::jobs::clean(&shown)));
        }
    }

    /// A library, or all files of a folder together.
    fn is_too_large(&self, root: &Path, path: &str) -> bool {
        let path = root.join(path);
        let bytes = match std::fs::read_dir(&path) {
            Ok(files) => files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum(),
            Err(_) => path.metadata().map_or(0, |facts| facts.len()),
        };
        bytes > self.allowed.part_bytes
    }
}

/// Where a relative path leads, if it stays below a folder; else the message that says why not.
fn below(root: &Path, path: &str) -> Result<PathBuf, &'static str> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if path.is_empty() || path.len() > PATH || path.contains('\0') || !Path::new(path).components().all(plain) {
        return Err("mistake-path");
    }
    let root = root.canonicalize().map_err(|_| "mistake-missing")?;
    let whole = root.join(path).canonicalize().map_err(|_| "mistake-missing")?;
    if whole.starts_with(&root) { Ok(whole) } else { Err("mistake-path") }
}

/// Puts whole paths in the place of relative ones. All of them were looked at.
fn make_whole(table: &mut toml::Table, allowed: &Framework) {
    let whole = |value: &mut toml::Value, root: Option<&PathBuf>| {
        let found = value.as_str().zip(root).and_then(|(path, root)| below(root, path).ok());
        if let Some(path) = found {
            *value = toml::Value::String(path.display().to_string());
        }
    };
    let (models, libraries) = (allowed.models.as_ref(), allowed.plugins.as_ref());
    let mut model = |value: &mut toml::Value| {
        let name = value.as_str().unwrap_or_default().to_owned();
        if !name.is_empty() && ModelSettings::is_folder(&name) {
            whole(value, models);
        }
        name.starts_with(ModelSettings::REGISTRY)
    };
    let mut from_registry = table.get_mut("model").is_some_and(&mut model);
    if let Some(value) = table.get_mut("shadow").and_then(|shadow| shadow.get_mut("model")) {
        from_registry |= model(value);
    }
    if let Some(root) = models.filter(|_| from_registry) {
        let root = toml::Value::String(root.display().to_string());
        let settings = table.entry("models").or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let Some(settings) = settings.as_table_mut() {
            settings.insert("folder".to_owned(), root);
        }
    }
    let folders = table.get_mut("plugins").and_then(|plugins| plugins.get_mut("folders"));
    for folder in folders.and_then(toml::Value::as_array_mut).into_iter().flatten() {
        whole(folder, libraries);
    }
    for entry in table.get_mut("plugin").and_then(toml::Value::as_array_mut).into_iter().flatten() {
        if let Some(path) = entry.get_mut("path") {
            whole(path, libraries);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_folders() -> (tempfile::TempDir, Framework) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["models/mine", "plugins/sub", "secret"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for name in ["plugins/own.so", "plugins/sub/deep.so", "secret/key"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        std::fs::write(folder.path().join("plugins/large.so"), "x".repeat(2000)).unwrap();
        std::os::unix::fs::symlink("../secret/key", folder.path().join("plugins/link.so")).unwrap();
        let root = |name: &str| Some(folder.path().join(name));
        let allowed = Framework {
            models: root("models"),
            plugins: root("plugins"),
            part_bytes: 1000,
            pipeline_bytes: 20_000,
            ..Framework::default()
        };
        (folder, allowed)
    }

    fn mistakes(text: &str, allowed: &Framework) -> Vec<(Option<(usize, usize)>, String)> {
        let told = |mistake: Mistake| match mistake.what {
            What::Words(words) => (mistake.place, words),
            What::Message(key, what) => (mistake.place, format!("{key} {what}")),
        };
        read(text, allowed).err().unwrap_or_default().into_iter().map(told).collect()
    }

    #[test]
    fn paths_stay_below_the_folders_of_the_operator() {
        let (folder, allowed) = with_folders();
        let plugin = |path: &str| format!("[[plugin]]\nid = \"own\"\npath = {path:?}\n");
        let read = read(&plugin("sub/deep.so"), &allowed).unwrap();
        let whole = folder.path().canonicalize().unwrap().join("plugins/sub/deep.so");
        assert_eq!(read.config.plugin[0].path.as_deref(), Some(whole.as_path()));
        assert!(read.written.contains(whole.to_str().unwrap()));
        for (path, key) in [
            ("../secret/key", "mistake-path"),
            ("sub/../../secret/key", "mistake-path"),
            ("/etc/passwd", "mistake-path"),
            ("./own.so", "mistake-path"),
            ("", "mistake-path"),
            ("link.so", "mistake-path"),
            ("gone.so", "mistake-missing"),
            ("large.so", "mistake-large"),
        ] {
            let told = mistakes(&plugin(path), &allowed);
            assert_eq!(told, [(Some((3, 8)), format!("{key} {path}"))], "{path}");
        }
        let nothing = Framework::default();
        assert_eq!(mistakes(&plugin("own.so"), &nothing), [(Some((3, 8)), "mistake-no-plugins own.so".to_owned())]);
    }

    #[test]
    fn models_folders_and_tables_are_held_to_the_same() {
        let (folder, allowed) = with_folders();
        let whole = folder.path().canonicalize().unwrap();
        let read_it = |text: &str| read(text, &allowed).unwrap().config;
        for name in ["default", "full", "blind"] {
            assert_eq!(read(&format!("model = \"{name}\""), &Framework::default()).unwrap().config.model, name);
        }
        assert_eq!(read_it("model = \"mine\"").model, whole.join("models/mine").display().to_string());
        let registry = read_it("model = \"registry:mine@2\"");
        assert_eq!(
            (registry.model.as_str(), registry.models.folder),
            ("registry:mine@2", allowed.models.clone().unwrap())
        );
        assert_eq!(read_it("[plugins]\nfolders = [\"sub\"]").plugins.folders, [whole.join("plugins/sub")]);
        for (text, key) in [
            ("model = \"../secret\"", "mistake-path"),
            ("[shadow]\nmodel = \"/etc\"", "mistake-path"),
            ("[models]\nfolder = \"mine\"", "mistake-registry"),
            ("[plugins]\nfolders = [\"sub\", \"..\"]", "mistake-path"),
            ("[tables]\nfolders = [\"sub\"]", "mistake-tables"),
        ] {
            let told = mistakes(text, &allowed);
            assert!(told.len() == 1 && told[0].1.starts_with(key), "{text}: {told:?}");
        }
        for text in ["model = \"mine\"", "model = \"registry:mine\""] {
            assert!(mistakes(text, &Framework::default())[0].1.starts_with("mistake-no-models"), "{text}");
        }
        // All that the files in the box say is allowed to everybody.
        assert!(read(veilwatch::config::EXAMPLE, &Framework::default()).is_ok());
    }

    #[test]
    fn every_mistake_has_its_place() {
        let (_folder, allowed) = with_folders();
        let told = mistakes("[flows]\ntcp_idle_secnds = 5\n", &allowed);
        assert_eq!(told.len(), 1);
        assert!(told[0].0 == Some((2, 1)) && told[0].1.contains("did you mean `tcp_idle_seconds`"), "{told:?}");
        let told = mistakes("a = \nb = [1\n\n[flows]\n  x = = 3\n", &allowed);
        assert!(told.len() >= 2 && told[0].0.is_some_and(|(line, _)| line == 1), "{told:?}");
        let told = mistakes(
            "model = \"/a\"\n[[plugin]]\nid = \"x\"\npath = \"/b\"\n[[plugin]]\nid = \"X\"\nuse = \"y\"\n",
            &allowed,
        );
        assert_eq!(told.iter().map(|(place, _)| place.unwrap().0).collect::<Vec<_>>(), [1, 4, 5]);
        assert!(mistakes(&"#".repeat(20_001), &allowed)[0].1.starts_with("mistake-size 20000"));
        let text = "model = \"full\"\n[[plugin]]\n id = \"own\"\nuse = \"feature/none\"\n";
        assert_eq!(refused(text, "plugin `own`: there is no plugin").place, Some((3, 7)));
        assert_eq!(refused(text, "the model does not fit").place, Some((1, 9)));
        assert_eq!(refused(text, "something else").place, None);
    }
}
