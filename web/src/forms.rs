//! Forms that change something.
//!
//! [`Posted`] is the only way by which a page's handler reads a form, so none can forget the check: the request comes
//! from a page of ours (the browser says so), and that page was made for this visitor (its form token says so).

use rocket::Request;
use rocket::data::{Data, FromData, Outcome, ToByteUnit};
use rocket::form::{Form, FromForm};
use rocket::http::{RawStr, Status};
use rocket::request::FromRequest;

use crate::config::{Framework, Limits};
use crate::pages::errors::Detail;
use crate::portal::Portal;
use crate::secret::same;
use crate::visitor::Visitor;

/// A form of ours that was posted by the visitor it was made for.
#[derive(Debug)]
pub struct Posted<T>(pub T);

/// The same, of a form that holds a long text.
#[derive(Debug)]
pub struct PostedText<T>(pub T);

/// A request that the browser says comes from a page of ours. For what is too large to be a [`Posted`] form; the form
/// token has to be checked all the same.
#[derive(Clone, Copy, Debug)]
pub struct FromOurPage;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for FromOurPage {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> rocket::request::Outcome<Self, ()> {
        if is_same_origin(request) {
            return rocket::request::Outcome::Success(Self);
        }
        request.local_cache(|| Detail(Some("error.form-token")));
        rocket::request::Outcome::Error((Status::Forbidden, ()))
    }
}

/// The header in which a script of ours sends the form token, where the body is a file.
pub const FORM_TOKEN: &str = "X-Form-Token";

/// A request that a page of ours, made for this visitor, sends by its script: the form token is in a header, which no page
/// of another site can set.
#[derive(Clone, Copy, Debug)]
pub struct Signed;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Signed {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> rocket::request::Outcome<Self, ()> {
        let visitor = match <&Visitor>::from_request(request).await {
            rocket::request::Outcome::Success(visitor) => visitor,
            _ => return rocket::request::Outcome::Error((Status::InternalServerError, ())),
        };
        let token = request.headers().get_one(FORM_TOKEN).unwrap_or_default();
        if same(token.as_bytes(), visitor.form_token.as_bytes()) && is_same_origin(request) {
            return rocket::request::Outcome::Success(Self);
        }
        request.local_cache(|| Detail(Some("error.form-token")));
        rocket::request::Outcome::Error((Status::Forbidden, ()))
    }
}

/// The field that every form has.
#[derive(FromForm)]
struct Signature {
    csrf: Option<String>,
}

#[rocket::async_trait]
impl<'r, T> FromData<'r> for Posted<T>
where
    T: for<'f> FromForm<'f> + Send + 'static,
{
    type Error = ();

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r, Self> {
        read(request, data, |limits, _| limits.form_bytes).await.map(Self)
    }
}

#[rocket::async_trait]
impl<'r, T> FromData<'r> for PostedText<T>
where
    T: for<'f> FromForm<'f> + Send + 'static,
{
    type Error = ();

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r, Self> {
        // A byte takes three in such a form; a line's end six.
        let most = |limits: &Limits, framework: &Framework| {
            framework.pipeline_bytes.saturating_mul(6).saturating_add(limits.form_bytes)
        };
        read(request, data, most).await.map(Self)
    }
}

/// Reads a form of as many bytes at most as the operator allows.
async fn read<'r, T>(
    request: &'r Request<'_>,
    data: Data<'r>,
    most: impl Fn(&Limits, &Framework) -> u64 + Send,
) -> Outcome<'r, T, ()>
where
    T: for<'f> FromForm<'f> + Send + 'static,
{
    let visitor = match <&Visitor>::from_request(request).await {
        rocket::request::Outcome::Success(visitor) => visitor,
        _ => return Outcome::Error((Status::InternalServerError, ())),
    };
    let Some(portal) = request.rocket().state::<Portal>() else {
        return Outcome::Error((Status::InternalServerError, ()));
    };
    if !request.content_type().is_some_and(|kind| kind.is_form()) {
        return Outcome::Error((Status::UnsupportedMediaType, ()));
    }
    let text = match data.open(most(&portal.config.limits, &portal.config.framework).bytes()).into_string().await {
        Ok(text) if text.is_complete() => text.into_inner(),
        Ok(_) => return Outcome::Error((Status::PayloadTooLarge, ())),
        Err(_) => return Outcome::Error((Status::UnprocessableEntity, ())),
    };
    if !is_ours(request, visitor, &text) {
        request.local_cache(|| Detail(Some("error.form-token")));
        return Outcome::Error((Status::Forbidden, ()));
    }
    match Form::<T>::parse_encoded(RawStr::new(&text)) {
        Ok(form) => Outcome::Success(form),
        Err(_) => Outcome::Error((Status::UnprocessableEntity, ())),
    }
}

/// Whether a page of ours, made for this visitor, sends this.
fn is_ours(request: &Request<'_>, visitor: &Visitor, text: &str) -> bool {
    let signature = Form::<Signature>::parse_encoded(RawStr::new(text)).ok().and_then(|form| form.csrf);
    let is_signed = signature.is_some_and(|token| same(token.as_bytes(), visitor.form_token.as_bytes()));
    is_signed && is_same_origin(request)
}

/// Whether the browser says that a page of ours sends this. Where it says nothing the form token alone decides: our
/// `Referrer-Policy` makes browsers send `Origin: null`, and old ones know no `Sec-Fetch-Site`.
fn is_same_origin(request: &Request<'_>) -> bool {
    let headers = request.headers();
    if headers.get_one("Sec-Fetch-Site").is_some_and(|site| site != "same-origin") {
        return false;
    }
    match headers.get_one("Origin") {
        None | Some("null") => true,
        Some(origin) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some() && authority == request.host().map(ToString::to_string).as_deref()
        }
    }
}
