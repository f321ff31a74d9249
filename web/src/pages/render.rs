//! Templates become pages.
//!
//! The templates are in the binary. They escape everything that is put into them, and a value that is missing is an
//! error, so that a misspelt one is found by a test and not by a visitor.

use std::io::Cursor;
use std::sync::Arc;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, JsonRender, RenderContext, RenderError, RenderErrorReason, ScopedJson,
};
use rocket::Request;
use rocket::http::{ContentType, Header, Status};
use rocket::response::{Redirect, Responder, Response};
use serde_json::{Value, json};
use thiserror::Error;

use super::language::{Language, Messages, fill};
use crate::accounts::password::HashError;
use crate::accounts::{Reason, Refused};
use crate::database::{DbError, is_too_slow};
use crate::portal::Portal;
use crate::results::pictures::PictureError;
use crate::uploads::FileError;
use crate::visitor::Visitor;

/// The templates by name; `layout` goes around all others.
const TEMPLATES: &[(&str, &str)] = &[
    ("layout", include_str!("../../templates/layout.hbs")),
    ("account", include_str!("../../templates/account.hbs")),
    ("administration", include_str!("../../templates/administration.hbs")),
    ("audit", include_str!("../../templates/audit.hbs")),
    ("categories", include_str!("../../templates/categories.hbs")),
    ("confirm", include_str!("../../templates/confirm.hbs")),
    ("conversation", include_str!("../../templates/conversation.hbs")),
    ("delete", include_str!("../../templates/delete.hbs")),
    ("entry-actions", include_str!("../../templates/entry-actions.hbs")),
    ("entry-standing", include_str!("../../templates/entry-standing.hbs")),
    ("error", include_str!("../../templates/error.hbs")),
    ("failed", include_str!("../../templates/failed.hbs")),
    ("flow", include_str!("../../templates/flow.hbs")),
    ("flows", include_str!("../../templates/flows.hbs")),
    ("host-table", include_str!("../../templates/host-table.hbs")),
    ("hosts", include_str!("../../templates/hosts.hbs")),
    ("framework", include_str!("../../templates/framework.hbs")),
    ("home", include_str!("../../templates/home.hbs")),
    ("invitation", include_str!("../../templates/invitation.hbs")),
    ("live", include_str!("../../templates/live.hbs")),
    ("live-discard", include_str!("../../templates/live-discard.hbs")),
    ("live-session", include_str!("../../templates/live-session.hbs")),
    ("login", include_str!("../../templates/login.hbs")),
    ("login-code", include_str!("../../templates/login-code.hbs")),
    ("marks", include_str!("../../templates/marks.hbs")),
    ("model", include_str!("../../templates/model.hbs")),
    ("models", include_str!("../../templates/models.hbs")),
    ("packets", include_str!("../../templates/packets.hbs")),
    ("people", include_str!("../../templates/people.hbs")),
    ("person-delete", include_str!("../../templates/person-delete.hbs")),
    ("pipeline", include_str!("../../templates/pipeline.hbs")),
    ("pipeline-form", include_str!("../../templates/pipeline-form.hbs")),
    ("pipeline-new", include_str!("../../templates/pipeline-new.hbs")),
    ("pipelines", include_str!("../../templates/pipelines.hbs")),
    ("plugins", include_str!("../../templates/plugins.hbs")),
    ("promote", include_str!("../../templates/promote.hbs")),
    ("report", include_str!("../../templates/report.hbs")),
    ("result", include_str!("../../templates/result.hbs")),
    ("provider", include_str!("../../templates/provider.hbs")),
    ("retention", include_str!("../../templates/retention.hbs")),
    ("second-factor", include_str!("../../templates/second-factor.hbs")),
    ("setup", include_str!("../../templates/setup.hbs")),
    ("stream", include_str!("../../templates/stream.hbs")),
    ("team", include_str!("../../templates/team.hbs")),
    ("teams", include_str!("../../templates/teams.hbs")),
    ("triage", include_str!("../../templates/triage.hbs")),
    ("triage-bulk", include_str!("../../templates/triage-bulk.hbs")),
    ("triage-item", include_str!("../../templates/triage-item.hbs")),
    ("triage-stale", include_str!("../../templates/triage-stale.hbs")),
    ("system", include_str!("../../templates/system.hbs")),
    ("tables", include_str!("../../templates/tables.hbs")),
    ("trained", include_str!("../../templates/trained.hbs")),
    ("training", include_str!("../../templates/training.hbs")),
    ("uploaded", include_str!("../../templates/uploaded.hbs")),
    ("webhooks", include_str!("../../templates/webhooks.hbs")),
    ("wait", include_str!("../../templates/wait.hbs")),
];

/// Why a page cannot be rendered.
#[derive(Debug, Error)]
#[error("a page cannot be rendered: {0}")]
pub struct PageError(pub(super) String);

impl From<RenderError> for PageError {
    fn from(error: RenderError) -> Self {
        // The reason names keys and templates; the values, which may be secret, are not in it.
        Self(error.to_string())
    }
}

/// All templates, once for every language.
#[derive(Debug)]
pub struct Templates(Vec<(Language, Arc<Messages>, Handlebars<'static>)>);

impl Templates {
    /// The templates in the binary.
    ///
    /// # Errors
    /// Where one of them is wrong.
    pub fn embedded() -> Result<Self, PageError> {
        let mut all = Vec::new();
        for language in Language::ALL {
            let mut templates = Handlebars::new();
            templates.set_strict_mode(true);
            for (name, text) in TEMPLATES {
                templates
                    .register_template_string(name, text)
                    .map_err(|error| PageError(format!("the template {name}: {error}")))?;
            }
            let messages = Arc::new(language.messages()?);
            templates.register_helper("t", Box::new(Translate(Arc::clone(&messages))));
            all.push((language, messages, templates));
        }
        Ok(Self(all))
    }

    pub(crate) fn render(&self, language: Language, name: &str, data: &Value) -> Result<String, PageError> {
        Ok(self.of(language)?.1.render(name, data)?)
    }

    /// A message outside of a template, with values for its placeholders. It is not escaped.
    ///
    /// # Errors
    /// Where there is no such message.
    pub fn message(&self, language: Language, key: &str, values: &Value) -> Result<String, PageError> {
        let message = self.of(language)?.0.get(key).ok_or_else(|| PageError(format!("there is no message {key:?}")))?;
        Ok(fill(message, |name| {
            values.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        }))
    }

    /// All messages of a language.
    ///
    /// # Errors
    /// Where there is no such language.
    pub fn messages(&self, language: Language) -> Result<&Messages, PageError> {
        Ok(self.of(language)?.0)
    }

    fn of(&self, language: Language) -> Result<(&Messages, &Handlebars<'static>), PageError> {
        let found = self.0.iter().find(|(of, ..)| *of == language);
        let (_, messages, templates) =
            found.ok_or_else(|| PageError("there are no templates of that language".to_owned()))?;
        Ok((messages, templates))
    }
}

/// `{{t "key" placeholder=value}}`: a message. What it gives is escaped like any other value.
struct Translate(Arc<Messages>);

impl HelperDef for Translate {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let key = helper.param(0).and_then(|param| param.value().as_str()).unwrap_or_default();
        let message =
            self.0.get(key).ok_or_else(|| RenderErrorReason::Other(format!("there is no message {key:?}")))?;
        let text = fill(message, |name| helper.hash_get(name).map(|value| value.value().render()));
        Ok(ScopedJson::Derived(Value::String(text)))
    }
}

/// A rendered page.
#[derive(Debug)]
pub struct Page {
    html: String,
    status: Status,
    headers: Vec<Header<'static>>,
}

impl Page {
    /// The page that a template makes of some data, for this visitor. The title is the message `<template>.title`.
    ///
    /// # Errors
    /// Where template and data do not fit.
    pub fn new(portal: &Portal, visitor: &Visitor, template: &str, mut data: Value) -> Result<Self, PageError> {
        let me = visitor.account.as_ref().map(|account| {
            json!({
                "name": account.name,
                "display_name": account.display_name,
                "role": account.role.name(),
                "is_analyst": account.role >= crate::accounts::Role::Analyst,
                "is_administrator": account.role == crate::accounts::Role::Administrator,
            })
        });
        let languages: Vec<_> = Language::ALL
            .into_iter()
            .map(|language| {
                json!({
                    "code": language.code(), "tag": language.tag(), "name": language.own_name(),
                    "is_current": language == visitor.language,
                })
            })
            .collect();
        let common = json!({
            "me": me,
            "csrf": visitor.form_token,
            "tag": visitor.language.tag(),
            "languages": languages,
            "here": visitor.here,
            "version": env!("CARGO_PKG_VERSION"),
            "title": format!("{template}.title"),
            // Seconds after which a browser without script loads the page again.
            "refresh": null,
            // The place that every browser goes on to at once.
            "onward": null,
        });
        if let (Some(data), Value::Object(common)) = (data.as_object_mut(), common) {
            for (key, value) in common {
                data.entry(key).or_insert(value);
            }
        }
        let body = portal.templates.render(visitor.language, template, &data)?;
        if let Some(data) = data.as_object_mut() {
            data.insert("body".to_owned(), Value::String(body));
        }
        let html = portal.templates.render(visitor.language, "layout", &data)?;
        let mut headers = vec![Header::new("Content-Language", visitor.language.tag())];
        if let Some(visit) = &visitor.new_visit {
            headers.push((&portal.cookie(portal.visit_cookie(), visit.clone())).into());
        }
        Ok(Self { html, status: Status::Ok, headers })
    }

    /// The same page with another status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// The same page with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }
}

impl<'r> Responder<'r, 'static> for Page {
    fn respond_to(self, _: &'r Request<'_>) -> rocket::response::Result<'static> {
        let mut response = Response::build();
        response.status(self.status).header(ContentType::HTML);
        for header in self.headers {
            response.header_adjoin(header);
        }
        response.sized_body(self.html.len(), Cursor::new(self.html)).ok()
    }
}

/// What a page's handler gives.
#[derive(Debug, Responder)]
pub enum Answer {
    /// A page.
    Page(Box<Page>),
    /// Another place to look at.
    Redirect(Box<Redirect>),
}

impl Answer {
    /// Go and look there.
    pub fn to(place: &str) -> Self {
        Self::Redirect(Box::new(Redirect::to(place.to_owned())))
    }
}

impl From<Page> for Answer {
    fn from(page: Page) -> Self {
        Self::Page(Box::new(page))
    }
}

/// What a page's handler gives, or why it cannot.
pub type Reply = Result<Answer, Failure>;

/// Something broke: the log says what, the visitor sees an error page.
#[derive(Clone, Copy, Debug)]
pub struct Failure(pub Status);

impl<'r> Responder<'r, 'static> for Failure {
    fn respond_to(self, _: &'r Request<'_>) -> rocket::response::Result<'static> {
        Err(self.0)
    }
}

/// Whether an error is that the disk is full, however deep below that is said.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let by_database = error
        .downcast_ref()
        .is_some_and(|error: &rusqlite::Error| error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull));
    let by_system = error.downcast_ref().is_some_and(|error: &std::io::Error| {
        matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
    });
    by_database || by_system || error.source().is_some_and(is_full)
}

/// What is answered where something broke.
pub fn status_of(error: &(dyn std::error::Error + 'static)) -> Status {
    match (is_full(error), is_too_slow(error)) {
        (true, _) => Status::InsufficientStorage,
        (_, true) => Status::ServiceUnavailable,
        _ => Status::InternalServerError,
    }
}

macro_rules! failure_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                tracing::error!(%error, "a request failed");
                Self(status_of(&error))
            }
        }
    )*};
}
failure_from!(DbError, FileError, HashError, PageError, PictureError);

/// Splits what a visitor can do something about from what broke.
///
/// # Errors
/// What broke.
pub fn told<T>(result: Result<T, Refused>) -> Result<Result<T, Reason>, Failure> {
    match result {
        Ok(value) => Ok(Ok(value)),
        // Where it is there and may be looked at alone, no page has more to say than that.
        Err(Refused::Because(Reason::NotAllowed)) => Err(Failure(Status::Forbidden)),
        Err(Refused::Because(reason)) => Ok(Err(reason)),
        Err(Refused::Db(error)) => Err(error.into()),
        Err(Refused::File(error)) => Err(error.into()),
    }
}
