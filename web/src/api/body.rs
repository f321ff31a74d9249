//! JSON that a program sends: what is wrong with it, the answer says.

use rocket::Request;
use rocket::data::{Data, FromData, Outcome, ToByteUnit};
use rocket::http::Status;
use serde::de::DeserializeOwned;

use crate::jobs::clean;
use crate::pages::errors::Words;

/// Bytes of it at most, where Rocket is told no other number.
const MOST: u64 = 1 << 20;

/// What a program sent. What is no JSON is answered with 400, JSON of another shape with 422, and more than Rocket's limit
/// `json` (a mebibyte where it says nothing) with 413.
#[derive(Debug)]
pub struct Body<T>(pub T);

#[rocket::async_trait]
impl<'r, T: DeserializeOwned> FromData<'r> for Body<T> {
    type Error = ();

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r, Self> {
        let most = request.limits().get("json").unwrap_or_else(|| MOST.bytes());
        let no = |status: Status, words: Option<String>| {
            request.local_cache(|| Words(words));
            Outcome::Error((status, ()))
        };
        match data.open(most).into_bytes().await {
            Ok(bytes) if bytes.is_complete() => match serde_json::from_slice(&bytes) {
                Ok(value) => Outcome::Success(Self(value)),
                Err(error) => {
                    let words = clean(&error.to_string());
                    let is_other_shape = error.is_data();
                    let status = if is_other_shape { Status::UnprocessableEntity } else { Status::BadRequest };
                    no(status, Some(format!("The body is not what is asked for here: {words}.")))
                }
            },
            Ok(_) => no(Status::PayloadTooLarge, Some(format!("The body has more than {most}."))),
            Err(_) => no(Status::BadRequest, None),
        }
    }
}
