//! The second factor: codes that change every half minute (TOTP, RFC 6238), and recovery codes for when the device with
//! them is lost.
//!
//! A code is good for its step of 30 seconds and the one before and after, and is accepted once: the step of the last
//! accepted one is kept, and only later ones follow. The secret is kept encrypted, recovery codes as keyed hashes.

use qrcode::QrCode;
use qrcode::render::svg;
use rusqlite::{Connection, OptionalExtension, params};
use totp_rs::{Builder, Totp};

use super::audit::{self, Action};
use super::{Account, Actor, Reason, Refused, people};
use crate::database::DbError;
use crate::secret::{Purpose, Secret, SecretError, random_bytes};

/// Bytes of a secret: 160 bits, as RFC 4226 asks for.
pub const SECRET_BYTES: usize = 20;
/// Recovery codes that are made at a time.
pub const RECOVERY_CODES: usize = 10;
/// As many recovery codes or fewer are few.
pub const FEW_CODES: u32 = 3;

/// Digits of a code.
const DIGITS: usize = 6;
/// Characters of a recovery code, 5 bits each.
const RECOVERY_CHARACTERS: usize = 10;
/// What recovery codes are made of: nothing that is taken for something else.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/// What an account has.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// Since when it has a second factor.
    pub since: Option<i64>,
    /// Recovery codes that are left.
    pub codes_left: u32,
    /// When an administrator took one away, until its owner has seen it.
    pub taken_at: Option<i64>,
}

/// What was typed for the second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// The code of a device.
    Code,
    /// A recovery code, which is used up now.
    Recovery,
}

/// A new secret.
///
/// # Errors
/// Where the system gives no random bytes.
pub fn new_key() -> Result<[u8; SECRET_BYTES], SecretError> {
    random_bytes()
}

/// The secret as people type it, in groups of four.
pub fn key_text(key: &[u8; SECRET_BYTES]) -> String {
    grouped(&totp_rs::Secret::new_stack(*key).to_base32(), 4, ' ')
}

/// The address that devices read, as a picture: a QR code as SVG. Names hold nothing that has a meaning in an address.
///
/// # Errors
/// Where it is longer than a picture holds, which no name is.
pub fn picture(name: &str, key: &[u8; SECRET_BYTES]) -> Result<String, DbError> {
    let secret = totp_rs::Secret::new_stack(*key).to_base32();
    let address = format!("otpauth://totp/Veilwatch:{name}?secret={secret}&issuer=Veilwatch");
    let code = QrCode::new(address).map_err(|error| DbError::Broken(format!("no QR code: {error}")))?;
    let svg = code.render::<svg::Color<'_>>().min_dimensions(200, 200).build();
    // It stands inside a page, where an XML declaration does not belong.
    Ok(svg.split_once("?>").map_or(svg.as_str(), |(_, svg)| svg).to_owned())
}

/// The step of this code, if it is one of this secret's now.
fn step_of(key: &[u8], code: &str, now: i64) -> Option<i64> {
    let totp: Totp = Builder::new().with_secret(key).with_skew(1).build().ok()?;
    totp.check(code, u64::try_from(now).ok()?).and_then(|step| i64::try_from(step).ok())
}

fn context(account: i64) -> String {
    format!("second factor of {account}")
}

/// Whether an account has a second factor.
///
/// # Errors
/// Where the database fails.
pub fn is_set(connection: &Connection, account: i64) -> Result<bool, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM second_factors WHERE account_id = ?1)")?;
    Ok(statement.query_row([account], |row| row.get(0))?)
}

/// What an account has.
///
/// # Errors
/// Where the database fails.
pub fn state(connection: &Connection, account: i64) -> Result<State, DbError> {
    Ok(connection.query_row(
        "SELECT (SELECT created_at FROM second_factors WHERE account_id = a.id),
                (SELECT count(*) FROM recovery_codes WHERE account_id = a.id), a.factor_taken_at
            FROM accounts a WHERE a.id = ?1",
        [account],
        |row| Ok(State { since: row.get(0)?, codes_left: row.get(1)?, taken_at: row.get(2)? }),
    )?)
}

/// The accounts that have a second factor.
///
/// # Errors
/// Where the database fails.
pub fn holders(connection: &Connection) -> Result<Vec<i64>, DbError> {
    let mut statement = connection.prepare_cached("SELECT account_id FROM second_factors")?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Sets a second factor up: the code shows that a device has the secret, and is used up. All sessions end, since they
/// began without it, and the answer is the only time that its recovery codes are seen.
///
/// # Errors
/// Where the code is wrong, there is a second factor already, or the database fails.
pub fn set_up(
    connection: &mut Connection,
    secret: &Secret,
    account: &Account,
    key: &[u8],
    code: &str,
    actor: &Actor,
    now: i64,
) -> Result<Vec<String>, Refused> {
    let step = step_of(key, &plain(code), now).ok_or(Reason::Code)?;
    let transaction = connection.transaction()?;
    if is_set(&transaction, account.id)? {
        return Err(Reason::FactorThere.into());
    }
    transaction.execute(
        "INSERT INTO second_factors (account_id, sealed, last_step, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![account.id, secret.seal(&context(account.id), key).map_err(DbError::from)?, step, now],
    )?;
    transaction.execute("UPDATE accounts SET factor_taken_at = NULL WHERE id = ?1", [account.id])?;
    transaction.execute("DELETE FROM sessions WHERE account_id = ?1", [account.id])?;
    transaction.execute("DELETE FROM pending WHERE account_id = ?1", [account.id])?;
    let codes = renew(&transaction, secret, account.id)?;
    audit::record(&transaction, actor, Action::FactorSet, Some(&account.name), now)?;
    transaction.commit()?;
    Ok(codes)
}

/// Checks what was typed for the second factor, and uses it up.
///
/// # Errors
/// Where it is wrong or was used before, or the database fails.
pub fn check(
    connection: &Connection,
    secret: &Secret,
    account: i64,
    typed: &str,
    actor: &Actor,
    now: i64,
) -> Result<Used, Refused> {
    let typed = plain(typed);
    if typed.len() == RECOVERY_CHARACTERS {
        let hash = secret.hash(Purpose::Recovery, &format!("{account}:{typed}"));
        let used = connection
            .execute("DELETE FROM recovery_codes WHERE hash = ?1 AND account_id = ?2", params![hash, account])?;
        if used == 0 {
            return Err(Reason::Code.into());
        }
        audit::record(connection, actor, Action::RecoveryUsed, None, now)?;
        return Ok(Used::Recovery);
    }
    let sealed: Option<Vec<u8>> = connection
        .query_row("SELECT sealed FROM second_factors WHERE account_id = ?1", [account], |row| row.get(0))
        .optional()?;
    let key = sealed.and_then(|sealed| {
        let key = secret.open(&context(account), &sealed);
        if key.is_none() {
            tracing::error!("a second factor cannot be read: was the portal's secret changed?");
        }
        key
    });
    let step = key.and_then(|key| step_of(&key, &typed, now)).ok_or(Reason::Code)?;
    // Of two who come with the same code, one changes this row.
    let used = connection.execute(
        "UPDATE second_factors SET last_step = ?2 WHERE account_id = ?1 AND last_step < ?2",
        params![account, step],
    )?;
    if used == 0 { Err(Reason::Code.into()) } else { Ok(Used::Code) }
}

/// Makes recovery codes anew; those from before are worth nothing from now on.
///
/// # Errors
/// Where there is no second factor, or the database fails.
pub fn new_codes(
    connection: &mut Connection,
    secret: &Secret,
    account: &Account,
    actor: &Actor,
    now: i64,
) -> Result<Vec<String>, Refused> {
    let transaction = connection.transaction()?;
    if !is_set(&transaction, account.id)? {
        return Err(Reason::NotThere.into());
    }
    let codes = renew(&transaction, secret, account.id)?;
    audit::record(&transaction, actor, Action::RecoveryMade, Some(&account.name), now)?;
    transaction.commit()?;
    Ok(codes)
}

/// Switches the second factor off, with a code of it.
///
/// # Errors
/// Where the code is wrong, or the database fails.
pub fn switch_off(
    connection: &mut Connection,
    secret: &Secret,
    account: &Account,
    typed: &str,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    check(&transaction, secret, account.id, typed, actor, now)?;
    remove(&transaction, account.id)?;
    audit::record(&transaction, actor, Action::FactorOff, Some(&account.name), now)?;
    transaction.commit()?;
    Ok(())
}

/// Takes a lost second factor off an account, for an administrator. Its sessions end: the device may be in other hands.
/// Its owner is told at the next log-in.
///
/// # Errors
/// Where the account or its second factor is not there, or the database fails.
pub fn take_away(connection: &mut Connection, account: i64, actor: &Actor, now: i64) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    let name = people::by_id(&transaction, account)?.name;
    if !is_set(&transaction, account)? {
        return Err(Reason::NotThere.into());
    }
    remove(&transaction, account)?;
    transaction.execute("UPDATE accounts SET factor_taken_at = ?2 WHERE id = ?1", params![account, now])?;
    transaction.execute("DELETE FROM sessions WHERE account_id = ?1", [account])?;
    audit::record(&transaction, actor, Action::FactorTaken, Some(&name), now)?;
    transaction.commit()?;
    Ok(())
}

/// The owner has seen that an administrator took the second factor away.
///
/// # Errors
/// Where the database fails.
pub fn has_seen(connection: &Connection, account: i64) -> Result<(), DbError> {
    connection.execute("UPDATE accounts SET factor_taken_at = NULL WHERE id = ?1", [account])?;
    Ok(())
}

fn remove(connection: &Connection, account: i64) -> Result<(), DbError> {
    for table in ["second_factors", "recovery_codes", "pending"] {
        connection.execute(&format!("DELETE FROM {table} WHERE account_id = ?1"), [account])?;
    }
    Ok(())
}

/// New recovery codes in place of those that are there, inside the caller's transaction.
fn renew(connection: &Connection, secret: &Secret, account: i64) -> Result<Vec<String>, DbError> {
    connection.execute("DELETE FROM recovery_codes WHERE account_id = ?1", [account])?;
    let mut codes = Vec::new();
    while codes.len() < RECOVERY_CODES {
        let bytes = random_bytes::<RECOVERY_CHARACTERS>()?;
        // 256 is a multiple of 32, so each character is as likely as any other.
        let code: String = bytes
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
            .map(|byte| char::from(*byte))
            .collect();
        connection.execute(
            "INSERT INTO recovery_codes (hash, account_id) VALUES (?1, ?2)",
            params![secret.hash(Purpose::Recovery, &format!("{account}:{code}")), account],
        )?;
        codes.push(grouped(&code, 5, '-'));
    }
    Ok(codes)
}

/// What was typed, without what people put in between. Longer texts are no codes.
fn plain(typed: &str) -> String {
    typed
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .take(RECOVERY_CHARACTERS.max(DIGITS) + 1)
        .map(|c| c.to_ascii_uppercase())
        .collect()
}

fn grouped(text: &str, size: usize, between: char) -> String {
    let mut grouped = String::new();
    for (at, c) in text.chars().enumerate() {
        if at > 0 && at % size == 0 {
            grouped.push(between);
        }
        grouped.push(c);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B, for SHA-1.
    const KEY: &[u8; 20] = b"12345678901234567890";

    #[test]
    fn the_vectors_of_rfc_6238_hold() {
        // The appendix has 8 digits; 6 are its last 6.
        for (time, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(step_of(KEY, &code[2..], time), Some(time / 30), "{time}");
        }
    }

    #[test]
    fn a_code_is_good_for_its_step_and_one_on_each_side() {
        let code = &"07081804"[2..];
        let step = 1_111_111_109 / 30;
        for (time, good) in [
            ((step - 1) * 30 - 1, false),
            ((step - 1) * 30, true),
            (step * 30 + 15, true),
            ((step + 2) * 30 - 1, true),
            ((step + 2) * 30, false),
        ] {
            assert_eq!(step_of(KEY, code, time), good.then_some(step), "{time}");
        }
        for bad in ["", "08180", "0818040", "08180a", "-81804", "٠٨١٨٠٤", "+81804"] {
            assert_eq!(step_of(KEY, bad, 1_111_111_109), None, "{bad}");
        }
        assert_eq!(step_of(KEY, code, -1), None);
    }

    #[test]
    fn what_people_type_is_read() {
        assert_eq!(plain(" 081 804\n"), "081804");
        assert_eq!(plain("abcde-23456"), "ABCDE23456");
        assert_eq!(plain(&"1".repeat(5000)).len(), 11);
        assert_eq!(key_text(KEY), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
        let svg = picture("ada.l@example", KEY).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"), "{svg}");
        roxmltree::Document::parse(&svg).unwrap();
    }
}
