//! The style sheet, the script and the icon: ours, and the same for everybody.

use rocket::http::{ContentType, Header};
use rocket::{Responder, get};

/// Something that is the same for everybody.
#[derive(Debug, Responder)]
pub struct Asset {
    body: &'static str,
    kind: ContentType,
    cache: Header<'static>,
}

fn asset(body: &'static str, kind: ContentType) -> Asset {
    // Asked for again each time, so that a new version of the portal never wears the old one's clothes.
    Asset { body, kind, cache: Header::new("Cache-Control", "no-cache") }
}

/// The style sheet.
#[get("/style.css")]
pub fn style() -> Asset {
    asset(include_str!("../../static/style.css"), ContentType::CSS)
}

/// The icon.
#[get("/favicon.svg")]
pub fn icon() -> Asset {
    asset(include_str!("../../static/favicon.svg"), ContentType::SVG)
}

/// The script. Every page works without it.
#[get("/script.js")]
pub fn script() -> Asset {
    asset(include_str!("../../static/script.js"), ContentType::JavaScript)
}
