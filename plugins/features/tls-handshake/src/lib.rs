//! ClientHello and ServerHello as numbers: which software speaks, and what the server makes of it.
//!
//! Code points become flags of presence, because trees split on flags better than on the codes themselves. The hello's
//! random is never looked at: whether it begins with the clock marks an operating system and an era, not malice.

mod code_points;

use code_points::{CIPHERS, EXTENSIONS, GROUPS, SIGNATURES, forward_secret, weak};
use smallvec::SmallVec;
use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, FlowView, RowWriter, RowsMut, ratio};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
use veilwatch_core::record::{ClientHello, ServerHello, is_grease};

declare_plugins!(feature "tls-handshake" "ClientHello and ServerHello as numbers": TlsHandshake);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct TlsHandshake;

const CLIENT: [(&str, &str, &str); 45] = [
    ("client_record_version", "code", "version of the record that carries the ClientHello"),
    ("client_version", "code", "version in the ClientHello"),
    ("client_best_version", "code", "highest version the client offers"),
    ("client_worst_version", "code", "lowest version the client lists"),
    ("client_length", "bytes", "length of the ClientHello without the server name"),
    ("client_session_id", "bytes", "length of the client's session id"),
    ("client_resumes", "flag", "the client brings a ticket or a pre-shared key"),
    ("client_ciphers", "count", "cipher suites offered"),
    ("client_extensions", "count", "extensions in the ClientHello"),
    ("client_groups", "count", "groups offered"),
    ("client_signatures", "count", "signature algorithms offered"),
    ("client_point_formats", "count", "point formats offered"),
    ("client_compressions", "count", "compression methods offered"),
    ("client_key_shares", "count", "key shares in the ClientHello"),
    ("client_versions", "count", "versions in the supported_versions extension"),
    ("client_psk_modes", "count", "pre-shared-key modes offered"),
    ("client_grease", "flag", "the client sends GREASE"),
    ("client_ech", "flag", "the client sends an encrypted ClientHello"),
    ("client_weak_share", "ratio", "share of weak cipher suites offered"),
    ("client_weak_first", "flag", "the cipher suite preferred most is weak"),
    ("client_secret_share", "ratio", "share of forward-secret cipher suites offered"),
    ("client_secret_first", "flag", "the cipher suite preferred most is forward-secret"),
    ("client_signalling", "flag", "the client sends the renegotiation signalling value"),
    ("client_fallback", "flag", "the client sends the fallback signalling value"),
    ("client_alpn", "count", "application protocols offered"),
    ("client_alpn_h2", "flag", "the client offers HTTP/2"),
    ("client_alpn_http11", "flag", "the client offers HTTP/1.1"),
    ("client_sorted_ciphers", "flag", "the cipher suites are in numeric order"),
    ("client_sorted_extensions", "flag", "the extensions are in numeric order"),
    ("client_hellos", "count", "ClientHellos sent"),
    ("client_first_secret", "count", "place of the first forward-secret cipher suite offered"),
    ("client_first_authenticated", "count", "place of the first authenticated cipher suite offered"),
    ("client_first_13", "count", "place of the first cipher suite of TLS 1.3 offered"),
    ("client_authenticated_share", "ratio", "share of authenticated cipher suites offered"),
    ("client_cipher_1", "code", "cipher suite preferred most"),
    ("client_cipher_2", "code", "second cipher suite offered"),
    ("client_cipher_last", "code", "last cipher suite offered"),
    ("client_extension_1", "code", "first extension of the ClientHello"),
    ("client_extension_2", "code", "second extension of the ClientHello"),
    ("client_extension_last", "code", "last extension of the ClientHello"),
    ("client_group_1", "code", "group preferred most"),
    ("client_signature_1", "code", "signature algorithm preferred most"),
    ("client_cipher_descents", "ratio", "share of cipher suites that stand before one of a smaller number"),
    ("client_extension_descents", "ratio", "share of extensions that stand before one of a smaller number"),
    ("client_padding", "bytes", "length of the ClientHello's padding"),
];

const SERVER: [(&str, &str, &str); 19] = [
    ("server_present", "flag", "the server answers with a ServerHello"),
    ("server_version", "code", "version agreed on"),
    ("server_cipher_place", "count", "place of the chosen cipher suite in the client's list"),
    ("server_cipher_weak", "flag", "the chosen cipher suite is weak"),
    ("server_cipher_secret", "flag", "the chosen cipher suite is forward-secret"),
    ("server_cipher_gcm", "flag", "the chosen cipher suite is an authenticated one"),
    ("server_compression", "code", "compression chosen"),
    ("server_session_id", "bytes", "length of the server's session id"),
    ("server_extensions", "count", "extensions in the ServerHello"),
    ("server_resumed", "flag", "the server takes up an earlier session"),
    ("server_retry", "flag", "the server asks for a second ClientHello"),
    ("server_alpn", "flag", "the server chooses an application protocol"),
    ("server_length", "bytes", "length of the ServerHello"),
    ("server_ticket", "flag", "the server will send a session ticket"),
    ("server_renegotiation", "flag", "the server knows secure renegotiation"),
    ("server_key_group", "code", "group of the server's key share"),
    ("server_cipher", "code", "cipher suite chosen"),
    ("server_extension_1", "code", "first extension of the ServerHello"),
    ("server_extension_last", "code", "last extension of the ServerHello"),
];

impl TlsHandshake {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none()?;
        Ok(Self)
    }
}

fn client(hello: &ClientHello<'_>, row: &mut RowWriter<'_>) {
    let plain = |list: &[u16]| list.iter().copied().filter(|value| !is_grease(*value)).collect::<SmallVec<[u16; 32]>>();
    let ciphers = plain(hello.ciphers);
    let extensions = plain(hello.extensions);
    let groups = plain(hello.groups);
    let versions = plain(hello.supported_versions);
    let suites: SmallVec<[u16; 32]> =
        ciphers.iter().copied().filter(|cipher| !matches!(cipher, 0x00ff | 0x5600)).collect();
    let share = |test: fn(u16) -> bool| {
        ratio(suites.iter().filter(|cipher| test(**cipher)).count() as f64, suites.len() as f64)
    };
    let alpn = || hello.alpn.split(|byte| *byte == b',').filter(|protocol| !protocol.is_empty());
    row.put(f64::from(hello.record_version));
    row.put(f64::from(hello.version));
    row.put(f64::from(versions.iter().copied().max().unwrap_or(hello.version)));
    row.put(f64::from(versions.iter().copied().min().unwrap_or(hello.version)));
    // The name's length, and the nine bytes of its extension, would tell the name's length again.
    let name = if hello.sni.is_empty() { 0 } else { hello.sni.len() as u32 + 9 };
    row.put(f64::from(hello.message_len.saturating_sub(name)));
    row.put(f64::from(hello.session_id_len));
    row.flag(hello.resumes);
    row.put(ciphers.len() as f64);
    row.put(extensions.len() as f64);
    row.put(groups.len() as f64);
    row.put(plain(hello.signature_algorithms).len() as f64);
    row.put(hello.point_formats.len() as f64);
    row.put(hello.compressions.len() as f64);
    row.put(plain(hello.key_shares).len() as f64);
    row.put(versions.len() as f64);
    row.put(hello.psk_modes.len() as f64);
    row.flag(hello.ciphers.iter().chain(hello.extensions).any(|value| is_grease(*value)));
    row.flag(hello.ech);
    row.maybe(share(weak));
    row.flag(suites.first().is_some_and(|cipher| weak(*cipher)));
    row.maybe(share(forward_secret));
    row.flag(suites.first().is_some_and(|cipher| forward_secret(*cipher)));
    row.flag(ciphers.contains(&0x00ff));
    row.flag(ciphers.contains(&0x5600));
    row.put(alpn().count() as f64);
    row.flag(alpn().any(|protocol| protocol == b"h2"));
    row.flag(alpn().any(|protocol| protocol == b"http/1.1"));
    row.flag(ciphers.is_sorted());
    row.flag(extensions.is_sorted());
    row.put(f64::from(hello.count));
    order(&suites, &extensions, row);
    row.maybe(groups.first().map(|code| f64::from(*code)));
    row.maybe(hello.signature_algorithms.iter().find(|code| !is_grease(**code)).map(|code| f64::from(*code)));
    row.maybe(descents(&suites));
    row.maybe(descents(&extensions));
    let padding = hello.extensions.iter().zip(hello.extension_lens).find(|(kind, _)| **kind == PADDING);
    row.maybe(padding.map(|(_, length)| f64::from(*length)));
    flags(&CIPHERS, &ciphers, row);
    flags(&EXTENSIONS, &extensions, row);
    flags(&GROUPS, &groups, row);
    flags(&SIGNATURES, hello.signature_algorithms, row);
}

/// RFC 7685.
const PADDING: u16 = 21;

/// In which order the client has its suites and extensions; places count from 0. The place of the first weak one is left
/// out: it tells old systems from new ones so well (an area of .96 between infected machines' own traffic and benign
/// captures) that it names the place of capture.
fn order(suites: &[u16], extensions: &[u16], row: &mut RowWriter<'_>) {
    let place = |test: &dyn Fn(u16) -> bool| suites.iter().position(|suite| test(*suite)).map(|at| at as f64);
    row.maybe(place(&forward_secret));
    row.maybe(place(&code_points::authenticated));
    row.maybe(place(&|suite| suite >> 8 == 0x13));
    let authenticated = suites.iter().filter(|suite| code_points::authenticated(**suite)).count();
    row.maybe(ratio(authenticated as f64, suites.len() as f64));
    for list in [suites, extensions] {
        for code in [list.first(), list.get(1), list.last()] {
            row.maybe(code.map(|code| f64::from(*code)));
        }
    }
}

/// Share of neighbours of which the first is larger; `None` with fewer than two.
fn descents(list: &[u16]) -> Option<f64> {
    let down = list.windows(2).filter(|pair| pair[0] > pair[1]).count();
    ratio(down as f64, list.len().saturating_sub(1) as f64)
}

/// One flag for each known code point, which stand in order: whether the client has it.
fn flags<const N: usize>(known: &[(u16, &str); N], listed: &[u16], row: &mut RowWriter<'_>) {
    let mut there = [false; N];
    for code in listed {
        if let Ok(at) = known.binary_search_by_key(code, |(code, _)| *code) {
            there[at] = true;
        }
    }
    there.iter().for_each(|there| row.flag(*there));
}

fn server(hello: &ServerHello<'_>, client: Option<&ClientHello<'_>>, row: &mut RowWriter<'_>) {
    row.flag(true);
    row.put(f64::from(hello.selected_version));
    let offered = client.map(|hello| hello.ciphers.iter().filter(|cipher| !is_grease(**cipher)));
    row.maybe(offered.and_then(|mut all| all.position(|cipher| *cipher == hello.cipher)).map(|at| at as f64));
    row.flag(weak(hello.cipher));
    row.flag(forward_secret(hello.cipher));
    row.flag(code_points::authenticated(hello.cipher));
    row.put(f64::from(hello.compression));
    row.put(f64::from(hello.session_id_len));
    row.put(hello.extensions.len() as f64);
    row.flag(hello.resumed);
    row.flag(hello.retry);
    row.flag(!hello.alpn.is_empty());
    row.put(f64::from(hello.message_len));
    row.flag(hello.extensions.contains(&35));
    row.flag(hello.extensions.contains(&0xff01));
    row.maybe((hello.key_share > 0).then(|| f64::from(hello.key_share)));
    row.put(f64::from(hello.cipher));
    row.maybe(hello.extensions.first().map(|code| f64::from(*code)));
    row.maybe(hello.extensions.last().map(|code| f64::from(*code)));
}

impl FeatureExtractor for TlsHandshake {
    fn columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        columns.extend(SERVER.map(|(name, unit, words)| Column::new(name, unit, words, Evidence::ServerHello)));
        columns.extend(CLIENT.map(|(name, unit, words)| Column::new(name, unit, words, Evidence::ClientHello)));
        for (prefix, what, list) in [
            ("cipher", "cipher suite", &CIPHERS[..]),
            ("extension", "extension", &EXTENSIONS[..]),
            ("group", "group", &GROUPS[..]),
            ("signature", "signature algorithm", &SIGNATURES[..]),
        ] {
            columns.extend(list.iter().map(|(code, name)| {
                let words = format!("the client offers the {what} {name}");
                Column::new(format!("{prefix}_{code:04x}"), "flag", words, Evidence::ClientHello)
            }));
        }
        columns
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let hello = FlowView::record::<ClientHello<'_>>(&flow);
            let answer = FlowView::record::<ServerHello<'_>>(&flow);
            let (left, right) = rows.row(at).split_at_mut(SERVER.len());
            match answer {
                Some(answer) => server(&answer, hello.as_ref(), &mut RowWriter::new(left)),
                None => RowWriter::new(left).flag(false),
            }
            if let Some(hello) = hello {
                let mut row = RowWriter::new(right);
                client(&hello, &mut row);
                debug_assert_eq!(row.left(), 0);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilwatch_core::flow::Templates;
    use veilwatch_core::record::{FieldTable, Value};
    use veilwatch_testkit::conformance::assert_conforms;
    use veilwatch_testkit::flows::{Table, write};
    use veilwatch_testkit::talk::Talk;

    #[test]
    fn order_by_hand() {
        let fields = FieldTable::new();
        let mut flow = Talk::tcp().open().forward(b"x").flow(&Templates::default());
        let values = [
            ("tls.client.record_version", Value::U64(0x301)),
            // GREASE; RSA with AES, RC4, ECDHE with AES-GCM, the renegotiation signal.
            ("tls.client.ciphers", Value::U16List(&[0x0a0a, 0x002f, 0x0005, 0xc02f, 0x00ff])),
            ("tls.client.extensions", Value::U16List(&[0x1a1a, 23, 0, 21])),
            ("tls.client.extension_lens", Value::U16List(&[0, 0, 14, 180])),
            ("tls.client.groups", Value::U16List(&[0x2a2a, 29, 23])),
            ("tls.client.signature_algorithms", Value::U16List(&[0x0403])),
            ("tls.server.record_version", Value::U64(0x303)),
            ("tls.server.cipher", Value::U64(0xc02f)),
            ("tls.server.extensions", Value::U16List(&[0xff01, 23])),
        ];
        write(&mut flow, &fields, &values).unwrap();
        let bare = Talk::tcp().open().forward(b"x").flow(&Templates::default());
        let table = Table::new(&declarations()[0], "", &fields, &[flow, bare]).unwrap();
        let get = |name: &str| table.get(0, name).unwrap();
        assert_eq!(["client_first_secret", "client_first_authenticated"].map(get), [2.0, 2.0]);
        assert!(get("client_first_13").is_nan());
        assert_eq!(["client_cipher_1", "client_cipher_2", "client_cipher_last"].map(get), [47.0, 5.0, 49_199.0]);
        assert_eq!(["client_extension_1", "client_extension_2", "client_extension_last"].map(get), [23.0, 0.0, 21.0]);
        assert_eq!(["client_group_1", "client_signature_1", "client_padding"].map(get), [29.0, 1027.0, 180.0]);
        assert_eq!(["client_cipher_descents", "client_extension_descents"].map(get), [0.5, 0.5]);
        assert_eq!(
            ["server_cipher", "server_extension_1", "server_extension_last"].map(get),
            [49_199.0, 65_281.0, 23.0]
        );
        assert_eq!(
            (table.get(1, "server_present"), table.get(1, "client_cipher_1").unwrap().is_nan()),
            (Some(0.0), true)
        );
    }

    #[test]
    fn it_conforms() {
        assert_conforms(declarations());
    }
}
