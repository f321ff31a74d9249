//! axe-core, which knows the rules of accessibility (WCAG 2). It is no part of the project: `npm pack` brings it.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::browser::Browser;

/// Its script, where it was brought: see web/README.md.
fn script() -> Option<&'static str> {
    static SCRIPT: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/axe/package/axe.min.js");
        let file = std::env::var_os("VEILWATCH_AXE").map_or(beside, Into::into);
        let script = std::fs::read_to_string(file).ok();
        if script.is_none() {
            crate::say("skipped: the rules of accessibility need axe-core (npm pack axe-core, see web/README.md)");
        }
        script
    };
    SCRIPT.get_or_init(read).as_deref()
}

/// The page that is open breaks no rule in a way that axe-core calls serious or critical.
pub(crate) fn check(browser: &Browser) {
    let Some(script) = script() else { return };
    if browser.script("return typeof axe", Vec::new()) != "object" {
        browser.script(&format!("{script}; window.axe = axe"), Vec::new());
    }
    let code = "const done = arguments[arguments.length - 1];
        axe.run(document, { resultTypes: ['violations'] }).then(
            (found) => done(found.violations.filter((one) => ['serious', 'critical'].includes(one.impact))
                .map((one) => [one.id, one.help, one.nodes.slice(0, 3).map((node) => node.html)])),
            (error) => done(String(error)));";
    let found: Value = browser.script_that_waits(code, Vec::new());
    assert_eq!(found, json!([]), "axe-core on {}", browser.path());
}
