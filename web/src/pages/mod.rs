//! The pages: rendered here, on the server, in the visitor's language.
//!
//! | module | story |
//! |---|---|
//! | [`language`] | languages and their messages |
//! | [`render`] | templates become pages |
//! | [`errors`] | what is wrong and what to do |
//! | [`assets`] | the style sheet and the icon |
//! | [`setup`] | the first administrator |
//! | [`login`] | logging in and out |
//! | [`invitation`] | a new account from a link |
//! | [`home`] | the entries |
//! | [`uploads`] | captures come in |
//! | [`entry`] | one entry: confirmed, described, deleted |
//! | [`waiting`] | waiting for a result |
//! | [`result`] | what was found |
//! | [`flows`] | the table of flows, and one of them |
//! | [`packets`] | packets of a capture, one of them in full, and streams |
//! | [`live`] | interfaces, and one that is captured on |
//! | [`downloads`] | what can be saved of a result |
//! | [`marks`] | what people said of flows, as labels |
//! | [`administration`] | where administrators find what is theirs |
//! | [`categories`] | what entries are sorted into, for administrators |
//! | [`account`] | one's own password, sessions and API tokens |
//! | [`people`] | everybody's accounts, for administrators |
//! | [`audit`] | the audit log, for administrators |

pub mod account;
pub mod administration;
pub mod assets;
pub mod audit;
pub mod categories;
pub mod downloads;
pub mod entry;
pub mod errors;
pub mod flows;
pub mod home;
pub mod invitation;
pub mod language;
pub mod live;
pub mod login;
pub mod marks;
pub mod packets;
pub mod people;
pub mod render;
pub mod result;
pub mod setup;
pub mod uploads;
pub mod waiting;

pub use language::Language;
pub use render::{Answer, Failure, Page, PageError, Reply, Templates};

use rocket::Route;
use rocket::http::uri::Origin;

/// All routes of the pages.
pub fn routes() -> Vec<Route> {
    rocket::routes![
        assets::style,
        assets::icon,
        assets::script,
        setup::show,
        setup::create,
        login::show,
        login::log_in,
        login::log_out,
        invitation::show,
        invitation::accept,
        home::show,
        home::set_language,
        uploads::upload,
        entry::show,
        entry::confirm,
        entry::stop,
        entry::describe,
        entry::ask_delete,
        entry::delete,
        entry::again,
        entry::capture,
        waiting::events,
        result::picture_file,
        result::hosts,
        flows::list,
        flows::show,
        flows::mark,
        packets::list,
        packets::stream,
        packets::complete,
        live::show,
        live::begin,
        live::session,
        live::events,
        live::stream,
        live::complete,
        live::pause,
        live::go_on,
        live::stop,
        live::ask_discard,
        live::discard,
        live::save,
        live::capture,
        downloads::report,
        downloads::json_lines,
        downloads::csv,
        downloads::packets,
        marks::show,
        marks::captures,
        marks::flows,
        administration::show,
        categories::show,
        categories::add,
        categories::rename,
        categories::retire,
        categories::restore,
        account::show,
        account::set_password,
        account::revoke_session,
        account::revoke_other_sessions,
        account::create_token,
        account::revoke_token,
        people::show,
        people::invite,
        people::withdraw,
        people::set_role,
        people::disable,
        people::enable,
        audit::show,
        audit::export,
    ]
}

/// A place on this site to go to next, from a text that anybody may have written; anything else becomes the first page.
pub fn local_path(text: &str) -> String {
    let is_local = text.starts_with('/')
        && !text.starts_with("//")
        && text.len() <= 1024
        && !text.contains(|c: char| c == '\\' || c.is_control() || c.is_whitespace())
        && Origin::parse(text).is_ok();
    if is_local { text.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::local_path;

    #[test]
    fn only_places_on_this_site_come_next() {
        for good in ["/", "/account", "/audit?before=7", "/a/b%20c"] {
            assert_eq!(local_path(good), good);
        }
        for bad in [
            "",
            "account",
            "//evil.example",
            "https://evil.example/",
            "/\\evil.example",
            "\\\\evil",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/a\r\nSet-Cookie: x=y",
            " /a",
            "/é",
            "///x",
        ] {
            assert_eq!(local_path(bad), "/", "{bad:?}");
        }
        assert_eq!(local_path(&format!("/{}", "a".repeat(2000))), "/");
    }
}
