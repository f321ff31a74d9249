//! A provider of our own, as good or as hostile as a test wants it: plain HTTP on this computer, with keys that are made
//! when it starts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sign {
    Es256,
    EdDsa,
    Rs256,
    /// `alg: none`, without a signature.
    Nothing,
    /// HS256, with the public key as the secret.
    PublicKeyAsSecret,
    /// By a key of the same name that is not the provider's.
    Foreign,
    /// Rightly, but other claims were put in afterwards.
    Changed,
}

/// How an address answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answers {
    Well,
    Huge,
    /// A byte now and then, without end.
    Slowly,
    /// With a redirect to there.
    Elsewhere(String),
    With(u16, String),
}

/// What the test wants.
pub(crate) struct Wish {
    pub(crate) sign: Sign,
    /// The key's name in the head of the token.
    pub(crate) kid: Option<String>,
    /// More of the head.
    pub(crate) head: Map<String, Value>,
    /// Claims in place of the right ones; null takes one out.
    pub(crate) claims: Map<String, Value>,
    pub(crate) discovery: Answers,
    pub(crate) keys: Answers,
    pub(crate) token: Answers,
    /// What discovery says in place of what is right.
    pub(crate) metadata: Map<String, Value>,
    /// Of the last visitor who was sent here.
    pub(crate) nonce: String,
    pub(crate) challenge: String,
    pub(crate) now: i64,
    pub(crate) key_names: [String; 3],
    /// What was asked: path, head and body.
    pub(crate) asked: Vec<(String, String, String)>,
}

struct Keys {
    es: EcdsaKeyPair,
    foreign: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    rsa: Option<RsaKeyPair>,
}

/// The provider; it ends with this value.
pub(crate) struct Stub {
    pub(crate) issuer: String,
    pub(crate) wish: Arc<Mutex<Wish>>,
    port: u16,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    has_rsa: bool,
}

impl Stub {
    pub(crate) fn start(now: i64) -> Self {
        Self::start_at("127.0.0.1", now)
    }

    /// The same under another name of this computer.
    pub(crate) fn start_at(host: &str, now: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let issuer = format!("http://{host}:{port}");
        let random = SystemRandom::new();
        let es = || {
            let bytes = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes.as_ref(), &random).unwrap()
        };
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let keys = Keys { es: es(), foreign: es(), ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(), rsa: rsa() };
        let has_rsa = keys.rsa.is_some();
        let wish = Wish {
            sign: Sign::Es256,
            kid: None,
            head: Map::new(),
            claims: Map::new(),
            discovery: Answers::Well,
            keys: Answers::Well,
            token: Answers::Well,
            metadata: Map::new(),
            nonce: String::new(),
            challenge: String::new(),
            now,
            key_names: ["es", "ed", "rsa"].map(str::to_owned),
            asked: Vec::new(),
        };
        let (wish, ends) = (Arc::new(Mutex::new(wish)), Arc::new(AtomicBool::new(false)));
        let server = Arc::new(Server { issuer: issuer.clone(), wish: wish.clone(), ends: ends.clone(), keys });
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.ends.load(Ordering::SeqCst) {
                    break;
                }
                let (server, stream) = (server.clone(), stream.unwrap());
                // Browsers hold connections that they ask nothing by; and visitors go away in the middle when they have
                // had enough.
                std::thread::spawn(move || drop(server.serve(stream)));
            }
        });
        Self { issuer, port, wish, ends, thread: Some(thread), has_rsa }
    }

    /// Whether `openssl` made a key for RSA, which `ring` does not.
    pub(crate) fn has_rsa(&self) -> bool {
        self.has_rsa
    }

    pub(crate) fn wish(&self, change: impl FnOnce(&mut Wish)) {
        change(&mut self.wish.lock().unwrap());
    }

    /// How often this was asked for.
    pub(crate) fn times(&self, path: &str) -> usize {
        self.wish.lock().unwrap().asked.iter().filter(|(asked, ..)| asked == path).count()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A key for RSA, from `openssl`.
fn rsa() -> Option<RsaKeyPair> {
    let made = Command::new("openssl").args(["genpkey", "-algorithm", "RSA", "-outform", "DER"]).output().ok()?;
    // Which of the two forms it writes hangs on its version.
    RsaKeyPair::from_pkcs8(&made.stdout).or_else(|_| RsaKeyPair::from_der(&made.stdout)).ok()
}

struct Server {
    issuer: String,
    wish: Arc<Mutex<Wish>>,
    ends: Arc<AtomicBool>,
    keys: Keys,
}

impl Server {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        if let Some(query) = path.strip_prefix("/authorize?") {
            return self.ask(&mut stream, query);
        }
        let (answers, good) = {
            let mut wish = self.wish.lock().unwrap();
            wish.asked.push((path.clone(), head.clone(), body.clone()));
            match path.as_str() {
                "/.well-known/openid-configuration" => (wish.discovery.clone(), self.discovery(&wish)),
                "/keys" => (wish.keys.clone(), self.public(&wish)),
                "/token" => (wish.token.clone(), self.token(&wish, &body)),
                _ => (Answers::With(404, "{}".to_owned()), Value::Null),
            }
        };
        match answers {
            Answers::Well if good.is_null() => write(&mut stream, 400, "{\"error\": \"invalid_grant\"}", ""),
            Answers::Well => write(&mut stream, 200, &good.to_string(), ""),
            Answers::With(status, body) => write(&mut stream, status, &body, ""),
            Answers::Elsewhere(place) => write(&mut stream, 302, "{}", &format!("Location: {place}\r\n")),
            Answers::Huge => {
                let mut huge = good;
                huge["padding"] = "x".repeat(2 << 20).into();
                write(&mut stream, 200, &huge.to_string(), "")
            }
            Answers::Slowly => {
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
                )?;
                while !self.ends.load(Ordering::SeqCst) {
                    stream.write_all(b" ")?;
                    stream.flush()?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                Ok(())
            }
        }
    }

    /// The page on which people say that it is them: a link leads back.
    fn ask(&self, stream: &mut TcpStream, query: &str) -> std::io::Result<()> {
        let value = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            pair.unwrap_or_default().to_owned()
        };
        {
            let mut wish = self.wish.lock().unwrap();
            (wish.nonce, wish.challenge) = (value("nonce"), value("code_challenge"));
        }
        let place = value("redirect_uri").replace("%3A", ":").replace("%2F", "/");
        let page = format!(
            "<!doctype html><html lang=\"en\"><head><title>Provider</title><link rel=\"icon\" href=\"data:,\"></head>\
             <body><h1>Provider</h1><a id=\"yes\" href=\"{place}?code=c0de&amp;state={}\">It is me</a></body></html>",
            value("state")
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            page.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(page.as_bytes())
    }

    fn discovery(&self, wish: &Wish) -> Value {
        let mut all = json!({
            "issuer": self.issuer,
            "authorization_endpoint": format!("{}/authorize", self.issuer),
            "token_endpoint": format!("{}/token", self.issuer),
            "jwks_uri": format!("{}/keys", self.issuer),
        });
        put(&mut all, &wish.metadata);
        all
    }

    fn public(&self, wish: &Wish) -> Value {
        let point = self.keys.es.public_key().as_ref();
        let [es, ed, rsa] = &wish.key_names;
        let mut keys = vec![
            json!({ "kty": "EC", "crv": "P-256", "kid": es, "use": "sig", "x": text(&point[1..33]), "y": text(&point[33..]) }),
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": ed, "x": text(self.keys.ed.public_key().as_ref()) }),
            // Of a kind that nobody knows.
            json!({ "kty": "lattice", "kid": "new", "alg": "ML-DSA-44" }),
        ];
        if let Some(key) = &self.keys.rsa {
            let parts = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
            keys.push(json!({ "kty": "RSA", "kid": rsa, "alg": "RS256", "n": text(&parts.n), "e": text(&parts.e) }));
        }
        json!({ "keys": keys })
    }

    /// The answer to a code; nothing where whoever asks did not begin the log-in.
    fn token(&self, wish: &Wish, body: &str) -> Value {
        let verifier = body.split('&').find_map(|field| field.strip_prefix("code_verifier=")).unwrap_or_default();
        if text(&Sha256::digest(verifier)) != wish.challenge {
            return Value::Null;
        }
        json!({ "access_token": "unused", "token_type": "Bearer", "id_token": self.signed(wish) })
    }

    fn signed(&self, wish: &Wish) -> String {
        let (algorithm, kid) = match wish.sign {
            Sign::Es256 | Sign::Foreign | Sign::Changed => ("ES256", &wish.key_names[0]),
            Sign::EdDsa => ("EdDSA", &wish.key_names[1]),
            Sign::Rs256 => ("RS256", &wish.key_names[2]),
            Sign::Nothing => ("none", &wish.key_names[0]),
            Sign::PublicKeyAsSecret => ("HS256", &wish.key_names[0]),
        };
        let mut head = json!({ "alg": algorithm, "typ": "JWT", "kid": wish.kid.as_ref().unwrap_or(kid) });
        put(&mut head, &wish.head);
        let mut claims = json!({
            "iss": self.issuer, "sub": "subject-1", "aud": "veilwatch", "exp": wish.now + 300, "iat": wish.now,
            "nonce": wish.nonce, "preferred_username": "grace", "name": "Grace H.", "email": "ada@example",
        });
        put(&mut claims, &wish.claims);
        let mut message = format!("{}.{}", text(head.to_string().as_bytes()), text(claims.to_string().as_bytes()));
        let random = SystemRandom::new();
        let by = |key: &EcdsaKeyPair| key.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec();
        let signature = match wish.sign {
            Sign::Es256 | Sign::Changed => by(&self.keys.es),
            Sign::Foreign => by(&self.keys.foreign),
            Sign::EdDsa => self.keys.ed.sign(message.as_bytes()).as_ref().to_vec(),
            Sign::Rs256 => {
                let key = self.keys.rsa.as_ref().unwrap();
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Sign::Nothing => Vec::new(),
            Sign::PublicKeyAsSecret => {
                let mut mac = Hmac::<Sha256>::new_from_slice(self.keys.es.public_key().as_ref()).unwrap();
                mac.update(message.as_bytes());
                mac.finalize().into_bytes().to_vec()
            }
        };
        if wish.sign == Sign::Changed {
            put(&mut claims, json!({ "sub": "subject-2" }).as_object().unwrap());
            message = format!("{}.{}", text(head.to_string().as_bytes()), text(claims.to_string().as_bytes()));
        }
        format!("{message}.{}", text(&signature))
    }
}

fn put(all: &mut Value, more: &Map<String, Value>) {
    let all = all.as_object_mut().unwrap();
    for (name, value) in more {
        if value.is_null() {
            all.remove(name);
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn write(stream: &mut TcpStream, status: u16, body: &str, head: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
