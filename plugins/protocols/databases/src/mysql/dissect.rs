//! Packets of MySQL as a tree, without passwords.

use super::{CONNECT_WITH_DB, LENGTH_CODED, OLD_SSL_REQUEST, PLUGIN_AUTH, PROTOCOL_41, SSL, SSL_REQUEST, VERSION};
use crate::dissect::{HIDDEN, Side, little as low_first, statement, text as lossy};
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};

/// Packets: a length of three bytes, a number, and a body.
pub(super) fn draw_packets(side: &mut Side<'_>, of_client: bool, tree: &mut TreeSink<'_>) {
    let mut first = true;
    while !side.rest().is_empty() && !tree.is_full() {
        let Some(&[a, b, c, number]) = side.rest().first_chunk() else {
            side.all("Packet", "cut off here", tree);
            return;
        };
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        let there = side.rest().len() - 4;
        let kind = side.rest().get(4).copied();
        let name = match (of_client, first) {
            (false, true) => "greeting".into(),
            (false, false) => answer(kind, len),
            (true, true) => if matches!(len, SSL_REQUEST | OLD_SSL_REQUEST) { "SSLRequest" } else { "login" }.into(),
            // Commands begin anew; what counts on is part of a login.
            (true, false) if number > 0 => "part of a login".into(),
            (true, false) => kind.map_or_else(String::new, command),
        };
        let cut = if there < len { ", cut off here" } else { "" };
        tree.open("Packet", &format!("{name}{cut}"), side.range(4 + len));
        let mut body = side.part(4 + len);
        tree.leaf("Length", &format!("{len} bytes"), Some(ByteRange::new(body.direction, body.at, 3)));
        tree.leaf("Number", &number.to_string(), Some(ByteRange::new(body.direction, body.at + 3, 1)));
        body.at = (body.at + 4).min(body.bytes.len());
        let drawn = match (of_client, first) {
            (false, true) => draw_greeting(&mut body, tree),
            (false, false) => draw_answer(kind, &mut body, tree),
            (true, true) => draw_login(&mut body, len, tree),
            (true, false) if number > 0 => {
                body.all("Data", HIDDEN, tree);
                Some(())
            }
            (true, false) => draw_command(kind, &mut body, tree),
        };
        if drawn.is_none() {
            body.all("The rest", "is not there, or not as it should be", tree);
        }
        tree.close();
        first = false;
    }
}

fn number(bytes: &[u8]) -> String {
    low_first(bytes).to_string()
}

/// What a server begins with; nothing where it ends within it.
fn draw_greeting(body: &mut Side<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    let version = body.leaf("Version of the protocol", 1, number, tree)?;
    if version != [VERSION] {
        return None;
    }
    body.text("Version of the server", tree)?;
    body.leaf("Connection", 4, number, tree)?;
    body.leaf("Salt", 9, |_| "8 bytes".into(), tree)?;
    let low = body.leaf("Can do, lower half", 2, |bits| capabilities(low_first(bits)), tree)?;
    // Old servers end here.
    if body.rest().is_empty() {
        return Some(());
    }
    body.leaf("Character set", 1, number, tree)?;
    body.leaf("Status", 2, |status| format!("{:#06x}", low_first(status)), tree)?;
    let high = body.leaf("Can do, upper half", 2, |bits| capabilities(low_first(bits) << 16), tree)?;
    let all = low_first(high) << 16 | low_first(low);
    body.leaf("Bytes of the salt", 1, number, tree)?;
    body.leaf("Filler", 10, |_| String::new(), tree)?;
    let salt = body.rest().iter().position(|byte| *byte == 0).map_or(body.rest().len(), |len| len + 1);
    body.leaf("More salt", salt, |salt| format!("{} bytes", salt.len()), tree)?;
    if all & u64::from(PLUGIN_AUTH) != 0 && !body.rest().is_empty() {
        body.text("How to show who one is", tree)?;
    }
    Some(())
}

/// What a client answers to the greeting; nothing where it ends within it.
fn draw_login(body: &mut Side<'_>, len: usize, tree: &mut TreeSink<'_>) -> Option<()> {
    let low = body.leaf("Can do, lower half", 2, |bits| capabilities(low_first(bits)), tree)?;
    if low_first(low) & u64::from(PROTOCOL_41) == 0 {
        if len != OLD_SSL_REQUEST {
            body.all("Name and password", HIDDEN, tree);
        }
        return Some(());
    }
    let high = body.leaf("Can do, upper half", 2, |bits| capabilities(low_first(bits) << 16), tree)?;
    let all = low_first(high) << 16 | low_first(low);
    let has = |bit: u32| all & u64::from(bit) != 0;
    body.leaf("Largest packet", 4, number, tree)?;
    body.leaf("Character set", 1, number, tree)?;
    body.leaf("Filler", 23, |_| String::new(), tree)?;
    if body.rest().is_empty() {
        return Some(());
    }
    body.text("User", tree)?;
    let proof = *body.rest().first()?;
    if proof >= 0xfb && has(LENGTH_CODED) {
        body.all("Proof", HIDDEN, tree);
        return Some(());
    }
    let hidden = |proof: &[u8]| if proof.len() > 1 { HIDDEN } else { "none" }.to_owned();
    if body.leaf("Proof", 1 + usize::from(proof), hidden, tree).is_none() {
        body.all("Proof", HIDDEN, tree);
        return Some(());
    }
    if has(CONNECT_WITH_DB) {
        body.text("Database", tree)?;
    }
    if has(PLUGIN_AUTH) {
        body.text("How it shows who it is", tree)?;
    }
    body.all("Attributes", "", tree);
    Some(())
}

fn draw_command(kind: Option<u8>, body: &mut Side<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    body.leaf("Command", 1, |kind| kind.first().copied().map_or_else(String::new, command), tree)?;
    match kind {
        Some(2) => body.all("Database", &lossy(body.rest()), tree),
        Some(3 | 22) => body.all("Statement", &statement(body.rest()), tree),
        // A change of user has a password.
        Some(17) => body.all("Data", HIDDEN, tree),
        _ => body.all("Data", "", tree),
    }
    Some(())
}

fn draw_answer(kind: Option<u8>, body: &mut Side<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    match kind {
        Some(0xff) => {
            body.leaf("Kind", 1, |_| "error".into(), tree)?;
            body.leaf("Code", 2, number, tree)?;
            if body.rest().first() == Some(&b'#') {
                body.leaf("State", 6, |state| lossy(state.get(1..).unwrap_or_default()), tree)?;
            }
            body.all("Words", &lossy(body.rest()), tree);
        }
        Some(0xfe) if body.rest().len() > 5 => {
            body.leaf("Kind", 1, |_| "another way is wanted".into(), tree)?;
            body.text("How to show who one is", tree)?;
            body.all("Salt", "", tree);
        }
        _ => body.all("Data", "", tree),
    }
    Some(())
}

/// What an answer is by its first byte and its length.
fn answer(kind: Option<u8>, len: usize) -> String {
    let name = match kind {
        Some(0) => "fine",
        Some(1) => "more of a login, or a row",
        Some(0xfe) if len <= 5 => "end",
        Some(0xfe) => "another login",
        Some(0xff) => "error",
        _ => "data",
    };
    name.into()
}

/// Capabilities that a person looks for (its documentation, "Capabilities Flags").
fn capabilities(bits: u64) -> String {
    let names = [
        (CONNECT_WITH_DB, "a database at once"),
        (1 << 5, "compression"),
        (PROTOCOL_41, "protocol 4.1"),
        (SSL, "TLS"),
        (PLUGIN_AUTH, "plugins for logins"),
        (LENGTH_CODED, "long proofs"),
    ];
    let mut said: Vec<&str> =
        names.iter().filter(|(bit, _)| bits & u64::from(*bit) != 0).map(|(_, name)| *name).collect();
    if said.is_empty() {
        said.push("nothing of note");
    }
    format!("{}, {bits:#x}", said.join(", "))
}

/// Commands (its documentation, "Command Phase").
fn command(kind: u8) -> String {
    let name = match kind {
        1 => "quit",
        2 => "use a database",
        3 => "query",
        4 => "list fields",
        9 => "statistics",
        14 => "ping",
        17 => "change user",
        22 => "prepare",
        23 => "execute",
        25 => "close a statement",
        31 => "reset the connection",
        _ => "another command",
    };
    format!("{name}, {kind}")
}
