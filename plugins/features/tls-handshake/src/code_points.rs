//! The code points that get columns of their own, with IANA's names, and what is known of cipher suites.

/// Cipher suites by number.
pub(crate) const CIPHERS: [(u16, &str); 44] = [
    (0x0003, "RSA_EXPORT_RC4_40_MD5"),
    (0x0004, "RSA_RC4_128_MD5"),
    (0x0005, "RSA_RC4_128_SHA"),
    (0x0009, "RSA_DES_CBC_SHA"),
    (0x000a, "RSA_3DES_EDE_CBC_SHA"),
    (0x0013, "DHE_DSS_3DES_EDE_CBC_SHA"),
    (0x0016, "DHE_RSA_3DES_EDE_CBC_SHA"),
    (0x002f, "RSA_AES_128_CBC_SHA"),
    (0x0032, "DHE_DSS_AES_128_CBC_SHA"),
    (0x0033, "DHE_RSA_AES_128_CBC_SHA"),
    (0x0035, "RSA_AES_256_CBC_SHA"),
    (0x0038, "DHE_DSS_AES_256_CBC_SHA"),
    (0x0039, "DHE_RSA_AES_256_CBC_SHA"),
    (0x003c, "RSA_AES_128_CBC_SHA256"),
    (0x003d, "RSA_AES_256_CBC_SHA256"),
    (0x0040, "DHE_DSS_AES_128_CBC_SHA256"),
    (0x0041, "RSA_CAMELLIA_128_CBC_SHA"),
    (0x0067, "DHE_RSA_AES_128_CBC_SHA256"),
    (0x006a, "DHE_DSS_AES_256_CBC_SHA256"),
    (0x0096, "RSA_SEED_CBC_SHA"),
    (0x009c, "RSA_AES_128_GCM_SHA256"),
    (0x009d, "RSA_AES_256_GCM_SHA384"),
    (0x009e, "DHE_RSA_AES_128_GCM_SHA256"),
    (0x009f, "DHE_RSA_AES_256_GCM_SHA384"),
    (0x1301, "AES_128_GCM_SHA256"),
    (0x1302, "AES_256_GCM_SHA384"),
    (0x1303, "CHACHA20_POLY1305_SHA256"),
    (0xc007, "ECDHE_ECDSA_RC4_128_SHA"),
    (0xc009, "ECDHE_ECDSA_AES_128_CBC_SHA"),
    (0xc00a, "ECDHE_ECDSA_AES_256_CBC_SHA"),
    (0xc011, "ECDHE_RSA_RC4_128_SHA"),
    (0xc012, "ECDHE_RSA_3DES_EDE_CBC_SHA"),
    (0xc013, "ECDHE_RSA_AES_128_CBC_SHA"),
    (0xc014, "ECDHE_RSA_AES_256_CBC_SHA"),
    (0xc023, "ECDHE_ECDSA_AES_128_CBC_SHA256"),
    (0xc024, "ECDHE_ECDSA_AES_256_CBC_SHA384"),
    (0xc027, "ECDHE_RSA_AES_128_CBC_SHA256"),
    (0xc028, "ECDHE_RSA_AES_256_CBC_SHA384"),
    (0xc02b, "ECDHE_ECDSA_AES_128_GCM_SHA256"),
    (0xc02c, "ECDHE_ECDSA_AES_256_GCM_SHA384"),
    (0xc02f, "ECDHE_RSA_AES_128_GCM_SHA256"),
    (0xc030, "ECDHE_RSA_AES_256_GCM_SHA384"),
    (0xcca8, "ECDHE_RSA_CHACHA20_POLY1305_SHA256"),
    (0xcca9, "ECDHE_ECDSA_CHACHA20_POLY1305_SHA256"),
];

/// Whether code points stand in their order, so that one is found by halving.
const fn in_order<const N: usize>(list: &[(u16, &str); N]) -> bool {
    let mut at = 1;
    while at < N {
        if list[at - 1].0 >= list[at].0 {
            return false;
        }
        at += 1;
    }
    true
}

const _: () = assert!(in_order(&CIPHERS) && in_order(&EXTENSIONS) && in_order(&GROUPS) && in_order(&SIGNATURES));

/// Extensions of the ClientHello by number.
pub(crate) const EXTENSIONS: [(u16, &str); 27] = [
    (0, "server_name"),
    (1, "max_fragment_length"),
    (5, "status_request"),
    (10, "supported_groups"),
    (11, "ec_point_formats"),
    (13, "signature_algorithms"),
    (15, "heartbeat"),
    (16, "application_layer_protocol_negotiation"),
    (17, "status_request_v2"),
    (18, "signed_certificate_timestamp"),
    (21, "padding"),
    (22, "encrypt_then_mac"),
    (23, "extended_master_secret"),
    (24, "token_binding"),
    (27, "compress_certificate"),
    (28, "record_size_limit"),
    (34, "delegated_credential"),
    (35, "session_ticket"),
    (41, "pre_shared_key"),
    (43, "supported_versions"),
    (45, "psk_key_exchange_modes"),
    (49, "post_handshake_auth"),
    (50, "signature_algorithms_cert"),
    (51, "key_share"),
    (0x3374, "next_protocol_negotiation"),
    (0x4469, "application_settings"),
    (0xff01, "renegotiation_info"),
];

/// Groups by number.
pub(crate) const GROUPS: [(u16, &str); 12] = [
    (1, "sect163k1"),
    (14, "sect571r1"),
    (19, "secp192r1"),
    (21, "secp224r1"),
    (22, "secp256k1"),
    (23, "secp256r1"),
    (24, "secp384r1"),
    (25, "secp521r1"),
    (26, "brainpoolP256r1"),
    (29, "x25519"),
    (30, "x448"),
    (256, "ffdhe2048"),
];

/// Signature algorithms by number.
pub(crate) const SIGNATURES: [(u16, &str); 14] = [
    (0x0101, "rsa_md5"),
    (0x0201, "rsa_sha1"),
    (0x0202, "dsa_sha1"),
    (0x0203, "ecdsa_sha1"),
    (0x0301, "rsa_sha224"),
    (0x0401, "rsa_sha256"),
    (0x0402, "dsa_sha256"),
    (0x0403, "ecdsa_sha256"),
    (0x0501, "rsa_sha384"),
    (0x0601, "rsa_sha512"),
    (0x0804, "rsa_pss_rsae_sha256"),
    (0x0806, "rsa_pss_rsae_sha512"),
    (0x0807, "ed25519"),
    (0x0809, "rsa_pss_pss_sha256"),
];

/// Whether a suite is forward-secret: (EC)DHE, or any of TLS 1.3.
pub(crate) fn forward_secret(cipher: u16) -> bool {
    matches!(
        cipher,
        0x1301..=0x1305
            | 0x0011..=0x0016
            | 0x0032..=0x0033
            | 0x0038..=0x0039
            | 0x0040
            | 0x0044..=0x0045
            | 0x0067
            | 0x006a..=0x006b
            | 0x0087..=0x0088
            | 0x009e..=0x009f
            | 0x00a2..=0x00a3
            | 0xc006..=0xc00a
            | 0xc010..=0xc014
            | 0xc023..=0xc024
            | 0xc027..=0xc028
            | 0xc02b..=0xc02c
            | 0xc02f..=0xc030
            | 0xc0ac..=0xc0af
            | 0xcca8..=0xccaa
    )
}

/// Whether a suite is weak: no encryption, export keys, RC4, DES, 3DES or no authentication.
pub(crate) fn weak(cipher: u16) -> bool {
    matches!(
        cipher,
        0x0000..=0x001b | 0x0060..=0x0066 | 0x0034 | 0x003a | 0xc001..=0xc003 | 0xc006..=0xc008 | 0xc00b..=0xc00d
            | 0xc010..=0xc012 | 0xc015..=0xc019
    )
}

/// Whether a suite encrypts and authenticates in one: GCM, CCM or ChaCha20-Poly1305.
pub(crate) fn authenticated(cipher: u16) -> bool {
    matches!(
        cipher,
        0x1301..=0x1305 | 0x009c..=0x00a7 | 0xc02b..=0xc032 | 0xc09c..=0xc0af | 0xcca8..=0xccae
    )
}
