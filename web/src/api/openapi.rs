//! The description of the API (OpenAPI 3.1), made from the handlers.

use rocket::get;
use rocket::serde::json::Json;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, ResponseBuilder};
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

/// What any call that needs a token may answer.
struct WithRefusals;

impl Modify for WithRefusals {
    fn modify(&self, document: &mut Document) {
        let refusals = [
            ("401", "There is no token, or it has ended."),
            ("403", "The account, or the scope of its token, does not allow this."),
            ("429", "Too much is under way for this account."),
            ("500", "Something broke on the portal's side."),
        ];
        let of_bodies = [
            ("400", "The body, or a header, is not what it should be."),
            ("413", "The body is larger than it may be."),
        ];
        for item in document.paths.paths.values_mut() {
            let calls = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete, &mut item.options];
            for call in calls.into_iter().flatten().filter(|call| call.security.is_none()) {
                let of_body = if call.request_body.is_some() { &of_bodies[..] } else { &[] };
                for (status, words) in refusals.iter().chain(of_body).copied() {
                    let content = Content::new(Some(Ref::from_schema_name("ProblemDocument")));
                    let response =
                        ResponseBuilder::new().description(words).content("application/problem+json", content);
                    call.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(response.build()));
                }
            }
        }
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
        super::entries::again,
        super::entries::pipelines,
        super::entries::my_teams,
        super::uploads::offer,
        super::uploads::create,
        super::uploads::list,
        super::uploads::show,
        super::uploads::append,
        super::uploads::remove,
        super::results::summary,
        super::results::alerts,
        super::results::flows,
        super::results::json_lines,
        super::triage::list,
        super::triage::show,
        super::triage::decide,
        super::triage::comment,
        super::triage::decided,
        super::models::list,
        super::models::show,
        super::models::promote,
        super::models::train,
        super::models::training,
    ),
    modifiers(&WithToken, &WithRefusals),
    security(("token" = [])),
)]
pub struct Api;

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "portal", security(()), responses((status = 200, body = Object)))]
#[get("/openapi.json")]
pub fn document() -> Json<Document> {
    Json(Api::openapi())
}
