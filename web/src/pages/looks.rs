//! What one account looks into at the same time: results, models, what people work on. Each look takes a place, of which
//! an account has so many (`limits.looks_at_once`).

use std::sync::Arc;

use rocket::http::Status;
use rusqlite::Connection;

use super::render::Failure;
use crate::at_once::Place;
use crate::database::DbError;
use crate::portal::Portal;

/// One of the account's places. What blocks holds it to its end, even where whoever waits has gone.
///
/// # Errors
/// Where all of them are taken: 429.
pub(crate) fn place(portal: &Portal, account: i64) -> Result<Arc<Place>, Failure> {
    portal.results.enter(account).map(Arc::new).ok_or(Failure(Status::TooManyRequests))
}

/// Reads the database in a place of this account, beside the connection that writes, for as long as a search may take
/// (`limits.search_milliseconds`).
///
/// # Errors
/// Outside where the account has no place left, inside what `work` says, or that it took too long.
pub(crate) async fn search<T, E>(
    portal: &Portal,
    account: i64,
    work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
) -> Result<Result<T, E>, Failure>
where
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
{
    let place = place(portal, account)?;
    let searched = portal.db.read_within(portal.config.limits.search_milliseconds, move |connection| {
        let _place = place;
        work(connection)
    });
    Ok(searched.await)
}
