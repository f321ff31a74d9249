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
//! | [`provider`] | signing in by a provider, there and back |
//! | [`second_factor`] | one's own second factor |
//! | [`invitation`] | a new account from a link |
//! | [`home`] | the entries |
//! | [`uploads`] | captures come in |
//! | [`resumable`] | uploads that go on after they were broken off |
//! | [`entry`] | one entry: confirmed, described, deleted |
//! | [`sharing`] | whom an entry is shared with, and when it goes |
//! | [`waiting`] | waiting for a result |
//! | [`looks`] | how much one account looks into at the same time |
//! | [`result`] | what was found |
//! | [`flows`] | the table of flows, and one of them |
//! | [`conversation`] | all flows of one host to one service, and their rhythm |
//! | [`packets`] | packets of a capture, one of them in full, and streams |
//! | [`live`] | interfaces, and one that is captured on |
//! | [`downloads`] | what can be saved of a result |
//! | [`triage`] | what to look at next, decided and talked about |
//! | [`marks`] | what people said of flows, as labels |
//! | [`framework`] | where analysts find what analyses are made of |
//! | [`pipelines`] | pipelines: read, written, compared, rolled back |
//! | [`plugins`] | the plugins of a pipeline |
//! | [`tables`] | protocol tables and what is added to them |
//! | [`models`] | models, their cards, and which one judges |
//! | [`training`] | models learnt from labelled data and marks |
//! | [`administration`] | where administrators find what is theirs |
//! | [`categories`] | what entries are sorted into, for administrators |
//! | [`account`] | one's own password, sessions and API tokens |
//! | [`people`] | everybody's accounts, for administrators |
//! | [`teams`] | teams and who is in them, for administrators |
//! | [`retention`] | how long things are kept, for administrators |
//! | [`audit`] | the audit log, for administrators |
//! | [`webhooks`] | who is told of what, for administrators |
//! | [`system`] | how the portal does, for administrators |

pub mod account;
pub mod administration;
pub mod assets;
pub mod audit;
pub mod categories;
pub mod conversation;
pub mod downloads;
pub mod entry;
pub mod errors;
pub mod flows;
pub mod framework;
pub mod home;
pub mod invitation;
pub mod language;
pub mod live;
pub mod login;
pub mod looks;
pub mod marks;
pub mod models;
pub mod packets;
pub mod people;
pub mod pipelines;
pub mod plugins;
pub mod provider;
pub mod render;
pub mod result;
pub mod resumable;
pub mod retention;
pub mod second_factor;
pub mod setup;
pub mod sharing;
pub mod system;
pub mod tables;
pub mod teams;
pub mod training;
pub mod triage;
pub mod uploads;
pub mod waiting;
pub mod webhooks;

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
        login::show_code,
        login::check_code,
        provider::log_in,
        provider::accept,
        provider::link,
        provider::unlink,
        provider::come_back,
        second_factor::show,
        second_factor::begin,
        second_factor::confirm,
        second_factor::renew,
        second_factor::switch_off,
        second_factor::seen,
        invitation::show,
        invitation::accept,
        home::show,
        home::set_language,
        uploads::upload,
        resumable::create,
        resumable::show,
        resumable::append,
        resumable::terminate,
        resumable::delete,
        entry::show,
        entry::confirm,
        entry::stop,
        entry::describe,
        entry::ask_delete,
        entry::delete,
        entry::again,
        entry::capture,
        sharing::share,
        sharing::take_back,
        sharing::keep,
        sharing::let_go,
        waiting::events,
        result::picture_file,
        result::hosts,
        flows::list,
        flows::show,
        flows::mark,
        conversation::show,
        conversation::picture,
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
        triage::list,
        triage::show,
        triage::of_entry,
        triage::decide,
        triage::comment,
        triage::edit,
        triage::delete,
        triage::choose,
        triage::change_all,
        triage::labels_csv,
        triage::labels_json,
        marks::show,
        marks::withdraw,
        marks::captures,
        marks::flows,
        framework::show,
        pipelines::list,
        pipelines::show,
        pipelines::begin,
        pipelines::create,
        pipelines::save,
        pipelines::back,
        pipelines::retire,
        pipelines::restore,
        plugins::show,
        tables::show,
        tables::save,
        tables::remove,
        models::list,
        models::show,
        models::picture,
        models::ask_promote,
        models::promote,
        models::ask_roll_back,
        models::roll_back,
        models::set_shadow,
        training::list,
        training::begin,
        training::show,
        training::events,
        training::stop,
        administration::show,
        system::show,
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
        people::set_quota,
        people::ask_delete,
        people::delete,
        teams::list,
        teams::add,
        teams::show,
        teams::rename,
        teams::retire,
        teams::restore,
        teams::put,
        teams::remove,
        teams::limits,
        retention::show,
        retention::accept,
        people::take_factor,
        audit::show,
        audit::export,
        webhooks::show,
        webhooks::test,
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
