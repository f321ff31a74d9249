//! What programs say when they log in by a mechanism of SASL (RFC 4422).

/// Mechanisms of the registry, and those that servers speak without it. A word that is none of them may be a password that
/// stands in the wrong place.
const MECHANISMS: [&[u8]; 26] = [
    b"PLAIN",
    b"LOGIN",
    b"CRAM-MD5",
    b"DIGEST-MD5",
    b"EXTERNAL",
    b"ANONYMOUS",
    b"SCRAM-SHA-1",
    b"SCRAM-SHA-1-PLUS",
    b"SCRAM-SHA-256",
    b"SCRAM-SHA-256-PLUS",
    b"SCRAM-SHA-512",
    b"SCRAM-SHA-512-PLUS",
    b"NTLM",
    b"GSSAPI",
    b"GSS-SPNEGO",
    b"GS2-KRB5",
    b"GS2-KRB5-PLUS",
    b"KERBEROS_V4",
    b"OAUTHBEARER",
    b"XOAUTH",
    b"XOAUTH2",
    b"OTP",
    b"SKEY",
    b"SECURID",
    b"SRP",
    b"MSN",
];

/// Whether a word names one, in any case.
pub(crate) fn is_mechanism(word: &[u8]) -> bool {
    MECHANISMS.iter().any(|mechanism| mechanism.eq_ignore_ascii_case(word))
}

/// Whether a password went in clear: by PLAIN in the one answer, by LOGIN in the second, behind the name; or where a
/// mechanism should be.
pub(crate) fn is_clear(mechanism: &[u8], answers: usize) -> bool {
    match mechanism.to_ascii_uppercase().as_slice() {
        b"PLAIN" => answers > 0,
        b"LOGIN" => answers > 1,
        word => !word.is_empty() && !is_mechanism(word),
    }
}
