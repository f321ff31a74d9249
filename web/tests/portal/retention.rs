//! What goes by its age, and that nothing goes by a clock that jumps.

use std::path::Path;

use veilwatch_web::accounts::{Account, Role};
use veilwatch_web::config::Retention;
use veilwatch_web::retention::{DAY, Sweep};

use crate::support::{Person, Site, capture};

/// A portal with these days for captures, entries and unconfirmed uploads, whose first sweep is over.
fn site(captures_days: u32, entries_days: u32, unconfirmed_days: u32) -> (Site, Account) {
    let site = Site::with(|config| {
        config.retention = Retention { captures_days, entries_days, unconfirmed_days, ..Retention::default() };
    });
    let ada = site.add("ada", Role::Administrator);
    assert_eq!(sweep(&site), Sweep::default(), "the first one notes the time");
    (site, ada)
}

fn sweep(site: &Site) -> Sweep {
    site.portal().sweeper.sweep().unwrap()
}

/// Lets days go by as they do, with a sweep on each, and gives what the sweeps deleted: entries and captures.
fn days(site: &Site, days: i64) -> (u64, u64) {
    let (mut entries, mut captures) = (0, 0);
    for _ in 0..days {
        site.clock.advance(DAY);
        let sweep = sweep(site);
        assert_eq!((sweep.doubt, sweep.more), (None, false));
        (entries, captures) = (entries + sweep.entries, captures + sweep.captures);
    }
    (entries, captures)
}

/// Whether these bytes stand anywhere in the database or what SQLite puts beside it.
fn is_in_the_database(site: &Site, bytes: &str) -> bool {
    let holds = |name: &str| {
        let path = site.folder.path().join("data").join(name);
        let content = if Path::new(&path).exists() { std::fs::read(path).unwrap() } else { Vec::new() };
        content.windows(bytes.len()).any(|part| part == bytes.as_bytes())
    };
    ["portal.sqlite", "portal.sqlite-wal"].into_iter().any(holds)
}

fn analysed<'s>(me: &Person<'s>, name: &str, bytes: &[u8]) -> String {
    let key = me.analyse(name, bytes);
    me.whole(&format!("/entries/{key}/packets"), &[]).is(200);
    key
}

#[test]
fn captures_go_before_their_entries_and_both_for_good() {
    let (site, ada) = site(2, 4, 1);
    let me = || site.session_of(&ada);
    let waits = me().keep("zq-waits.pcap", &capture("ssh-greeting.pcap"));
    let done = analysed(&me(), "zq-secret-name.pcap", &capture("first-run.pcap"));
    me().post("/", &format!("/entries/{done}/note"), &[("note", "zq-secret-note"), ("category", "")]).is(303);
    let sha256 = site.text(&format!("SELECT sha256 FROM entries WHERE key = '{done}'"));
    assert_eq!(site.portal().readers.count(), 1);
    // As if a program had uploaded it, by pieces and with a key of its own, and nothing of that were old enough to go by
    // itself.
    site.execute(&format!(
        "INSERT INTO uploads (key, account_id, address, name, metadata, length, state, entry, created_at, expires_at)
            VALUES ('{:032x}', {ada}, '', 'zq-secret-name', 'zq-secret-note', 1, 'done', '{done}', 1, 99999999999);
        INSERT INTO answers VALUES ({ada}, 'one', x'00', '{done}', 'zq-secret-name', 99999999999),
            ({ada}, 'two', x'00', '{:032x}', 'zq-secret-note', 99999999999)",
        7,
        7,
        ada = ada.id,
    ));
    let page = format!("/entries/{done}");
    me().get(&page)
        .is(200)
        .says("The capture will be deleted on 2027-01-17")
        .says("This entry will be deleted on 2027-01-19");
    me().get(&format!("/entries/{waits}")).is(200).says("This entry will be deleted on 2027-01-16");
    assert!(is_in_the_database(&site, "zq-secret-name"));

    assert_eq!(days(&site, 1), (1, 0));
    me().get(&format!("/entries/{waits}")).is(404);
    assert_eq!(site.files("captures").keys().collect::<Vec<_>>(), [&sha256]);
    assert_eq!(days(&site, 1), (0, 1));
    assert!(site.files("captures").is_empty() && site.files("indexes").is_empty());
    assert_eq!(site.portal().readers.count(), 0, "whoever read it was ended");
    // Its row stays with the entry, but nothing of it is kept.
    me().get("/system").is(200).says("<dd>0 (0 B)</dd>");
    // The result stays, and what needs the capture says since when it is gone.
    let gone = "The capture was deleted on 2027-01-17";
    me().get(&page).is(200).says(gone).lacks(&format!("{page}/capture\"")).lacks("/again\"");
    let flow = site.first_flow(&me(), &page);
    me().get(&flow).is(200);
    for path in [format!("{page}/packets?at=3"), format!("{page}/capture"), format!("{flow}/packets.pcap")] {
        me().get(&path).is(422).says(gone);
    }
    me().post("/", &format!("{page}/again"), &[]).is(422).says("capture of this entry was deleted");
    let entry = site.program_of(&ada, veilwatch_web::accounts::tokens::Scope::Read).get(&format!("/api/v1{page}"));
    assert_eq!(entry.is(200).json()["capture_deleted_at"], site.clock_now());
    // The same content comes once more: the new entry has it, and the old one still does without.
    let again = me().keep("zq-again.pcap", &capture("first-run.pcap"));
    me().whole(&format!("/entries/{again}/packets"), &[]).is(200);
    me().get(&format!("{page}/packets")).is(422).says(gone);

    assert_eq!(days(&site, 2), (2, 0));
    me().get(&page).is(404);
    assert!(["captures", "results", "indexes", "work"].iter().all(|folder| site.files(folder).is_empty()));
    for word in ["zq-secret-name", "zq-secret-note", sha256.as_str()] {
        assert!(!is_in_the_database(&site, word), "{word}");
    }
    // What went and why is told by number alone.
    let told = site.text(
        "SELECT group_concat(subject, '; ') FROM (SELECT subject FROM audit
            WHERE action IN ('entry-expired', 'capture-expired') ORDER BY id)",
    );
    assert_eq!(told, "entry 1: 1 days; entry 2: 2 days; entry 3: 1 days; entry 2: 4 days");
    let page = me().get("/retention").is(200);
    page.says("2 days").says("<dd>3</dd>").says("<dd>1</dd>");
}

#[test]
fn a_clock_that_jumps_deletes_nothing() {
    let (site, ada) = site(0, 30, 0);
    let key = site.session_of(&ada).keep("kept.pcap", &capture("ssh-greeting.pcap"));
    let is_there = || site.number(&format!("SELECT count(*) FROM entries WHERE key = '{key}'")) == 1;
    let doubt = || sweep(&site).doubt.map(|doubt| doubt.name());
    site.clock.advance(1000 * DAY);
    for _ in 0..3 {
        assert_eq!(doubt(), Some("ahead"));
    }
    assert!(is_there());
    site.session_of(&ada).get("/retention").is(200).says("more than 7 days ago").says("The clock is right");
    // The clock is put right: it goes on by itself, even though somebody logged in meanwhile.
    site.clock.advance(-1000 * DAY + 60);
    assert_eq!(doubt(), Some("behind"), "what was written at the wrong time");
    site.session_of(&ada);
    assert_eq!(doubt(), None);
    assert!(is_there());
    // It was no jump: the portal stood still for so long, and somebody says so.
    site.clock.advance(40 * DAY);
    assert_eq!(doubt(), Some("ahead"));
    site.session_of(&ada).post("/retention", "/retention/accept", &[]).is(303);
    assert!(is_there());
    assert_eq!((doubt(), is_there()), (None, false));
    site.session_of(&ada).get("/audit").is(200).says("vouched for the clock").says("deleted an entry by its age");
    // Back before the last sweep.
    site.clock.advance(-3600);
    assert_eq!(doubt(), Some("behind"));
}

#[test]
fn one_sweep_deletes_so_much_and_nothing_that_is_kept_or_under_way() {
    let site = Site::with(|config| {
        config.retention = Retention { unconfirmed_days: 1, entries_days: 2, sweep_entries: 2, ..Retention::default() };
    });
    let ada = site.add("ada", Role::Administrator);
    let bob = site.add("bob", Role::Analyst);
    site.portal().runner.end();
    let me = site.session_of(&ada);
    let small = capture("ssh-greeting.pcap");
    let kept = me.keep("kept.pcap", &small);
    let queued = me.keep("queued.pcap", &small);
    me.confirm(&queued);
    let of_bob = site.session_of(&bob).keep("bob.pcap", &small);
    site.session_of(&bob).confirm(&of_bob);
    for name in ["1", "2", "3"] {
        me.keep(name, &small);
    }
    me.post("/", &format!("/entries/{kept}/keep"), &[("reason", "x")]).is(422).says("3 to 200 characters");
    me.post("/", &format!("/entries/{kept}/keep"), &[("reason", "case 7")]).is(303);
    me.get(&format!("/entries/{kept}"))
        .is(200)
        .says("Kept from being deleted by age: case 7")
        .lacks("will be deleted on");
    sweep(&site);
    site.clock.advance(3 * DAY);
    let first = sweep(&site);
    assert_eq!((first.entries, first.more), (2, true));
    let second = sweep(&site);
    assert_eq!((second.entries, second.more, second.bytes), (1, false, 0));
    let left = site.rows("SELECT key FROM entries ORDER BY id");
    assert_eq!(left.len(), 3, "{left:?}");
    // Whoever keeps it no longer has it deleted; others' captures of the same content stay.
    let me = site.session_of(&ada);
    me.post("/", &format!("/entries/{kept}/let-go"), &[]).is(303);
    assert_eq!(sweep(&site).entries, 1);
    assert_eq!(site.files("captures").len(), 1);
    assert_eq!(site.state(&of_bob), "queued");
}
