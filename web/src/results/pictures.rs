//! Stub.
use super::Histograms;
use crate::pages::{Language, PageError, Templates};
/// x
#[derive(Clone, Copy, Debug)]
pub enum PictureKind {
    /// x
    A,
}
impl PictureKind {
    /// x
    pub const ALL: [Self; 0] = [];
    /// x
    pub fn name(self) -> &'static str {
        "a"
    }
    /// x
    pub fn from_name(_: &str) -> Option<Self> {
        None
    }
}
/// x
pub struct Picture {
    /// x
    pub title: String,
    /// x
    pub svg: String,
    /// x
    pub alternative: String,
    /// x
    pub head: Vec<String>,
    /// x
    pub rows: Vec<Vec<String>>,
}
/// x
pub fn picture(_: PictureKind, _: &Histograms, _: &Templates, _: Language) -> Result<Option<Picture>, PageError> {
    Ok(None)
}
