use std::path::PathBuf;

/// The folder for what is kept between runs and can be made again: `$VEILWATCH_CACHE`, else the user's cache folder; nothing
/// where there is neither. What is no absolute path counts as nothing.
pub(crate) fn folder() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    named("VEILWATCH_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|path| path.join("veilwatch")))
        .or_else(|| named("HOME").map(|path| path.join(".cache/veilwatch")))
}
