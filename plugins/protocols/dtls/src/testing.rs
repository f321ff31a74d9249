//! Records and messages made by hand, for the tests.

use std::ops::Range;

/// A record of DTLS 1.2.
pub(crate) fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
    let head = [kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 1];
    [&head[..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// A fragment of a message: these of its bytes.
pub(crate) fn fragment(kind: u8, sequence: u16, message: &[u8], part: Range<usize>) -> Vec<u8> {
    let three = |number: usize| (number as u32).to_be_bytes()[1..].to_vec();
    let body = &message[part.clone()];
    [&[kind][..], &three(message.len()), &sequence.to_be_bytes(), &three(part.start), &three(body.len()), body].concat()
}

/// The body of a ClientHello with this cookie.
pub(crate) fn client_hello(cookie: &[u8]) -> Vec<u8> {
    let name = [&[0, 0, 0, 14, 0, 12, 0, 0, 9][..], b"a.example"].concat();
    let extensions = [name, vec![0, 16, 0, 9, 0, 7, 6], b"webrtc".to_vec()].concat();
    [
        &[0xfe, 0xfd][..],
        &[7; 32],
        &[0],
        &[cookie.len() as u8],
        cookie,
        &[0, 14, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x0a, 0xc0, 0x09, 0xc0, 0x13, 0, 0x2f, 0, 0x35],
        &[1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat()
}

/// The body of a ServerHello.
pub(crate) fn server_hello() -> Vec<u8> {
    [&[0xfe, 0xfd][..], &[8; 32], &[0, 0xc0, 0x2b, 0, 0, 5, 0xff, 1, 0, 1, 0]].concat()
}

/// The body of a HelloVerifyRequest with this cookie.
pub(crate) fn verify_request(cookie: &[u8]) -> Vec<u8> {
    [&[0xfe, 0xff, cookie.len() as u8][..], cookie].concat()
}
