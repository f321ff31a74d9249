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
use crate::database::DbError;
use crate::portal::Portal;
use crate::visitor::Visitor;

/// The templates by name; `layout` goes around all others.
const TEMPLATES: &[(&str, &str)] = &[
    ("layout", include_str!("../../templates/layout.hbs")),
    ("account", include_str!("../../templates/account.hbs")),
    ("audit", include_str!("../../templates/audit.hbs")),
    ("error", include_str!("../../templates/error.hbs")),
    ("home", include_str!("../../templates/home.hbs")),
    ("invitation", include_str!("../../templates/invitation.hbs")),
    ("login", include_str!("../../templates/login.hbs")),
    ("people", include_str!("../../templates/people.hbs")),
    ("report", include_str!("../../templates/report.hbs")),
    ("setup", include_str!("../../templates/setup.hbs")),
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
pub struct Templates(Vec<(Language, Handlebars<'static>, Arc<Messages>)>);

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
            all.push((language, templates, messages));
        }
        Ok(Self(all))
    }

    /// The messages of a language.
    ///
    /// # Errors
    /// Where there are none.
    pub fn messages(&self, language: Language) -> Result<&Messages, PageError> {
        Ok(&self.of(language)?.2)
    }

    fn of(&self, language: Language) -> Result<&(Language, Handlebars<'static>, Arc<Messages>), PageError> {
        let missing = || PageError("there are no templates of that language".to_owned());
        self.0.iter().find(|(of, ..)| *of == language).ok_or_else(missing)
    }

    /// What a template makes of some data, without the layout.
    pub(crate) fn render(&self, language: Language, name: &str, data: &Value) -> Result<String, PageError> {
        let (_, templates, _) = self.of(language)?;
        Ok(templates.render(name, data)?)
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

macro_rules! failure_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                tracing::error!(%error, "a request failed");
                Self(Status::InternalServerError)
            }
        }
    )*};
}
failure_from!(DbError, HashError, PageError);

/// Splits what a visitor can do something about from what broke.
///
/// # Errors
/// What broke.
pub fn told<T>(result: Result<T, Refused>) -> Result<Result<T, Reason>, Failure> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Refused::Because(reason)) => Ok(Err(reason)),
        Err(Refused::Db(error)) => Err(error.into()),
    }
}
