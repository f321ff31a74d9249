//! The portal as people meet it: in a real browser, headless Chromium, which `chromedriver` steers.
//!
//! Every test has a portal, an account and a browser of its own. Every page that a test comes by is looked at: what the
//! browser's console says, and what holds for all pages (`page.js`).
//!
//! | module | story |
//! |---|---|
//! | [`chromedriver`] | the one driver of a run |
//! | [`site`] | a portal of one's own |
//! | [`axe`] | the rules of accessibility |
//! | [`browser`] | a browser, and what one does with it |
//! | [`captures`] | the captures that are uploaded |
//! | [`accounts`] | first run, log-in, log-out, by mouse and by keyboard |
//! | [`analysis`] | from the upload to the result, and what is done with it |
//! | [`live`] | a live session, from the interface to the result |
//! | [`packets`] | packets, their bytes and streams |
//! | [`models`] | a model is trained, compared, promoted and rolled back |
//! | [`own_parts`] | a pipeline with dropped-in parts |
//! | [`teams`] | shared with others, and taken back |
//! | [`triage`] | the queue, by keyboard and by forms alone |
//! | [`framework`] | a pipeline and an entry of a table, written here |
//! | [`uploads`] | dropped, several, refused and damaged files |
//! | [`without_script`] | the same with a browser that runs no script |
//! | [`sign_in`] | the second factor, and signing in by a provider |
//! | [`look`] | languages, narrow screens, dark mode, and the pictures of the documents |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod accounts;
mod analysis;
mod axe;
mod browser;
mod captures;
mod chromedriver;
mod framework;
mod live;
mod look;
mod models;
mod own_parts;
mod packets;
#[path = "../common/room.rs"]
mod room;
mod sign_in;
mod site;
#[allow(dead_code, reason = "what the tests without a browser ask of it")]
#[path = "../portal/stub.rs"]
mod stub;
mod teams;
mod triage;
mod uploads;
mod without_script;
#[path = "../common/workers.rs"]
mod workers;

use std::process::ExitCode;
use std::sync::Arc;

use chromedriver::Chromedriver;
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list && !chromedriver::is_installed() {
        say("skipped: browser tests need chromium and chromedriver");
        return ExitCode::SUCCESS;
    }
    // It lives as long as `main`, which no failing test ends.
    let driver = (!arguments.list).then(|| Arc::new(Chromedriver::start()));
    macro_rules! tests {
        ($($module:ident::$name:ident)*) => {
            vec![$({
                let driver = driver.clone();
                Trial::test(concat!(stringify!($module), "::", stringify!($name)), move || {
                    $module::$name(driver.as_deref().expect("a driver"));
                    Ok(())
                })
            }),*]
        };
    }
    let tests = tests! {
        look::every_page_fits
        look::the_wait_says_how_far_it_is
        analysis::from_upload_to_deletion
        accounts::the_first_run_and_logging_in
        accounts::the_keyboard_is_enough
        sign_in::a_second_factor_and_a_recovery_code
        sign_in::a_provider_on_another_site
        packets::the_keyboard_goes_from_the_list_to_bytes_and_streams
        packets::links_and_forms_are_enough
        triage::the_keyboard_works_through_the_queue
        triage::links_and_forms_are_enough
        models::trained_compared_promoted_and_rolled_back
        live::a_session_from_the_interface_to_the_result
        own_parts::each_kind_is_seen_on_the_pages
        teams::what_is_shared_is_seen_until_it_is_taken_back
        framework::a_pipeline_is_mended_saved_and_used_and_a_port_gets_a_name
        uploads::dropped_files_arrive
        uploads::several_files_get_a_link_each
        uploads::a_file_that_is_too_large_is_said_so_before_it_is_sent
        uploads::what_is_no_capture_is_said_so
        uploads::a_damaged_capture_is_analysed_as_far_as_it_goes
        uploads::a_long_file_goes_on_when_the_portal_comes_back_and_when_the_page_does
        uploads::every_capture_of_a_folder_arrives
        without_script::upload_wait_and_result
        without_script::a_file_that_is_too_large_gets_a_page
    };
    libtest_mimic::run(&arguments, tests).exit_code()
}

#[allow(clippy::print_stdout, reason = "CI counts these lines of the output")]
fn say(words: &str) {
    println!("{words}");
}
