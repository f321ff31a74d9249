//! Teams and who is in them, for administrators. What is shared there they do not see.

use rocket::http::Status;
use rocket::{FromForm, State, get, post};
use serde_json::{Value, json};

use super::login::Nothing;
use super::people::{megabytes, quota};
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::teams::{self, Standing, TeamLimits};
use crate::accounts::{Reason, Refused, people};
use crate::forms::Posted;
use crate::portal::Portal;
use crate::results::human;
use crate::visitor::Administrator;

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 7] = ["added", "renamed", "retired", "restored", "member", "member-gone", "limits"];

fn done_key(done: Option<&str>) -> Option<String> {
    done.filter(|done| DONE.contains(done)).map(|done| format!("teams.done-{done}"))
}

/// All teams.
#[get("/teams?<done>")]
pub async fn list(me: Administrator<'_>, portal: &State<Portal>, done: Option<&str>) -> Reply {
    Ok(list_page(&me, portal, done_key(done), None).await?.into())
}

async fn list_page(
    me: &Administrator<'_>,
    portal: &Portal,
    done: Option<String>,
    error: Option<Reason>,
) -> Result<Page, Failure> {
    let all = portal.db.run(|connection| teams::list(connection)).await?;
    let all: Vec<Value> = all
        .into_iter()
        .map(|team| {
            json!({
                "id": team.id, "name": team.name, "retired": team.retired, "members": human::grouped(team.members),
                "entries": human::grouped(team.entries),
            })
        })
        .collect();
    let data = json!({ "done": done, "error": error.map(|reason| reason.to_string()), "teams": all });
    Ok(Page::new(portal, me, "teams", data)?)
}

/// The name of a team.
#[derive(Debug, FromForm)]
pub struct Name {
    name: String,
}

/// Makes one.
#[post("/teams", data = "<form>")]
pub async fn add(me: Administrator<'_>, portal: &State<Portal>, form: Posted<Name>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    match told(portal.db.run(move |connection| teams::add(connection, &form.0.name, &actor, now)).await)? {
        Ok(id) => Ok(Answer::to(&format!("/teams/{id}?done=added"))),
        Err(reason) => {
            let page = list_page(&me, portal, None, Some(reason)).await?;
            Ok(page.with_status(Status::UnprocessableEntity).into())
        }
    }
}

/// One team.
#[get("/teams/<id>?<done>")]
pub async fn show(me: Administrator<'_>, portal: &State<Portal>, id: i64, done: Option<&str>) -> Reply {
    Ok(page(&me, portal, id, done_key(done), None).await?.into())
}

async fn page(
    me: &Administrator<'_>,
    portal: &Portal,
    id: i64,
    done: Option<String>,
    error: Option<Reason>,
) -> Result<Page, Failure> {
    let found = portal.db.run(move |connection| -> Result<_, Refused> {
        let team = teams::by_id(connection, id)?;
        Ok((team, teams::members(connection, id)?, teams::used_bytes(connection, id)?, people::all(connection)?))
    });
    let (team, members, used, accounts) = told(found.await)?.map_err(|_| Failure(Status::NotFound))?;
    let standings = |current: Standing| -> Vec<Value> {
        Standing::ALL
            .into_iter()
            .map(|one| json!({ "name": one.name(), "key": format!("standing.{one}"), "is_current": one == current }))
            .collect()
    };
    let others: Vec<Value> = accounts
        .iter()
        .filter(|account| members.iter().all(|member| member.account_id != account.id))
        .map(|account| json!({ "id": account.id, "name": account.name, "display_name": account.display_name }))
        .collect();
    let members: Vec<Value> = members
        .into_iter()
        .map(|member| {
            json!({
                "id": member.account_id, "name": member.name, "display_name": member.display_name,
                "disabled": member.disabled, "standings": standings(member.standing),
            })
        })
        .collect();
    let timers = &portal.config.retention;
    let days = |days: Option<u32>| days.map(|days| days.to_string()).unwrap_or_default();
    let everywhere = |days: u32| (days > 0).then(|| days.to_string());
    let limits = team.limits;
    let data = json!({
        "done": done, "error": error.map(|reason| reason.to_string()), "id": team.id, "name": team.name,
        "retired": team.retired, "entries": human::grouped(team.entries), "used": human::bytes(used),
        "quota": limits.quota_bytes.map(human::bytes), "quota_mb": limits.quota_bytes.map(megabytes).unwrap_or_default(),
        "max_mb": teams::MAX_QUOTA_MB, "max_days": teams::MAX_DAYS, "members": members, "others": others,
        "standings": standings(Standing::Works),
        "timers": [
            { "name": "captures", "label": "teams.captures-days", "days": days(limits.captures_days), "everywhere": everywhere(timers.captures_days) },
            { "name": "entries", "label": "teams.entries-days", "days": days(limits.entries_days), "everywhere": everywhere(timers.entries_days) },
            { "name": "unconfirmed", "label": "teams.unconfirmed-days", "days": days(limits.unconfirmed_days), "everywhere": everywhere(timers.unconfirmed_days) },
        ],
    });
    Ok(Page::new(portal, me, "team", data)?)
}

async fn finish(me: Administrator<'_>, portal: &Portal, id: i64, result: Result<(), Refused>, done: &str) -> Reply {
    match told(result)? {
        Ok(()) => Ok(Answer::to(&format!("/teams/{id}?done={done}"))),
        Err(Reason::NotThere) => Err(Failure(Status::NotFound)),
        Err(reason) => {
            let page = page(&me, portal, id, None, Some(reason)).await?;
            Ok(page.with_status(Status::UnprocessableEntity).into())
        }
    }
}

/// Gives one another name.
#[post("/teams/<id>/rename", data = "<form>")]
pub async fn rename(me: Administrator<'_>, portal: &State<Portal>, id: i64, form: Posted<Name>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| teams::rename(connection, id, &form.0.name, &actor, now)).await;
    finish(me, portal, id, done, "renamed").await
}

/// Ends one: what is shared with it is its owner's alone.
#[post("/teams/<id>/retire", data = "<_form>")]
pub async fn retire(me: Administrator<'_>, portal: &State<Portal>, id: i64, _form: Posted<Nothing>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| teams::set_retired(connection, id, true, &actor, now)).await;
    finish(me, portal, id, done, "retired").await
}

/// Brings one back, with what is shared with it.
#[post("/teams/<id>/restore", data = "<_form>")]
pub async fn restore(me: Administrator<'_>, portal: &State<Portal>, id: i64, _form: Posted<Nothing>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| teams::set_retired(connection, id, false, &actor, now)).await;
    finish(me, portal, id, done, "restored").await
}

/// Somebody, and what they may do in the team.
#[derive(Debug, FromForm)]
pub struct Putting {
    account: i64,
    standing: String,
}

/// Puts somebody in, or changes what they may do.
#[post("/teams/<id>/members", data = "<form>")]
pub async fn put(me: Administrator<'_>, portal: &State<Portal>, id: i64, form: Posted<Putting>) -> Reply {
    let Putting { account, standing } = form.0;
    let (actor, now) = (me.actor(), portal.now());
    let done = match standing.parse::<Standing>() {
        Ok(standing) => portal.db.run(move |c| teams::set_member(c, id, account, standing, &actor, now)).await,
        Err(reason) => Err(reason.into()),
    };
    finish(me, portal, id, done, "member").await
}

/// Takes somebody out.
#[post("/teams/<id>/members/<account>/remove", data = "<_form>")]
pub async fn remove(
    me: Administrator<'_>,
    portal: &State<Portal>,
    id: i64,
    account: i64,
    _form: Posted<Nothing>,
) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| teams::remove_member(connection, id, account, &actor, now)).await;
    finish(me, portal, id, done, "member-gone").await
}

/// How much is shared, and how long it is kept; an empty text is as everywhere.
#[derive(Debug, FromForm)]
pub struct LimitsForm {
    quota: String,
    captures: String,
    entries: String,
    unconfirmed: String,
}

impl LimitsForm {
    fn limits(&self) -> Result<TeamLimits, Reason> {
        let days = |text: &str| match text.trim() {
            "" => Ok(None),
            text => text.parse::<u32>().map(Some).map_err(|_| Reason::TimerDays),
        };
        Ok(TeamLimits {
            quota_bytes: quota(&self.quota)?,
            captures_days: days(&self.captures)?,
            entries_days: days(&self.entries)?,
            unconfirmed_days: days(&self.unconfirmed)?,
        })
    }
}

/// Sets what holds for a team.
#[post("/teams/<id>/limits", data = "<form>")]
pub async fn limits(me: Administrator<'_>, portal: &State<Portal>, id: i64, form: Posted<LimitsForm>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = match form.0.limits() {
        Ok(limits) => portal.db.run(move |c| teams::set_limits(c, id, &limits, &actor, now)).await,
        Err(reason) => Err(reason.into()),
    };
    finish(me, portal, id, done, "limits").await
}
