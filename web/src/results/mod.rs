//! Results: what an analysis leaves, and everything that is shown of it.
//!
//! A confined child process runs the engine and writes one SQLite file ([`write`](mod@write)); the portal opens that file and shows
//! what is in it ([`read`]). Between the two lies a hostile capture: the child may be somebody else's by the time it
//! writes. So the file is believed only as far as it can be checked: it must have exactly our tables, every value is
//! looked at before it is used, every query has a deadline, and every text is an attacker's text.
//!
//! | module | story |
//! |---|---|
//! | [`schema`] | the tables and their bounds |
//! | [`facts`] | what is said of a result as a whole |
//! | [`histograms`] | what pictures are drawn from |
//! | [`tally`] | hosts, added up while flows go by |
//! | [`write`](mod@write) | flows into the file, in the worker |
//! | [`read`] | the file, opened by the portal |
//! | [`conversation`] | the calls of one host to one service, and their rhythm |
//! | [`human`] | numbers as people read them |
//! | [`sentence`](mod@sentence) | the verdict on a capture in one sentence |
//! | [`pictures`] | pictures, drawn on the server |
//! | [`report`](mod@report) | one page that stands alone |

use std::path::Path;

use veilwatch::engine::{Pipeline, Summary};

pub mod conversation;
pub mod facts;
pub mod histograms;
pub mod human;
pub mod pictures;
mod questions;
pub mod read;
pub mod report;
pub mod schema;
pub mod sentence;
pub mod tally;
pub mod write;

pub use conversation::{Call, Conversation, ConversationOf, Service};
pub use facts::{Found, PipelineFacts, ResultSummary};
pub use histograms::Histograms;
pub use pictures::{Ink, Picture, PictureError, PictureKind, picture};
pub use questions::{NearestThreshold, Question};
pub use read::{
    AlertRow, Alike, ConversationRow, FlowDetail, FlowPage, FlowQuery, FlowRow, HostRow, PAGE_ROWS, ResultError,
    ResultFile, SortKey, VerdictFilter,
};
pub use report::{ReportError, ReportFacts, ReportMark, report};
pub use sentence::{Counts, Gap, Sentence, Tone, sentence, warnings};
pub use write::ResultWriter;

impl veilwatch::worker::ResultSink for ResultWriter {
    fn finish(self: Box<Self>, summary: &Summary) -> std::io::Result<()> {
        Self::finish(self, summary)
    }
}

/// How a worker opens its result.
///
/// # Errors
/// Where the file cannot be written.
pub fn open_for_worker<'p>(
    path: &Path,
    pipeline: &'p Pipeline,
) -> std::io::Result<Box<dyn veilwatch::worker::ResultSink + 'p>> {
    Ok(ResultWriter::open(path, pipeline)?)
}

#[cfg(test)]
mod tests;
