//! What is forgotten after a while: uploads that nobody goes on with, idempotency keys, messages of webhooks.

use std::time::Duration;

use rocket::tokio;

use crate::api::once;
use crate::database::{self, DbError};
use crate::uploads::{Intake, resumable};
use crate::webhooks;

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(60);

/// Does all of it, again and again, for as long as the portal runs.
pub async fn run(intake: Intake) {
    loop {
        let (this, now) = (intake.clone(), intake.clock.now());
        let done = intake.db.run(move |connection| -> Result<_, DbError> {
            once::forget(connection, now.saturating_sub(this.config.limits.idempotency_seconds))?;
            webhooks::forget(connection, &this.config)?;
            // Where somebody read at that moment, rows that were deleted still stand in it.
            database::empty_log(connection)?;
            resumable::forget(connection, &this.writing, now)
        });
        let failed: Option<String> = match done.await {
            Ok(forgotten) => forgotten.remove(&intake.folders).await.err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = failed {
            tracing::error!(error, "what is old cannot be forgotten");
        }
        tokio::time::sleep(EVERY).await;
    }
}
