//! Stub.
use super::ResultFile;
use crate::entries::{Entry, FlowMarks};
use crate::pages::{Language, PageError, Templates};
/// x
pub struct ReportFacts {}
impl ReportFacts {
    /// x
    pub fn of(_: &Entry, _: &str, _: Vec<FlowMarks>) -> Self {
        Self {}
    }
}
/// x
pub fn report(_: &Templates, _: Language, _: &ReportFacts, _: &ResultFile) -> Result<String, PageError> {
    Ok(String::new())
}
