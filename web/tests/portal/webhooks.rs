//! Webhooks: what is told, how it is signed, and what becomes of messages that nobody takes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use veilwatch_web::accounts::Role;
use veilwatch_web::config::{SecretText, Webhook};

use crate::support::{Site, capture};

const SECRET: &str = "another secret of many letters, 0123456789";

/// A program that listens, and answers each request with the next of these statuses; gives what it was sent.
fn receiver(statuses: &'static [&'static str]) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?token=1", listener.local_addr().unwrap());
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let mut all = Vec::new();
            let mut piece = [0; 4096];
            loop {
                let read = stream.read(&mut piece).unwrap();
                all.extend_from_slice(&piece[..read]);
                let text = String::from_utf8_lossy(&all);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
                if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                    sender.send((head.to_owned(), body.to_owned())).unwrap();
                    break;
                }
            }
            let location = "Location: http://127.0.0.1:1/\r\n";
            write!(stream, "HTTP/1.1 {status}\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        }
    });
    (url, received)
}

fn site(url: &str, tries: u32) -> Site {
    let webhook = Webhook {
        name: "tickets".to_owned(),
        url: url.to_owned(),
        secret: SecretText(SECRET.to_owned()),
        portal: Some("https://portal.example".to_owned()),
        ..Webhook::default()
    };
    Site::with(|config| {
        config.webhook.push(webhook);
        config.webhooks.tries = tries;
        config.webhooks.timeout_seconds = 60;
    })
}

fn header(head: &str, name: &str) -> String {
    let wanted = format!("{}: ", name.to_lowercase());
    let found =
        head.lines().find(|line| line.to_lowercase().starts_with(&wanted)).unwrap_or_else(|| panic!("{name}: {head}"));
    found[wanted.len()..].to_owned()
}

#[test]
fn what_ends_is_told_signed_and_again_until_it_is_taken() {
    let (url, received) = receiver(&["503 Later", "204 Yes", "200 Yes"]);
    let site = site(&url, 5);
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let key = me.analyse("<b>day\u{202e} one.pcap", &capture("first-run.pcap"));
    let patience = Duration::from_secs(60);
    let (_, first) = received.recv_timeout(patience).unwrap();
    site.until("the first try is noted", || (site.number("SELECT tries FROM deliveries") == 1).then_some(()));
    assert_eq!(site.text("SELECT words FROM deliveries"), "status 503");
    site.clock.advance(10);
    let (head, body) = received.recv_timeout(patience).unwrap();
    assert_eq!(body, first, "the same message");
    assert!(head.starts_with("POST /hook?token=1 HTTP/1.1\r\n"), "{head}");
    let said: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((said["event"].as_str(), said["verdict"].as_str()), (Some("done"), Some("malicious")));
    assert_eq!((said["entry"].as_str(), said["analysed"]["malicious"].as_u64()), (Some(&*key), Some(26)));
    assert_eq!(
        (said["name"].as_str(), said["link"].as_str()),
        (Some("<b>day one.pcap"), Some(&*format!("https://portal.example/entries/{key}")))
    );
    let signature = header(&head, "Veilwatch-Signature");
    let (time, hash) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert_eq!(time, site.portal().now().to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((hash, header(&head, "Veilwatch-Event").as_str()), (expected.as_str(), "done"));

    me.post("/webhooks", "/webhooks/tickets/test", &[]).is(303);
    let (_, body) = received.recv_timeout(patience).unwrap();
    assert!(body.contains("\"event\":\"test\"") && !body.contains("\"ada"), "{body}");
    site.until("all is sent", || {
        (site.number("SELECT count(*) FROM deliveries WHERE state = 'sent'") == 2).then_some(())
    });
    let page = me.get("/webhooks").is(200).says("http://127.0.0.1:").says("status 204").lacks("token=1").lacks(SECRET);
    assert!(page.body.matches("tickets").count() > 3);
    assert_eq!(site.number("SELECT count(*) FROM audit WHERE action = 'webhook-tested'"), 1);
}

#[test]
fn a_message_that_nobody_takes_is_dropped_and_no_redirect_is_followed() {
    let (url, received) = receiver(&["302 Elsewhere", "307 Elsewhere"]);
    let site = site(&url, 2);
    let me = site.session_of(&site.add("ada", Role::Administrator));
    me.post("/webhooks", "/webhooks/tickets/test", &[]).is(303);
    for tries in 1..=2 {
        received.recv_timeout(Duration::from_secs(60)).unwrap();
        site.until("the try is noted", || (site.number("SELECT tries FROM deliveries") == tries).then_some(()));
        site.clock.advance(60);
    }
    assert_eq!(site.text("SELECT state FROM deliveries"), "dropped");
    me.get("/webhooks").is(200).says("status 307").says("dropped");
}
