//! Everybody's accounts, for administrators.

use rocket::http::Status;
use rocket::tokio::task;
use rocket::{FromForm, State, get, post};
use serde_json::{Value, json};

use super::login::Nothing;
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::{Reason, Refused, Role, invitations, people, second_factor, teams};
use crate::clock::readable;
use crate::database::DbError;
use crate::entries;
use crate::forms::Posted;
use crate::portal::Portal;
use crate::results::human;
use crate::training;
use crate::uploads::{self, resumable};
use crate::visitor::Administrator;

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 7] = ["role", "disabled", "enabled", "withdrawn", "quota", "deleted", "factor"];

/// The list of people and invitations.
#[get("/people?<done>")]
pub async fn show(me: Administrator<'_>, portal: &State<Portal>, done: Option<String>) -> Reply {
    let done = done.filter(|done| DONE.contains(&done.as_str())).map(|done| format!("people.done-{done}"));
    Ok(page(me, portal, done, None, None).await?.into())
}

/// A role.
#[derive(Debug, FromForm)]
pub struct RoleChoice {
    role: String,
}

/// Makes an invitation and shows its link, once.
#[post("/people/invitations", data = "<form>")]
pub async fn invite(me: Administrator<'_>, portal: &State<Portal>, form: Posted<RoleChoice>) -> Reply {
    let role: Role = match form.0.role.parse() {
        Ok(role) => role,
        Err(reason) => return refused(me, portal, reason).await,
    };
    let (secret, by, actor, now) = (portal.secret.clone(), me.account.id, me.actor(), portal.now());
    let limits = (portal.config.limits.invitations, now + portal.config.invitations.hours * 3600);
    let made =
        portal.db.run(move |connection| invitations::create(connection, &secret, role, by, &actor, limits, now)).await;
    match told(made)? {
        Ok(token) => Ok(page(me, portal, None, None, Some(invitation_link(&me, portal, &token))).await?.into()),
        Err(reason) => refused(me, portal, reason).await,
    }
}

/// The whole address, to be sent to somebody.
fn invitation_link(me: &Administrator<'_>, portal: &Portal, token: &str) -> String {
    let scheme = if portal.config.is_https() { "https" } else { "http" };
    let place = me.host.as_ref().map(|host| format!("{scheme}://{host}")).unwrap_or_default();
    format!("{place}/invitation?token={token}")
}

/// Takes an invitation back.
#[post("/people/invitations/<id>/withdraw", data = "<_form>")]
pub async fn withdraw(me: Administrator<'_>, portal: &State<Portal>, id: i64, _form: Posted<Nothing>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| invitations::withdraw(connection, id, &actor, now)).await;
    finish(me, portal, done, "withdrawn").await
}

/// Changes what an account may do.
#[post("/people/<id>/role", data = "<form>")]
pub async fn set_role(me: Administrator<'_>, portal: &State<Portal>, id: i64, form: Posted<RoleChoice>) -> Reply {
    let role: Role = match form.0.role.parse() {
        Ok(role) => role,
        Err(reason) => return refused(me, portal, reason).await,
    };
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| people::set_role(connection, id, role, &actor, now)).await;
    if done.is_ok() && role < Role::Administrator {
        portal.live.end_of_account(id);
    }
    finish(me, portal, done, "role").await
}

/// Shuts an account out.
#[post("/people/<id>/disable", data = "<_form>")]
pub async fn disable(me: Administrator<'_>, portal: &State<Portal>, id: i64, _form: Posted<Nothing>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| people::set_disabled(connection, id, true, &actor, now)).await;
    if done.is_ok() {
        portal.live.end_of_account(id);
    }
    finish(me, portal, done, "disabled").await
}

/// Lets an account in again.
#[post("/people/<id>/enable", data = "<_form>")]
pub async fn enable(me: Administrator<'_>, portal: &State<Portal>, id: i64, _form: Posted<Nothing>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| people::set_disabled(connection, id, false, &actor, now)).await;
    finish(me, portal, done, "enabled").await
}

/// A quota in MB; an empty text is the one that holds everywhere.
#[derive(Debug, FromForm)]
pub struct QuotaForm {
    quota: String,
}

/// A quota in bytes, from a text in MB.
pub(super) fn quota(text: &str) -> Result<Option<u64>, Reason> {
    let bytes = |megabytes: u64| megabytes.checked_mul(1_000_000);
    match text.trim() {
        "" => Ok(None),
        text => Ok(Some(text.parse().ok().and_then(bytes).ok_or(Reason::QuotaNumber)?)),
    }
}

/// Bytes in MB, as a form has them.
pub(super) fn megabytes(bytes: u64) -> String {
    bytes.div_ceil(1_000_000).to_string()
}

/// Sets how much an account may keep.
#[post("/people/<id>/quota", data = "<form>")]
pub async fn set_quota(me: Administrator<'_>, portal: &State<Portal>, id: i64, form: Posted<QuotaForm>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = match quota(&form.0.quota) {
        Ok(bytes) => portal.db.run(move |connection| teams::set_quota(connection, id, bytes, &actor, now)).await,
        Err(reason) => Err(reason.into()),
    };
    finish(me, portal, done, "quota").await
}

/// Says what goes with an account, before it goes.
#[get("/people/<id>/delete")]
pub async fn ask_delete(me: Administrator<'_>, portal: &State<Portal>, id: i64) -> Reply {
    let found = portal.db.run(move |connection| -> Result<_, Refused> {
        let account = people::by_id(connection, id)?;
        let number = |sql: &str| -> Result<u64, DbError> {
            let count: i64 = connection.query_row(sql, [id], |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or(0))
        };
        let entries = number("SELECT count(*) FROM entries WHERE account_id = ?1")?;
        let marks = number(
            "SELECT count(*) FROM marks m JOIN entries e ON e.id = m.entry_id
                WHERE m.account_id = ?1 AND e.account_id <> ?1",
        )?;
        let kept = entries::shared_count(connection, id)?;
        Ok((account, entries, marks, kept, uploads::kept_bytes(connection, id)?))
    });
    let (account, entries, marks, shared, kept) = told(found.await)?.map_err(|_| Failure(Status::NotFound))?;
    let data = json!({
        "id": account.id, "name": account.name, "display_name": account.display_name,
        "is_me": account.id == me.account.id, "entries": human::grouped(entries), "shared": human::grouped(shared),
        "kept": human::bytes(kept), "marks": human::grouped(marks),
    });
    Ok(Page::new(portal, &me, "person-delete", data)?.into())
}

/// Deletes an account for good; its entries go right after.
#[post("/people/<id>/delete", data = "<_form>")]
pub async fn delete(me: Administrator<'_>, portal: &State<Portal>, id: i64, _form: Posted<Nothing>) -> Reply {
    if id == me.account.id {
        return refused(me, portal, Reason::Yourself).await;
    }
    let (actor, now) = (me.actor(), portal.now());
    let left = portal.db.run(move |connection| -> Result<_, Refused> {
        let left = (resumable::keys_of(connection, id)?, training::store::unfinished_of(connection, id)?);
        people::delete(connection, id, &actor, now)?;
        Ok(left)
    });
    let left = left.await;
    portal.sweeper.wake();
    let done = match left {
        Ok((uploads, trainings)) => {
            portal.live.end_of_account(id);
            let (trainer, folders, data) = (portal.trainer.clone(), portal.folders.clone(), portal.config.data.clone());
            let removed = task::spawn_blocking(move || {
                training::forget(&trainer, &data, &trainings);
                resumable::remove_files(&folders, &uploads)
            });
            let removed = removed.await.map_err(|error| DbError::Broken(error.to_string()))?;
            removed.map_err(Refused::from)
        }
        Err(error) => Err(error),
    };
    finish(me, portal, done, "deleted").await
}

/// Takes a lost second factor off somebody else's account.
#[post("/people/<id>/second-factor/take", data = "<_form>")]
pub async fn take_factor(me: Administrator<'_>, portal: &State<Portal>, id: i64, _form: Posted<Nothing>) -> Reply {
    // An administrator's session alone must not be worth a password and a code.
    if id == me.account.id {
        return refused(me, portal, Reason::FactorOwn).await;
    }
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| second_factor::take_away(connection, id, &actor, now)).await;
    finish(me, portal, done, "factor").await
}

async fn finish(me: Administrator<'_>, portal: &Portal, result: Result<(), Refused>, done: &str) -> Reply {
    match told(result)? {
        Ok(()) => Ok(Answer::to(&format!("/people?done={done}"))),
        Err(reason) => refused(me, portal, reason).await,
    }
}

async fn refused(me: Administrator<'_>, portal: &Portal, reason: Reason) -> Reply {
    let page = page(me, portal, None, Some(reason), None).await?;
    Ok(page.with_status(Status::UnprocessableEntity).into())
}

async fn page(
    me: Administrator<'_>,
    portal: &Portal,
    done: Option<String>,
    error: Option<Reason>,
    link: Option<String>,
) -> Result<Page, Failure> {
    let now = portal.now();
    let everywhere = portal.config.limits.quota_bytes;
    let (accounts, waiting, holders) = portal
        .db
        .run(move |connection| -> Result<_, DbError> {
            let mut accounts = Vec::new();
            for account in people::all(connection)? {
                let quota = uploads::quota_of(connection, account.id, 0)?;
                accounts.push((uploads::kept_bytes(connection, account.id)?, quota, account));
            }
            Ok((accounts, invitations::list(connection, now)?, second_factor::holders(connection)?))
        })
        .await?;
    let roles = |current: Role| -> Vec<Value> {
        Role::ALL
            .into_iter()
            .map(|role| json!({ "name": role.name(), "key": format!("role.{role}"), "is_current": role == current }))
            .collect()
    };
    let accounts: Vec<Value> = accounts
        .into_iter()
        .map(|(kept, quota, account)| {
            json!({
                "used": human::bytes(kept), "quota": human::bytes(if quota == 0 { everywhere } else { quota }),
                "quota_mb": if quota == 0 { String::new() } else { megabytes(quota) },
                "id": account.id, "name": account.name, "display_name": account.display_name,
                "disabled": account.disabled, "created_at": readable(account.created_at),
                "roles": roles(account.role), "is_me": account.id == me.account.id,
                "has_factor": holders.contains(&account.id),
            })
        })
        .collect();
    let waiting: Vec<Value> = waiting
        .into_iter()
        .map(|invitation| {
            json!({
                "id": invitation.id, "role": format!("role.{}", invitation.role),
                "invited_by": invitation.invited_by, "expires_at": readable(invitation.expires_at),
            })
        })
        .collect();
    let data = json!({
        "done": done, "error": error.map(|reason| reason.to_string()), "link": link,
        "hours": portal.config.invitations.hours, "max_mb": teams::MAX_QUOTA_MB,
        "default_mb": megabytes(everywhere),
        "accounts": accounts, "invitations": waiting, "roles": roles(Role::Analyst),
    });
    Ok(Page::new(portal, &me, "people", data)?)
}
