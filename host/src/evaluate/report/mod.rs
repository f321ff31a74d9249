//! What people read: a terminal's tables, and one HTML file. Programs read the [`Judgement`](super::Judgement) as JSON.

mod html;
mod pictures;
mod tables;
mod text;

pub use html::html;
pub use pictures::PictureError;
pub use text::text;
