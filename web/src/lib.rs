//! The portal: what people who never open a terminal use.
//!
//! It knows the host's library and never a plugin. So far it is a health page; the portal itself comes next.

use rocket::serde::json::Json;
use rocket::{Build, Rocket, get, routes};
use serde::Serialize;

/// The portal, ready to launch.
pub fn rocket() -> Rocket<Build> {
    rocket::build().mount("/", routes![healthz])
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    /// Plugins that the host has in the box.
    plugins: usize,
}

/// Whether the portal lives, and what it would analyse with.
#[get("/healthz")]
fn healthz() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION"), plugins: veilwatch::builtin::declarations().len() })
}

#[cfg(test)]
mod tests {
    use rocket::http::Status;
    use rocket::local::blocking::Client;

    #[test]
    fn the_health_page_answers() {
        let client = Client::tracked(super::rocket()).unwrap();
        let answer = client.get("/healthz").dispatch();
        assert_eq!(answer.status(), Status::Ok);
        let text = answer.into_string().unwrap();
        assert!(text.contains("\"status\":\"ok\""), "{text}");
        assert_eq!(client.get("/nowhere").dispatch().status(), Status::NotFound);
    }
}
