//! Who may do what: one table of every route and every kind of visitor, and what holds for all of them.

use std::collections::{BTreeMap, BTreeSet};

use rocket::http::Method;
use veilwatch_web::accounts::tokens::Scope;
use veilwatch_web::accounts::{Account, Role};

use crate::support::{Got, MULTIPART, Person, Site, capture, form, multipart, team};

/// What is sent with a request.
#[derive(Clone, Copy)]
enum Body {
    Nothing,
    Form(&'static [(&'static str, &'static str)]),
    /// The form with files.
    Files,
    Json(&'static str),
    /// The headers of a new upload that can be gone on with.
    Begin,
    /// A byte of one.
    Piece,
    /// Nothing, with the headers of the protocol.
    Tus,
    /// A capture as it is.
    Capture,
}

/// One route, how to ask for it, and what each of [`KINDS`] gets.
struct Row {
    method: Method,
    route: &'static str,
    /// With names of [`Owned`] in braces.
    path: &'static str,
    body: Body,
    statuses: [u16; 5],
}

const fn row(method: Method, route: &'static str, path: &'static str, body: Body, statuses: [u16; 5]) -> Row {
    Row { method, route, path, body, statuses }
}

const fn get(route: &'static str, path: &'static str, statuses: [u16; 5]) -> Row {
    row(Method::Get, route, path, Body::Nothing, statuses)
}

const fn post(
    route: &'static str,
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
    statuses: [u16; 5],
) -> Row {
    row(Method::Post, route, path, Body::Form(fields), statuses)
}

/// Who asks. The owner is an analyst; all entries that the table names are theirs.
const KINDS: [&str; 5] = ["anonymous", "viewer", "another analyst", "administrator", "owner"];
const OWNER: usize = 4;

const ALL: [u16; 5] = [200; 5];
/// Whoever is not logged in is sent to the log-in.
const VIEWER: [u16; 5] = [303, 200, 200, 200, 200];
const ANALYST: [u16; 5] = [303, 403, 200, 200, 200];
const ADMINISTRATOR: [u16; 5] = [303, 403, 403, 200, 403];
/// A live session of nobody; `live.rs` has those of others.
const SESSION: [u16; 5] = [303, 403, 403, 404, 403];
/// What is another's is not there, for administrators neither.
const READ: [u16; 5] = [303, 404, 404, 404, 200];
/// The same, where a viewer would not be let in at all.
const READ_TO_CHANGE: [u16; 5] = [303, 403, 404, 404, 200];
const CHANGE: [u16; 5] = [303, 403, 404, 404, 303];
/// Of the API.
const API: [u16; 5] = [401, 200, 200, 200, 200];
const API_READ: [u16; 5] = [401, 404, 404, 404, 200];
const API_CHANGE: [u16; 5] = [401, 403, 404, 404, 200];
/// Of a team that is not there.
const NO_TEAM: [u16; 5] = [303, 403, 403, 404, 403];
const PERSON: &[(&str, &str)] =
    &[("token", "wrong"), ("name", "x"), ("display_name", "x"), ("password", "x"), ("again", "x")];

/// A text that is wrong: nothing has to be loaded for it.
const PIPELINE: &[(&str, &str)] = &[("name", "mine"), ("text", "model = 5"), ("words", ""), ("do", "save")];

const TABLE: &[Row] = &[
    get("/style.css", "/style.css", ALL),
    get("/favicon.svg", "/favicon.svg", ALL),
    get("/script.js", "/script.js", ALL),
    get("/healthz", "/healthz", ALL),
    get("/setup?<token>", "/setup", [303; 5]),
    post("/setup", "/setup", PERSON, [422; 5]),
    get("/login?<next>&<lost>", "/login", [200, 303, 303, 303, 303]),
    post("/login", "/login", &[("name", "nobody"), ("password", "x"), ("next", "/")], [422; 5]),
    // Nobody here waits for a code.
    get("/login/code", "/login/code", [303; 5]),
    post("/login/code", "/login/code", &[("code", "123456")], [303; 5]),
    // No provider is set here.
    post("/login/provider", "/login/provider", &[("next", "/")], [404; 5]),
    get("/login/return?<code>&<state>&<error>&<iss>", "/login/return", [404; 5]),
    post("/invitation/provider", "/invitation/provider", &[("token", "wrong")], [404; 5]),
    post("/account/provider/link", "/account/provider/link", &[("current", "x")], [303, 404, 404, 404, 404]),
    post("/account/provider/unlink", "/account/provider/unlink", &[("current", "x")], [303, 404, 404, 404, 404]),
    post("/logout", "/logout", &[], [303; 5]),
    get("/invitation?<token>", "/invitation?token=wrong", [404; 5]),
    post("/invitation", "/invitation", PERSON, [404; 5]),
    get("/?<wanted..>", "/", VIEWER),
    post("/language", "/language", &[("language", "en"), ("next", "/")], [303; 5]),
    row(Method::Post, "/uploads", "/uploads", Body::Files, [303, 403, 303, 303, 303]),
    row(Method::Post, "/uploads/resumable", "/uploads/resumable", Body::Begin, [303, 403, 201, 201, 201]),
    get("/uploads/resumable/<key>", "/uploads/resumable/{upload}", READ_TO_CHANGE),
    row(
        Method::Patch,
        "/uploads/resumable/<key>",
        "/uploads/resumable/{upload}",
        Body::Piece,
        [303, 403, 404, 404, 204],
    ),
    row(
        Method::Delete,
        "/uploads/resumable/<key>",
        "/uploads/resumable/{upload}",
        Body::Tus,
        [303, 403, 404, 404, 204],
    ),
    post("/uploads/resumable/<key>/delete", "/uploads/resumable/{spare upload}/delete", &[], CHANGE),
    get("/entries/<key>?<done>", "/entries/{done}", READ),
    get("/entries/<key>?<done>", "/entries/{unconfirmed}", READ),
    get("/entries/<key>?<done>", "/entries/{queued}", READ),
    get("/entries/<key>?<done>", "/entries/nowhere", [303, 404, 404, 404, 404]),
    post(
        "/entries/<key>/confirm",
        "/entries/{unconfirmed}/confirm",
        &[("pipeline", "default"), ("packets", ""), ("category", ""), ("note", "theirs")],
        CHANGE,
    ),
    post("/entries/<key>/stop", "/entries/{queued}/stop", &[], CHANGE),
    post("/entries/<key>/note", "/entries/{done}/note", &[("note", "theirs"), ("category", "")], CHANGE),
    get("/entries/<key>/delete", "/entries/{done}/delete", READ_TO_CHANGE),
    post("/entries/<key>/delete", "/entries/{spare}/delete", &[], CHANGE),
    post("/entries/<key>/again", "/entries/{done}/again", &[], CHANGE),
    get("/entries/<key>/capture", "/entries/{done}/capture", READ_TO_CHANGE),
    // Its owner is in no team.
    post("/entries/<key>/share", "/entries/{done}/share", &[("team", "1")], [303, 403, 404, 404, 422]),
    post("/entries/<key>/take-back", "/entries/{queued}/take-back", &[], CHANGE),
    post("/entries/<key>/keep", "/entries/{done}/keep", &[("reason", "theirs")], CHANGE),
    post("/entries/<key>/let-go", "/entries/{done}/let-go", &[], CHANGE),
    get("/entries/<key>/events", "/entries/{done}/events", READ),
    get("/entries/<key>/pictures/<file>?<dark>", "/entries/{done}/pictures/timeline.svg", READ),
    get("/entries/<key>/flows?<wanted..>", "/entries/{done}/flows?search=beacon&sort=score", READ),
    get("/entries/<key>/flows/<flow>?<done>", "/entries/{done}/flows/{flow}", READ),
    post(
        "/entries/<key>/flows/<flow>/mark",
        "/entries/{done}/flows/{flow}/mark",
        &[("malicious", "false"), ("reason", "because")],
        CHANGE,
    ),
    get("/entries/<key>/report.html", "/entries/{done}/report.html", READ),
    get("/entries/<key>/hosts?<offset>", "/entries/{done}/hosts?offset=0", READ),
    get("/entries/<key>/flows.jsonl", "/entries/{done}/flows.jsonl", READ),
    get("/entries/<key>/flows.csv", "/entries/{done}/flows.csv", READ),
    get("/entries/<key>/flows/<flow>/packets.pcap", "/entries/{done}/flows/{flow}/packets.pcap", READ),
    get(
        "/entries/<key>/conversation?<wanted..>",
        "/entries/{done}/conversation?client=192.168.56.105&name=www.northfield-news.example&port=443",
        READ,
    ),
    get(
        "/entries/<key>/conversation.svg?<wanted..>",
        "/entries/{done}/conversation.svg?client=192.168.56.105&name=www.northfield-news.example&port=443",
        READ,
    ),
    get("/entries/<key>/packets?<wanted..>", "/entries/{done}/packets?at=3&field=4", READ),
    get("/entries/<key>/packets/<number>/stream?<skip>&<hex>", "/entries/{done}/packets/20/stream", READ),
    get(
        "/entries/<key>/packets/complete?<text>&<cursor>",
        "/entries/{done}/packets/complete?text=tls.s&cursor=5",
        READ,
    ),
    post("/entries/<key>/marks/<id>/withdraw", "/entries/{done}/marks/{mark}/withdraw", &[], CHANGE),
    get("/entries/<key>/triage", "/entries/{done}/triage", READ),
    get("/triage?<wanted..>", "/triage?state=all", VIEWER),
    get("/triage/<id>?<wanted..>", "/triage/{item}?state=new", READ),
    post("/triage/<id>", "/triage/{item}", &[("version", "1"), ("state", "seen")], CHANGE),
    post("/triage/<id>/comments", "/triage/{item}/comments", &[("text", "theirs")], CHANGE),
    post(
        "/triage/comments/<id>/edit",
        "/triage/comments/{comment}/edit",
        &[("version", "1"), ("item", "1"), ("text", "theirs")],
        CHANGE,
    ),
    post("/triage/comments/<id>/delete", "/triage/comments/{spare comment}/delete", &[("version", "1")], CHANGE),
    // Of many things that are chosen, those of others are passed over: here none is left.
    post("/triage/choose", "/triage/choose", &[("item", "999999.1"), ("do", "seen")], [303, 403, 422, 422, 422]),
    post("/triage/change", "/triage/change", &[("item", "999999.1"), ("do", "seen")], [303, 403, 409, 409, 409]),
    get("/triage/labels.csv?<wanted..>", "/triage/labels.csv", ANALYST),
    get("/triage/labels.json?<wanted..>", "/triage/labels.json", ANALYST),
    get("/marks", "/marks", ANALYST),
    get("/live?<done>", "/live", ADMINISTRATOR),
    post(
        "/live",
        "/live",
        &[("interface", "none0"), ("filter", ""), ("pipeline", "default")],
        [303, 403, 403, 422, 403],
    ),
    get("/live/<key>?<wanted..>", "/live/nowhere", SESSION),
    get("/live/<key>/events?<watching..>", "/live/nowhere/events", SESSION),
    get("/live/<key>/packets/<number>/stream?<skip>&<hex>", "/live/nowhere/packets/1/stream", SESSION),
    get("/live/<key>/packets/complete?<text>&<cursor>", "/live/nowhere/packets/complete?text=t&cursor=1", SESSION),
    get("/live/<key>/discard", "/live/nowhere/discard", SESSION),
    get("/live/<key>/capture.pcapng", "/live/nowhere/capture.pcapng", SESSION),
    post("/live/<key>/pause", "/live/nowhere/pause", &[], SESSION),
    post("/live/<key>/go-on", "/live/nowhere/go-on", &[], SESSION),
    post("/live/<key>/stop", "/live/nowhere/stop", &[], SESSION),
    post("/live/<key>/discard", "/live/nowhere/discard", &[], SESSION),
    post("/live/<key>/save", "/live/nowhere/save", &[("name", "x"), ("pipeline", "")], SESSION),
    get("/marks/captures.csv", "/marks/captures.csv", ANALYST),
    get("/marks/flows.csv", "/marks/flows.csv", ANALYST),
    get("/framework", "/framework", ANALYST),
    get("/pipelines", "/pipelines", ANALYST),
    get("/pipelines/<name>?<wanted..>", "/pipelines/default", ANALYST),
    get("/pipelines/<name>?<wanted..>", "/pipelines/nobodys", [303, 403, 404, 404, 404]),
    get("/pipelines/new?<from>", "/pipelines/new", ADMINISTRATOR),
    post("/pipelines", "/pipelines", PIPELINE, [303, 403, 403, 422, 403]),
    post("/pipelines/<name>", "/pipelines/nobodys", PIPELINE, [303, 403, 403, 404, 403]),
    post(
        "/pipelines/<name>/back",
        "/pipelines/nobodys/back",
        &[("version", "1"), ("base", "1")],
        [303, 403, 403, 404, 403],
    ),
    post("/pipelines/<name>/retire", "/pipelines/nobodys/retire", &[], [303, 403, 403, 404, 403]),
    post("/pipelines/<name>/restore", "/pipelines/nobodys/restore", &[], [303, 403, 403, 404, 403]),
    get("/plugins?<pipeline>", "/plugins", ANALYST),
    get("/tables?<wanted..>", "/tables?table=tcp&search=443", ANALYST),
    post("/tables", "/tables", &[("table", "tcp"), ("key", "x"), ("name", "x")], [303, 403, 403, 422, 403]),
    post("/tables/<id>/remove", "/tables/999999/remove", &[], [303, 403, 403, 404, 403]),
    get("/models?<done>", "/models", ANALYST),
    get("/models/<id>?<done>", "/models/default", ANALYST),
    get("/models/<id>/pictures/<file>?<dark>", "/models/default/pictures/roc.svg", ANALYST),
    // The models in the box are nobody's to promote.
    get("/models/<id>/promote", "/models/default/promote", [303, 403, 403, 404, 403]),
    post("/models/<id>/promote", "/models/office@1/promote", &[], [303, 403, 403, 404, 403]),
    get("/models/<id>/roll-back", "/models/office@1/roll-back", [303, 403, 403, 404, 403]),
    post("/models/<id>/roll-back", "/models/office@1/roll-back", &[], [303, 403, 403, 404, 403]),
    post("/models/<id>/shadow", "/models/office@1/shadow", &[("on", "true")], [303, 403, 403, 404, 403]),
    get("/training", "/training", ANALYST),
    post(
        "/training",
        "/training",
        &[("pipeline", "default"), ("source", "x"), ("weight", "1"), ("conflict", "refuse"), ("seed", "1")],
        [303, 403, 422, 422, 422],
    ),
    get("/training/<key>", "/training/nowhere", [303, 403, 404, 404, 404]),
    get("/training/<key>/events", "/training/nowhere/events", [303, 403, 404, 404, 404]),
    post("/training/<key>/stop", "/training/nowhere/stop", &[], [303, 403, 404, 404, 404]),
    get("/administration", "/administration", ADMINISTRATOR),
    get("/system", "/system", ADMINISTRATOR),
    get("/categories?<done>", "/categories", ADMINISTRATOR),
    post("/categories", "/categories", &[("name", "Drill")], [303, 403, 403, 303, 403]),
    post("/categories/<id>/rename", "/categories/999999/rename", &[("name", "x")], [303, 403, 403, 422, 403]),
    post("/categories/<id>/retire", "/categories/999999/retire", &[], [303, 403, 403, 422, 403]),
    post("/categories/<id>/restore", "/categories/999999/restore", &[], [303, 403, 403, 422, 403]),
    get("/account?<done>", "/account", VIEWER),
    // A viewer gets as far as the answer that the current password is wrong, or that there is no such thing of theirs.
    post(
        "/account/password",
        "/account/password",
        &[("current", "x"), ("password", "x"), ("again", "x")],
        [303, 422, 422, 422, 422],
    ),
    get("/account/second-factor", "/account/second-factor", VIEWER),
    post("/account/second-factor", "/account/second-factor", &[("current", "x")], [303, 422, 422, 422, 422]),
    post(
        "/account/second-factor/confirm",
        "/account/second-factor/confirm",
        &[("sealed", "x"), ("code", "123456")],
        [303, 422, 422, 422, 422],
    ),
    post(
        "/account/second-factor/codes",
        "/account/second-factor/codes",
        &[("current", "x")],
        [303, 422, 422, 422, 422],
    ),
    post(
        "/account/second-factor/off",
        "/account/second-factor/off",
        &[("current", "x"), ("code", "123456")],
        [303, 422, 422, 422, 422],
    ),
    post("/account/second-factor/seen", "/account/second-factor/seen", &[], [303; 5]),
    post("/account/sessions/revoke", "/account/sessions/revoke", &[("id", "999999")], [303, 422, 422, 422, 422]),
    post("/account/sessions/revoke-others", "/account/sessions/revoke-others", &[], [303; 5]),
    post("/account/tokens", "/account/tokens", &[("label", "x"), ("scope", "read"), ("days", "1")], VIEWER),
    post("/account/tokens/revoke", "/account/tokens/revoke", &[("id", "999999")], [303, 422, 422, 422, 422]),
    get("/people?<done>", "/people", ADMINISTRATOR),
    post("/people/invitations", "/people/invitations", &[("role", "viewer")], ADMINISTRATOR),
    post("/people/invitations/<id>/withdraw", "/people/invitations/999999/withdraw", &[], [303, 403, 403, 422, 403]),
    post("/people/<id>/role", "/people/999999/role", &[("role", "viewer")], [303, 403, 403, 422, 403]),
    post("/people/<id>/disable", "/people/999999/disable", &[], [303, 403, 403, 422, 403]),
    post("/people/<id>/enable", "/people/999999/enable", &[], [303, 403, 403, 422, 403]),
    post("/people/<id>/quota", "/people/999999/quota", &[("quota", "5")], [303, 403, 403, 422, 403]),
    get("/people/<id>/delete", "/people/999999/delete", [303, 403, 403, 404, 403]),
    post("/people/<id>/delete", "/people/999999/delete", &[], [303, 403, 403, 422, 403]),
    get("/teams?<done>", "/teams", ADMINISTRATOR),
    post("/teams", "/teams", &[("name", "Drill")], [303, 403, 403, 303, 403]),
    get("/teams/<id>?<done>", "/teams/999999", NO_TEAM),
    post("/teams/<id>/rename", "/teams/999999/rename", &[("name", "x")], NO_TEAM),
    post("/teams/<id>/retire", "/teams/999999/retire", &[], NO_TEAM),
    post("/teams/<id>/restore", "/teams/999999/restore", &[], NO_TEAM),
    post("/teams/<id>/members", "/teams/999999/members", &[("account", "1"), ("standing", "works")], NO_TEAM),
    post("/teams/<id>/members/<account>/remove", "/teams/999999/members/1/remove", &[], NO_TEAM),
    post(
        "/teams/<id>/limits",
        "/teams/999999/limits",
        &[("quota", ""), ("captures", ""), ("entries", ""), ("unconfirmed", "")],
        NO_TEAM,
    ),
    get("/retention?<done>", "/retention", ADMINISTRATOR),
    post("/retention/accept", "/retention/accept", &[], [303, 403, 403, 303, 403]),
    post("/people/<id>/second-factor/take", "/people/999999/second-factor/take", &[], [303, 403, 403, 422, 403]),
    get("/audit?<before>", "/audit", ADMINISTRATOR),
    get("/audit/export", "/audit/export", ADMINISTRATOR),
    get("/webhooks?<done>", "/webhooks", ADMINISTRATOR),
    post("/webhooks/<name>/test", "/webhooks/none/test", &[], [303, 403, 403, 404, 403]),
    get("/api/v1/openapi.json", "/api/v1/openapi.json", ALL),
    get("/api/v1/me", "/api/v1/me", API),
    get("/api/v1/pipelines", "/api/v1/pipelines", API),
    get("/api/v1/teams", "/api/v1/teams", API),
    get("/api/v1/entries?<wanted..>", "/api/v1/entries", API),
    row(
        Method::Post,
        "/api/v1/entries?<options..>",
        "/api/v1/entries?name=theirs.pcap",
        Body::Capture,
        [401, 403, 201, 201, 201],
    ),
    get("/api/v1/models", "/api/v1/models", [401, 403, 200, 200, 200]),
    get("/api/v1/models/<id>", "/api/v1/models/default", [401, 403, 200, 200, 200]),
    row(
        Method::Post,
        "/api/v1/models/<id>/promote",
        "/api/v1/models/office@1/promote",
        Body::Json("{}"),
        [401, 403, 403, 404, 403],
    ),
    row(
        Method::Post,
        "/api/v1/trainings",
        "/api/v1/trainings",
        Body::Json("{\"sources\": [\"x\"]}"),
        [401, 403, 422, 422, 422],
    ),
    get("/api/v1/trainings/<key>", "/api/v1/trainings/nowhere", [401, 403, 404, 404, 404]),
    get("/api/v1/entries/<key>", "/api/v1/entries/{done}", API_READ),
    row(
        Method::Patch,
        "/api/v1/entries/<key>",
        "/api/v1/entries/{done}",
        Body::Json("{\"note\": \"by a program\"}"),
        API_CHANGE,
    ),
    row(
        Method::Delete,
        "/api/v1/entries/<key>",
        "/api/v1/entries/{spare of the program}",
        Body::Nothing,
        [401, 403, 404, 404, 204],
    ),
    row(
        Method::Post,
        "/api/v1/entries/<key>/confirm",
        "/api/v1/entries/{unconfirmed of the program}/confirm",
        Body::Json("{\"note\": \"by a program\"}"),
        API_CHANGE,
    ),
    row(
        Method::Post,
        "/api/v1/entries/<key>/stop",
        "/api/v1/entries/{queued of the program}/stop",
        Body::Nothing,
        API_CHANGE,
    ),
    row(Method::Post, "/api/v1/entries/<key>/again", "/api/v1/entries/{done}/again", Body::Nothing, API_CHANGE),
    row(Method::Options, "/api/v1/uploads", "/api/v1/uploads", Body::Nothing, [401, 403, 204, 204, 204]),
    row(Method::Post, "/api/v1/uploads?<options..>", "/api/v1/uploads", Body::Begin, [401, 403, 201, 201, 201]),
    get("/api/v1/uploads", "/api/v1/uploads", [401, 403, 200, 200, 200]),
    get("/api/v1/uploads/<key>", "/api/v1/uploads/{upload of the program}", [401, 403, 404, 404, 200]),
    row(
        Method::Patch,
        "/api/v1/uploads/<key>",
        "/api/v1/uploads/{upload of the program}",
        Body::Piece,
        [401, 403, 404, 404, 204],
    ),
    row(
        Method::Delete,
        "/api/v1/uploads/<key>",
        "/api/v1/uploads/{upload of the program}",
        Body::Tus,
        [401, 403, 404, 404, 204],
    ),
    get("/api/v1/entries/<key>/result?<offset>", "/api/v1/entries/{done}/result", API_READ),
    get("/api/v1/entries/<key>/alerts?<offset>", "/api/v1/entries/{done}/alerts", API_READ),
    get("/api/v1/entries/<key>/flows?<wanted..>", "/api/v1/entries/{done}/flows?verdict=malicious", API_READ),
    get("/api/v1/entries/<key>/flows.jsonl", "/api/v1/entries/{done}/flows.jsonl", API_READ),
    get("/api/v1/triage?<wanted..>", "/api/v1/triage", API),
    get("/api/v1/triage/<id>", "/api/v1/triage/{item}", API_READ),
    row(
        Method::Patch,
        "/api/v1/triage/<id>",
        "/api/v1/triage/{item}",
        Body::Json("{\"version\": 2, \"state\": \"confirmed\"}"),
        API_CHANGE,
    ),
    row(
        Method::Post,
        "/api/v1/triage/<id>/comments",
        "/api/v1/triage/{item}/comments",
        Body::Json("{\"text\": \"x\"}"),
        API_CHANGE,
    ),
    get("/api/v1/triage/labels?<wanted..>", "/api/v1/triage/labels", API),
];

impl Row {
    fn is_api(&self) -> bool {
        self.path.starts_with("/api/")
    }

    /// The path with the owner's keys; without them, with keys of nobody.
    fn path(&self, owned: Option<&Owned>) -> String {
        let mut path = self.path.to_owned();
        while let Some((before, rest)) = path.split_once('{') {
            let (name, after) = rest.split_once('}').unwrap();
            let nobody = if name == "flow" { "1".to_owned() } else { "0".repeat(32) };
            let value = owned.map_or(nobody, |owned| owned.0[name].clone());
            path = format!("{before}{value}{after}");
        }
        path
    }

    /// Asks for it, with this form token where one is needed.
    fn ask(&self, person: &Person<'_>, owned: Option<&Owned>, csrf: &str, headers: &[(&str, &str)]) -> Got {
        let path = self.path(owned);
        let ask = |kind, body: &[u8]| person.ask(self.method, &path, kind, body, headers);
        match self.body {
            Body::Nothing => ask(None, b""),
            Body::Form(fields) => ask(Some("application/x-www-form-urlencoded"), form(csrf, fields).as_bytes()),
            Body::Files => {
                let bytes = capture("ssh-greeting.pcap");
                ask(Some(MULTIPART), &multipart(csrf, &[("theirs.pcap", &bytes)]))
            }
            Body::Json(text) => ask(Some("application/json"), text.as_bytes()),
            Body::Capture => ask(None, &capture("ssh-greeting.pcap")),
            Body::Begin | Body::Piece | Body::Tus => {
                let (kind, body): (_, &[u8]) = match self.body {
                    Body::Piece => (Some("application/offset+octet-stream"), b"x"),
                    _ => (None, b""),
                };
                let mut all = vec![("Tus-Resumable", "1.0.0"), ("X-Form-Token", csrf)];
                all.extend([("Upload-Length", "10"), ("Upload-Offset", "0")]);
                all.extend(headers);
                person.ask(self.method, &path, kind, body, &all)
            }
        }
    }
}

/// What only the owner, or whoever leads the team, may do with an entry that is shared.
const OF_THE_OWNER: [&str; 6] = [
    "/entries/<key>/share",
    "/entries/<key>/take-back",
    "/entries/<key>/keep",
    "/entries/<key>/let-go",
    "/entries/<key>/delete",
    "/api/v1/entries/<key>",
];

impl Row {
    /// What a team-mate gets who reads, or works: as the owner, or that it is not allowed.
    fn status_of_a_mate(&self, works: bool) -> u16 {
        // An upload that is not an entry yet is nobody else's, and neither is what somebody said.
        if self.path.contains("upload") || self.path.contains("comment}") {
            return self.statuses[2];
        }
        // What a viewer may not even ask for changes something, or is the capture itself.
        let is_read = self.statuses[1] == 404;
        let is_owner_s = OF_THE_OWNER.contains(&self.route) && !is_read && self.method != Method::Patch;
        if is_read || (works && !is_owner_s) { self.statuses[OWNER] } else { 403 }
    }
}

/// Accounts of each of [`KINDS`]; the first one is nobody.
fn kinds(site: &Site) -> [Option<Account>; 5] {
    let administrator = site.add("ada", Role::Administrator);
    let [vera, anna, olga] = [("vera", Role::Viewer), ("anna", Role::Analyst), ("olga", Role::Analyst)]
        .map(|(name, role)| site.add(name, role));
    [None, Some(vera), Some(anna), Some(administrator), Some(olga)]
}

/// A person of a kind with a fresh session, or with a fresh API token where it is for the API.
fn person<'s>(site: &'s Site, kind: Option<&Account>, row: &Row) -> Person<'s> {
    match kind {
        None => site.stranger(),
        Some(account) if row.is_api() => site.program_of(account, Scope::Write),
        Some(account) => site.session_of(account),
    }
}

/// The form token of this person, from a page that everybody sees.
fn csrf(person: &Person<'_>) -> String {
    person.get("/nowhere").csrf()
}

/// What the owner has: one entry of each kind, by name.
struct Owned(BTreeMap<&'static str, String>);

impl Owned {
    fn of(site: &Site, owner: &Account) -> Self {
        let me = site.session_of(owner);
        let small = capture("ssh-greeting.pcap");
        let mut all = BTreeMap::new();
        let done = me.analyse("beacon.pcap", &capture("first-run.pcap"));
        // From now on nothing is taken out of the queue.
        site.portal().runner.end();
        let alerts = me.get(&format!("/entries/{done}")).is(200);
        let link = format!("/entries/{done}/flows/");
        let flow = alerts.body.split_once(&link).unwrap().1.split('"').next().unwrap().to_owned();
        me.post(
            &format!("{link}{flow}"),
            &format!("{link}{flow}/mark"),
            &[("malicious", "true"), ("reason", "olga knows it")],
        )
        .is(303);
        me.post("/", &format!("/entries/{done}/note"), &[("note", "olga's note"), ("category", "1")]).is(303);
        for (name, is_queued) in [
            ("unconfirmed", false),
            ("unconfirmed of the program", false),
            ("spare", false),
            ("spare of the program", false),
            ("queued", true),
            ("queued of the program", true),
        ] {
            let key = me.keep(&format!("{name}.pcap"), &small);
            if is_queued {
                me.confirm(&key);
            }
            all.insert(name, key);
        }
        let item = site.number("SELECT min(id) FROM items WHERE kind = 'conversation'").to_string();
        for text in ["olga says so", "olga is not sure"] {
            me.post("/", &format!("/triage/{item}/comments"), &[("text", text)]).is(303);
        }
        let comment = |which| site.number(&format!("SELECT {which}(id) FROM comments")).to_string();
        all.extend([("comment", comment("min")), ("spare comment", comment("max")), ("item", item)]);
        all.insert("mark", site.number("SELECT id FROM marks").to_string());
        for name in ["upload", "spare upload", "upload of the program"] {
            let csrf = me.get("/").csrf();
            let headers = [("Tus-Resumable", "1.0.0"), ("X-Form-Token", &csrf), ("Upload-Length", "10")];
            let got = me.ask(Method::Post, "/uploads/resumable", None, b"", &headers).is(201);
            all.insert(name, got.location().rsplit('/').next().unwrap().to_owned());
        }
        all.extend([("done", done), ("flow", flow)]);
        Self(all)
    }
}

/// Everything that is the owner's: rows, marks, what is made of findings, and the files behind them.
fn possessions(site: &Site, owner: &Account, owned: &Owned) -> (Vec<String>, Vec<String>, BTreeMap<String, Vec<u8>>) {
    let id = owner.id;
    let entries = site.rows(&format!("SELECT * FROM entries WHERE account_id = {id} ORDER BY id"));
    let mut marks = site.rows(&format!("SELECT * FROM marks WHERE account_id = {id} ORDER BY id"));
    assert_eq!(marks.len(), 1);
    let of = format!("FROM items i JOIN entries e ON e.id = i.entry_id AND e.account_id = {id}");
    marks.extend(site.rows(&format!("SELECT i.* {of} ORDER BY i.id")));
    let (items, comments) = (marks.len() - 1, site.rows(&format!("SELECT * FROM comments WHERE account_id = {id}")));
    assert!(items > 7 && comments.len() == 2, "{items} {comments:?}");
    marks.extend(comments);
    let mut files = site.files("captures");
    files.extend(site.files("results"));
    assert!(files.contains_key(&format!("{}.sqlite", owned.0["done"])));
    assert_eq!((entries.len(), files.len()), (7, 3), "{entries:#?}");
    (entries, marks, files)
}

fn strict_site() -> Site {
    Site::with(|config| {
        config.login.account_attempts = 1000;
        config.limits.api_tokens = 1000;
    })
}

#[test]
fn every_route_lets_in_whom_it_should() {
    let site = strict_site();
    let kinds = kinds(&site);
    let owner = kinds[OWNER].as_ref().unwrap();
    let owned = Owned::of(&site, owner);
    let before = possessions(&site, owner, &owned);
    for (at, kind) in kinds.iter().enumerate() {
        if at == OWNER {
            // All others have tried everything.
            assert_eq!(possessions(&site, owner, &owned), before);
        }
        for row in TABLE {
            let person = person(&site, kind.as_ref(), row);
            // Programs without cookies have no forms.
            let csrf = if row.is_api() { String::new() } else { csrf(&person) };
            let got = row.ask(&person, Some(&owned), &csrf, &[]);
            let (who, status) = (KINDS[at], row.statuses[at]);
            assert_eq!(got.status, status, "{who}: {} {}: {}", row.method, row.path, got.body);
            let is_guarded = row.statuses[0] == 303 && !["/setup?<token>", "/language"].contains(&row.route);
            if kind.is_none() && is_guarded {
                assert!(got.location().starts_with("/login"), "{} leads to {}", row.path, got.location());
            }
            if row.is_api() && status >= 400 {
                assert_eq!(got.json()["status"], u64::from(status), "{who}: {}", row.path);
            }
            if row.path.contains('{') && at != OWNER {
                for secret in ["beacon.pcap", "olga", "192.168.56.106"] {
                    assert!(!got.body.contains(secret), "{who} sees {secret} at {}", row.path);
                }
            }
        }
    }
    // The owner did what the table says, so the requests of the others were no empty ones.
    let state = |name| site.state(&owned.0[name]);
    assert_eq!(["unconfirmed", "unconfirmed of the program"].map(state), ["queued", "queued"]);
    assert_eq!(["queued", "queued of the program"].map(state), ["failed", "failed"]);
    for spare in ["spare", "spare of the program"] {
        assert_eq!(site.number(&format!("SELECT count(*) FROM entries WHERE key = '{}'", owned.0[spare])), 0);
    }
    assert_eq!(site.number("SELECT count(*) FROM entries WHERE note = 'by a program'"), 3);
    assert_eq!(site.number("SELECT count(*) FROM marks"), 2);
}

#[test]
fn team_mates_may_do_what_their_standing_says() {
    let site = strict_site();
    let kinds = kinds(&site);
    let (administrator, owner) = (kinds[3].as_ref().unwrap(), kinds[OWNER].as_ref().unwrap());
    let [other, reads, works] = ["oskar", "rita", "wanda"].map(|name| site.add(name, Role::Analyst));
    let owned = Owned::of(&site, owner);
    let blue = team(&site, administrator, "Blue", &[(owner, "reads"), (&reads, "reads"), (&works, "works")]);
    team(&site, administrator, "Red", &[(&other, "leads"), (owner, "leads")]);
    let is_entry = |key: &String| site.number(&format!("SELECT count(*) FROM entries WHERE key = '{key}'")) == 1;
    for key in owned.0.values().filter(|key| is_entry(key)) {
        let page = format!("/entries/{key}");
        site.session_of(owner).post("/", &format!("{page}/share"), &[("team", &blue)]).is(303);
    }
    let before = possessions(&site, owner, &owned);
    for (account, who) in
        [(&other, "another team"), (administrator, "administrator"), (&reads, "reads"), (&works, "works")]
    {
        if who == "works" {
            // All others have tried everything.
            assert_eq!(possessions(&site, owner, &owned), before);
        }
        for row in TABLE.iter().filter(|row| row.path.contains('{')) {
            let expected = match who {
                "reads" => row.status_of_a_mate(false),
                "works" => row.status_of_a_mate(true),
                _ => row.statuses[2],
            };
            let person = person(&site, Some(account), row);
            let csrf = if row.is_api() { String::new() } else { csrf(&person) };
            let got = row.ask(&person, Some(&owned), &csrf, &[]);
            assert_eq!(got.status, expected, "{who}: {} {}: {}", row.method, row.path, got.body);
            if expected >= 400 {
                for secret in ["beacon.pcap", "olga", "192.168.56.106"] {
                    assert!(!got.body.contains(secret), "{who} sees {secret} at {}", row.path);
                }
            }
        }
    }
    // Whoever works did what the table says, for the owner.
    let state = |name| site.state(&owned.0[name]);
    assert_eq!(["unconfirmed", "unconfirmed of the program"].map(state), ["queued", "queued"]);
    assert_eq!(["queued", "queued of the program"].map(state), ["failed", "failed"]);
    assert_eq!(["spare", "spare of the program"].map(state), ["unconfirmed", "unconfirmed"]);
    assert_eq!(site.number(&format!("SELECT count(*) FROM entries WHERE account_id <> {}", owner.id)), 0);
    assert_eq!(site.number(&format!("SELECT count(*) FROM marks WHERE account_id = {}", works.id)), 1);
}

#[test]
fn lists_searches_and_exports_hold_nothing_of_others() {
    let site = strict_site();
    let kinds = kinds(&site);
    let owned = Owned::of(&site, kinds[OWNER].as_ref().unwrap());
    let sha256 = &site.text("SELECT sha256 FROM captures ORDER BY bytes DESC LIMIT 1");
    for (kind, account) in KINDS.iter().zip(&kinds).skip(1) {
        let account = account.as_ref().unwrap();
        let (me, program) = (site.session_of(account), site.program_of(account, Scope::Read));
        let is_owner = *kind == KINDS[OWNER];
        for search in ["", "beacon", "olga", &sha256[..20]] {
            for got in [me.get(&format!("/?search={search}")), program.get(&format!("/api/v1/entries?search={search}"))]
            {
                assert_eq!(got.body.contains(&owned.0["done"]), is_owner, "{kind}: {search}: {}", got.body);
            }
        }
        if account.role >= Role::Analyst {
            for (path, words) in [("/marks/flows.csv", "olga knows it"), ("/marks/captures.csv", sha256)] {
                assert_eq!(me.get(path).is(200).body.contains(words), is_owner, "{kind}: {path}");
            }
        }
    }
}

#[test]
fn a_token_that_reads_changes_nothing_whoever_has_it() {
    let site = strict_site();
    let kinds = kinds(&site);
    let owner = kinds[OWNER].as_ref().unwrap();
    let owned = Owned::of(&site, owner);
    let before = possessions(&site, owner, &owned);
    let all = site.number("SELECT count(*) FROM entries");
    let mut tried = 0;
    for account in kinds.iter().flatten() {
        let program = site.program_of(account, Scope::Read);
        for row in TABLE.iter().filter(|row| row.is_api() && row.method != Method::Get) {
            row.ask(&program, Some(&owned), "", &[]).is(403);
            tried += 1;
        }
    }
    assert_eq!(tried, 4 * 14);
    // Nor does a session, which every browser sends by itself.
    for row in TABLE.iter().filter(|row| row.is_api() && row.statuses[0] == 401) {
        row.ask(&site.session_of(owner), Some(&owned), "", &[]).is(401);
    }
    assert_eq!(possessions(&site, owner, &owned), before);
    assert_eq!(site.number("SELECT count(*) FROM entries"), all);
}

#[test]
fn whoever_is_an_analyst_no_longer_still_reads_what_they_have_and_changes_nothing() {
    let site = strict_site();
    let kinds = kinds(&site);
    let (administrator, owner) = (kinds[3].as_ref().unwrap(), kinds[OWNER].as_ref().unwrap());
    let owned = Owned::of(&site, owner);
    let before = possessions(&site, owner, &owned);
    let old = site.program_of(owner, Scope::Write);
    let role = format!("/people/{}/role", owner.id);
    site.session_of(administrator).post("/people", &role, &[("role", "viewer")]).is(303);
    for row in TABLE.iter().filter(|row| row.path.contains('{')) {
        let me = person(&site, Some(owner), row);
        let csrf = if row.is_api() { String::new() } else { csrf(&me) };
        let got = row.ask(&me, Some(&owned), &csrf, &[]);
        // Where a viewer may look at all, this one looks at what is theirs.
        let expected = if row.statuses[1] == 404 { 200 } else { 403 };
        assert_eq!(got.status, expected, "{} {}: {}", row.method, row.path, got.body);
        if row.is_api() && row.method != Method::Get {
            let got = row.ask(&old, Some(&owned), "", &[]);
            assert!([401, 403].contains(&got.status), "a token from before: {} {}", row.path, got.status);
        }
    }
    site.session_of(owner).get(&format!("/entries/{}", owned.0["done"])).is(200).says("olga knows it");
    assert_eq!(possessions(&site, owner, &owned), before);
}

#[test]
fn the_table_has_every_route_and_no_other() {
    let site = Site::new();
    let routes: BTreeSet<String> =
        site.client.rocket().routes().map(|route| format!("{} {}", route.method, route.uri)).collect();
    let table: BTreeSet<String> = TABLE.iter().map(|row| format!("{} {}", row.method, row.route)).collect();
    assert_eq!(routes, table);
    let asked: BTreeSet<String> = TABLE.iter().map(|row| format!("{} {}", row.method, row.path)).collect();
    assert_eq!(TABLE.len(), asked.len(), "nothing is asked for twice");
}

#[test]
fn every_change_needs_the_form_token_of_this_visitor_and_a_page_of_ours() {
    let site = Site::with(|config| config.login.account_attempts = 1000);
    let kinds = kinds(&site);
    let administrator = kinds[3].as_ref().unwrap();
    let before = site.number("SELECT count(*) FROM audit");
    let mut sessions = 0;
    for row in TABLE.iter().filter(|row| row.method != Method::Get && !row.is_api()) {
        let (me, other) = (site.session_of(administrator), site.session_of(administrator));
        sessions += 2;
        let (mine, others) = (csrf(&me), csrf(&other));
        let ask = |token: &str, headers: &[(&str, &str)]| row.ask(&me, None, token, headers);
        let unsigned = match row.body {
            Body::Form(fields) => me.post_raw(&row.path(None), &form("", fields).replace("csrf=", "x="), &[]),
            _ => {
                let body = String::from_utf8_lossy(&multipart("", &[("x.pcap", b"x")])).replace("\"csrf\"", "\"x\"");
                me.ask(row.method, &row.path(None), Some(MULTIPART), body.as_bytes(), &[])
            }
        };
        assert_eq!(unsigned.status, 403, "{}: no token", row.path);
        assert_eq!(ask("", &[]).status, 403, "{}: an empty token", row.path);
        assert_eq!(ask("wrong", &[]).status, 403, "{}: a wrong token", row.path);
        assert_eq!(ask(&others, &[]).status, 403, "{}: another session's token", row.path);
        for site in ["cross-site", "same-site", "none"] {
            assert_eq!(ask(&mine, &[("Sec-Fetch-Site", site)]).status, 403, "{}: {site}", row.path);
        }
        let host = ("Host", "portal.example");
        for origin in ["https://evil.example", "http://portal.example.evil.example", "portal.example", ""] {
            assert_eq!(ask(&mine, &[host, ("Origin", origin)]).status, 403, "{}: {origin:?}", row.path);
        }
        ask("wrong", &[]).is(403).says("did not come from a page");
    }
    // None of it has changed or begun anything.
    assert_eq!(site.number("SELECT count(*) FROM audit"), before + sessions);
    assert_eq!(site.number("SELECT count(*) FROM entries"), 0);
    assert!(site.files("captures").is_empty() && site.files("incoming").is_empty());
    let me = site.session_of(administrator);
    let good = form(&csrf(&me), &[("role", "viewer")]);
    for headers in [
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", "null")][..],
        &[("Host", "portal.example"), ("Origin", "http://portal.example")],
        &[("Host", "portal.example:8000"), ("Origin", "https://portal.example:8000")],
    ] {
        me.post_raw("/people/invitations", &good, headers).is(200);
    }
}

#[test]
fn every_answer_has_the_security_headers() {
    let site = Site::with_ada();
    let stranger = site.stranger();
    let odd = ["/nowhere", "/api/nowhere", "/api/v1/nowhere", "/people/x/role"].map(str::to_owned);
    for path in TABLE.iter().map(|row| row.path(None)).chain(odd) {
        let path = path.as_str();
        for got in [stranger.get(path), stranger.post_raw(path, "x=y", &[])] {
            let header = |name| got.header(name).unwrap_or_else(|| panic!("{path} lacks {name}"));
            let policy = header("Content-Security-Policy");
            for part in [
                "default-src 'none'",
                "style-src 'self'",
                "img-src 'self'",
                "script-src 'self'",
                "connect-src 'self'",
                "form-action 'self'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
            ] {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{path}: {policy}");
            assert_eq!(header("X-Content-Type-Options"), "nosniff");
            assert_eq!(header("Referrer-Policy"), "no-referrer");
            assert!(header("Permissions-Policy").contains("camera=()"));
            let is_asset = ["/style.css", "/favicon.svg", "/script.js"].contains(&path) && got.status == 200;
            assert_eq!(header("Cache-Control"), if is_asset { "no-cache" } else { "no-store" }, "{path}");
            assert!(got.header("Server").is_none(), "{path}");
            assert!(got.header("Strict-Transport-Security").is_none(), "{path}");
        }
    }
    let secure = Site::with(|config| config.proxy.tls = true);
    assert!(secure.stranger().get("/healthz").header("Strict-Transport-Security").is_some());
}

#[test]
fn the_api_answers_in_problem_documents_and_to_tokens_alone() {
    let site = Site::new();
    let ada = site.add("ada", Role::Administrator);
    // A session is no key to the API.
    let mut me = site.session_of(&ada);
    let got = me.get("/api/v1/me").is(401);
    assert_eq!(got.header("Content-Type"), Some("application/problem+json"));
    assert_eq!(got.header("WWW-Authenticate"), Some("Bearer"));
    let problem: serde_json::Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!((problem["status"].as_u64(), problem["title"].as_str()), (Some(401), Some("Unauthorized")));
    me.get("/api/v1/nowhere").is(404).says("\"status\":404");
    me.bearer = Some("vwp_wrong".to_owned());
    me.get("/api/v1/me").is(401);
    me.bearer = Some(site.api_token_of(&ada));
    let got = me.get("/api/v1/me").is(200);
    let answer: serde_json::Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!((answer["name"].as_str(), answer["role"].as_str()), (Some("ada"), Some("administrator")));
    assert_eq!(answer["scope"].as_str(), Some("read"));
    // And a token is no key to the pages.
    let mut program = site.stranger();
    program.bearer = me.bearer.clone();
    program.get("/account").is(303);
    site.clock.advance(24 * 3600);
    me.get("/api/v1/me").is(401);
}
