//! The description of the API (OpenAPI 3.1), made from the handlers.

use rocket::get;
use rocket::serde::json::Json;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// The name of the token in the description.
const TOKEN: &str = "token";

struct WithToken;

impl Modify for WithToken {
    fn modify(&self, document: &mut Document) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme(TOKEN, scheme);
    }
}

/// Everything that programs can ask for.
#[derive(OpenApi)]
#[openapi(
    info(title = "Veilwatch", description = "Captures in, verdicts out. A token is made on the page Account."),
    paths(
        super::me,
        super::healthz,
        document,
        super::entries::upload,
        super::entries::list,
        super::entries::show,
        super::entries::describe,
        super::entries::delete,
        super::entries::confirm,
        super::entries::stop,
        super::entries::pipelines,
        super::results::summary,
        super::results::alerts,
        super::results::flows,
        super::results::json_lines,
    ),
    modifiers(&WithToken),
    security(("token" = [])),
)]
pub struct Api;

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "portal", security(()), responses((status = 200, body = Object)))]
#[get("/openapi.json")]
pub fn document() -> Json<Document> {
    Json(Api::openapi())
}
