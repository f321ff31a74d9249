//! Messages of SMB as a tree: commands, what became of them, dialects.

use super::{HEADER_1, HEADER_2, NEGOTIATE_1, SESSION, SESSION_REQUEST, name_2};
use crate::dissect::{Place, bits};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::TreeSink;

/// Messages of NetBIOS's session, one behind the other; `offered` are the dialects of version 1.
pub(super) fn draw_side(bytes: &[u8], direction: Direction, offered: &[String], tree: &mut TreeSink<'_>) {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty() && !tree.is_full()) {
        let place = Place { bytes: rest, direction, base: at };
        let Some(&[kind, high, mid, low]) = rest.first_chunk::<SESSION>() else {
            tree.leaf("Message", "cut off within its length", place.range(0, rest.len()));
            return;
        };
        let name = match kind {
            0 => "message",
            SESSION_REQUEST => "session request",
            0x82 => "session granted",
            0x83 => "session refused",
            0x84 => "session elsewhere",
            0x85 => "keep-alive",
            _ => {
                tree.leaf("No message", "nothing is read from here on", place.range(0, rest.len()));
                return;
            }
        };
        let len = u32::from_be_bytes([0, high, mid, low]) as usize;
        let there = len.min(rest.len() - SESSION);
        tree.open("Session", name, place.range(0, SESSION + there));
        let cut = if there < len { ", cut off here" } else { "" };
        tree.leaf("Length", &format!("{len} bytes{cut}"), place.range(1, 3));
        if kind == 0 {
            let message = &rest[SESSION..SESSION + there];
            draw_message(Place { bytes: message, direction, base: at + SESSION }, offered, tree);
        }
        tree.close();
        at += SESSION + there;
    }
}

fn draw_message(message: Place<'_>, offered: &[String], tree: &mut TreeSink<'_>) {
    let len = message.bytes.len();
    match *message.bytes {
        [0xff, b'S', b'M', b'B', command, ..] => {
            tree.open("SMB 1", command_1(command), message.range(0, len));
            if draw_1(message, offered, tree).is_none() {
                tree.leaf("The rest", "is not there", None);
            }
            tree.close();
        }
        [0xfe, b'S', b'M', b'B', ..] => draw_all_2(message, tree),
        [0xfd, b'S', b'M', b'B', ..] => tree.leaf("SMB 3", "encrypted", message.range(0, len)),
        [0xfc, b'S', b'M', b'B', ..] => tree.leaf("SMB 3", "compressed", message.range(0, len)),
        _ => tree.leaf("No SMB", "", message.range(0, len)),
    }
}

/// Messages of version 2 that stand behind each other in one ([MS-SMB2] section 2.2.1).
fn draw_all_2(mut message: Place<'_>, tree: &mut TreeSink<'_>) {
    while !tree.is_full() {
        let next = message.number(20, 4).unwrap_or_default() as usize;
        let len = if next == 0 { message.bytes.len() } else { next.min(message.bytes.len()) };
        let this = Place { bytes: &message.bytes[..len], ..message };
        let command = this.number(12, 2).map_or("cut off here", command_2);
        tree.open("SMB 2", command, this.range(0, len));
        if draw_2(this, tree).is_none() {
            tree.leaf("The rest", "is not there", None);
        }
        tree.close();
        // Each begins at a multiple of eight behind the one before it.
        if next < HEADER_2 || next >= message.bytes.len() {
            return;
        }
        message = message.behind(next);
        if !message.bytes.starts_with(b"\xfeSMB") {
            return;
        }
    }
}

fn hex_number(number: u64) -> String {
    format!("{number:#x}")
}

/// [MS-CIFS] sections 2.2.3.1 and 2.2.4.52; nothing where it ends within the header.
fn draw_1(message: Place<'_>, offered: &[String], tree: &mut TreeSink<'_>) -> Option<()> {
    let command =
        message.leaf("Command", 4, 1, |command| format!("{}, {command:#04x}", command_1(command as u8)), tree)?;
    message.leaf("Status", 5, 4, status, tree)?;
    let answers = |flags: u64| if flags & 0x80 != 0 { "an answer" } else { "a request" }.to_owned();
    let flags = message.leaf("Flags", 9, 1, answers, tree)?;
    message.leaf("Tree", 24, 2, hex_number, tree)?;
    message.leaf("Process", 26, 2, hex_number, tree)?;
    message.leaf("User", 28, 2, hex_number, tree)?;
    message.leaf("Message", 30, 2, hex_number, tree)?;
    if command != u64::from(NEGOTIATE_1) {
        return Some(());
    }
    let words = message.number(HEADER_1, 1)?;
    if flags & 0x80 != 0 {
        let name = |place: u64| {
            let name = offered.get(place as usize).map_or("none of those offered", |name| name);
            format!("{name}, {place}")
        };
        return if words > 0 { message.leaf("Dialect", HEADER_1 + 1, 2, name, tree).map(|_| ()) } else { Some(()) };
    }
    let begin = HEADER_1 + 1 + 2 * words as usize;
    let len = message.number(begin, 2)? as usize;
    let list = message.bytes.get(begin + 2..)?;
    let mut at = begin + 2;
    for name in list[..len.min(list.len())].split(|byte| *byte == 0) {
        if tree.is_full() {
            break;
        }
        if let Some(text) = name.strip_prefix(b"\x02") {
            tree.leaf("Dialect", &String::from_utf8_lossy(text), message.range(at, name.len()));
        }
        at += name.len() + 1;
    }
    Some(())
}

/// [MS-SMB2] sections 2.2.1.2, 2.2.3 and 2.2.4; nothing where it ends within it.
fn draw_2(message: Place<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    let flags = message.number(16, 4)?;
    message.leaf("Status", 8, 4, status, tree)?;
    let name = |command| format!("{}, {command}", command_2(command));
    let command = message.leaf("Command", 12, 2, name, tree)?;
    message.leaf("Credits", 14, 2, |credits| credits.to_string(), tree)?;
    let names =
        [(1, "an answer"), (2, "asynchronous"), (4, "belongs to the one before"), (8, "signed"), (0x1000_0000, "DFS")];
    message.leaf("Flags", 16, 4, |flags| bits(flags, &names), tree)?;
    message.leaf("Message", 24, 8, |number| number.to_string(), tree)?;
    if flags & 2 == 0 {
        message.leaf("Tree", 36, 4, hex_number, tree)?;
    }
    message.leaf("User", 40, 8, hex_number, tree)?;
    if command != 0 {
        return Some(());
    }
    let security = |mode: u64| bits(mode, &[(1, "signs"), (2, "wants signatures")]);
    let guid = |at: usize, tree: &mut TreeSink<'_>| {
        let guid: String = message.get(at, 16)?.iter().map(|byte| format!("{byte:02x}")).collect();
        tree.leaf("Calls itself", &guid, message.range(at, 16));
        Some(())
    };
    let body = HEADER_2;
    if flags & 1 != 0 {
        message.leaf("Security", body + 2, 2, security, tree)?;
        message.leaf("Dialect", body + 4, 2, |number| name_2(number as u16), tree)?;
        guid(body + 8, tree)?;
        message.leaf("Can do", body + 24, 4, capabilities, tree)?;
        return Some(());
    }
    let count = message.leaf("Dialects", body + 2, 2, |count| count.to_string(), tree)?;
    message.leaf("Security", body + 4, 2, security, tree)?;
    message.leaf("Can do", body + 8, 4, capabilities, tree)?;
    guid(body + 12, tree)?;
    for at in (0..count as usize).map(|at| body + 36 + 2 * at) {
        if tree.is_full() {
            break;
        }
        message.leaf("Dialect", at, 2, |number| name_2(number as u16), tree)?;
    }
    Some(())
}

fn capabilities(number: u64) -> String {
    let names = [
        (1, "DFS"),
        (2, "leases"),
        (4, "large messages"),
        (8, "several channels"),
        (0x10, "lasting handles"),
        (0x20, "leases of folders"),
        (0x40, "encryption"),
    ];
    bits(number, &names)
}

/// What became of a request ([MS-ERREF]), for the answers that a login or a share gives.
fn status(number: u64) -> String {
    let name = match number {
        0 => "fine",
        0x103 => "pending",
        0x8000_0005 => "there is more",
        0x8000_0006 => "no more files",
        0xc000_0016 => "the login goes on",
        0xc000_0022 => "not allowed",
        0xc000_0034 => "no such name",
        0xc000_006d => "wrong name or password",
        0xc000_0064 => "no such user",
        0xc000_006a => "wrong password",
        0xc000_00cc => "no such share",
        0xc000_00bb => "not supported",
        0xc000_0234 => "locked out",
        _ => return format!("{number:#010x}"),
    };
    format!("{name}, {number:#x}")
}

/// Commands of version 1 ([MS-CIFS] section 2.2.2.1), as far as they are common.
fn command_1(command: u8) -> &'static str {
    match command {
        0x04 => "close",
        0x06 => "delete",
        0x25 => "transaction",
        0x2b => "echo",
        0x2e => "read",
        0x2f => "write",
        0x32 => "transaction 2",
        0x71 => "tree disconnect",
        NEGOTIATE_1 => "negotiate",
        0x73 => "session setup",
        0x74 => "logoff",
        0x75 => "tree connect",
        0xa0 => "NT transaction",
        0xa2 => "create",
        _ => "another command",
    }
}

/// Commands of version 2 ([MS-SMB2] section 2.2.1).
fn command_2(command: u64) -> &'static str {
    const NAMES: [&str; 20] = [
        "negotiate",
        "session setup",
        "logoff",
        "tree connect",
        "tree disconnect",
        "create",
        "close",
        "flush",
        "read",
        "write",
        "lock",
        "ioctl",
        "cancel",
        "echo",
        "query directory",
        "change notify",
        "query info",
        "set info",
        "oplock break",
        "notification",
    ];
    usize::try_from(command).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or("another command")
}
