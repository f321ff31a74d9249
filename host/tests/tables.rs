//! Tables: those in the box, those dropped in, and mistakes in them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{err, out, root, veilwatch};
use proptest::prelude::*;
use std::sync::LazyLock;
use veilwatch::tables::{
    BUILTIN, FILE_BYTES, FLOATING_SIGNATURES, FOLDER_FILES, FOLDERS, ID_BYTES, LIST_ITEMS, Loader, NAME_BYTES,
    NUMBER_ENTRIES, TableErrors, TableSettings, WARN_ENTRIES, WORDS_BYTES, load,
};
use veilwatch_core::tables::{Asked, ConflictKind, Facts, Table, Tables, Transport};

static BOX: LazyLock<Tables> = LazyLock::new(|| load(&TableSettings::default()).unwrap());

/// A text over the tables in the box.
fn with(text: &str) -> Result<Tables, TableErrors> {
    let mut loader = Loader::new();
    loader.builtin();
    loader.text("mine.toml", text);
    loader.finish()
}

/// The mistakes of a text by itself.
fn mistakes(text: &str) -> Vec<String> {
    let mut loader = Loader::new();
    loader.text("mine.toml", text);
    loader.finish().map_or_else(|found| found.errors.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

#[test]
fn the_box_holds_every_file_and_has_no_conflict() {
    let conflicts: Vec<String> = BOX.conflicts().iter().map(ToString::to_string).collect();
    assert!(conflicts.is_empty(), "{conflicts:#?}");
    let least = [60, 145, 150, 100, 40, 60, 25, 40];
    for (table, least) in Table::ALL.into_iter().zip(least) {
        assert!(BOX.len(table) >= least, "{}: {}", table.name(), BOX.len(table));
    }
    let mut files: Vec<String> = std::fs::read_dir(root().join("config/tables"))
        .unwrap()
        .map(|entry| format!("config/tables/{}", entry.unwrap().file_name().to_string_lossy()))
        .filter(|name| name.ends_with(".toml"))
        .collect();
    let mut known = BUILTIN.map(|(name, _)| name.to_owned());
    files.sort();
    known.sort();
    assert_eq!(files, known);
    // Each file holds its own table, and says where its facts come from.
    for ((name, text), table) in BUILTIN.into_iter().zip(Table::ALL) {
        assert_eq!(name, format!("config/tables/{}.toml", table.name()));
        assert!(text.starts_with("# ") && text.contains("Source"), "{name}");
    }
}

#[test]
fn ether_types_are_those_of_the_registry() {
    for (value, name) in [
        (0x0800, "IPv4"),
        (0x0806, "ARP"),
        (0x0842, "Wake-on-LAN"),
        (0x22f3, "TRILL"),
        (0x6003, "DECnet"),
        (0x6558, "TEB"),
        (0x8035, "RARP"),
        (0x809b, "AppleTalk"),
        (0x80f3, "AARP"),
        (0x8100, "VLAN"),
        (0x8137, "IPX"),
        (0x86dd, "IPv6"),
        (0x8847, "MPLS"),
        (0x8863, "PPPoE discovery"),
        (0x8864, "PPPoE session"),
        (0x888e, "EAPOL"),
        (0x8892, "PROFINET"),
        (0x88a4, "EtherCAT"),
        (0x88a8, "S-VLAN"),
        (0x88b8, "GOOSE"),
        (0x88cc, "LLDP"),
        (0x88e5, "MACsec"),
        (0x88f7, "PTP"),
        (0x8906, "FCoE"),
        (0x894f, "NSH"),
        (0, "length"),
        (1500, "length"),
    ] {
        assert_eq!(BOX.ether_name(value), Some(name), "{value:#06x}");
    }
    assert_eq!(BOX.ether_name(1501), None);
    assert_eq!(BOX.ether_name(0xffff), None);
}

#[test]
fn protocols_are_those_of_the_registry() {
    for (number, name) in [
        (0, "HOPOPT"),
        (1, "ICMP"),
        (2, "IGMP"),
        (4, "IPv4"),
        (6, "TCP"),
        (8, "EGP"),
        (17, "UDP"),
        (27, "RDP"),
        (33, "DCCP"),
        (41, "IPv6"),
        (43, "IPv6-Route"),
        (44, "IPv6-Frag"),
        (46, "RSVP"),
        (47, "GRE"),
        (50, "ESP"),
        (51, "AH"),
        (58, "IPv6-ICMP"),
        (59, "IPv6-NoNxt"),
        (60, "IPv6-Opts"),
        (88, "EIGRP"),
        (89, "OSPF"),
        (97, "ETHERIP"),
        (103, "PIM"),
        (108, "IPComp"),
        (112, "VRRP"),
        (115, "L2TP"),
        (132, "SCTP"),
        (136, "UDPLite"),
        (137, "MPLS-in-IP"),
        (139, "HIP"),
        (143, "Ethernet"),
        (144, "AGGFRAG"),
    ] {
        assert_eq!(BOX.protocol_name(number), Some(name), "{number}");
    }
    for number in 0..=u8::MAX {
        assert_eq!(BOX.protocol_name(number).is_some(), !(148..=252).contains(&number), "{number}");
    }
}

#[test]
fn ports_are_those_of_the_registry() {
    use Transport::{Other, Tcp, Udp};
    for (transport, port, name) in [
        (Tcp, 21, "ftp"),
        (Tcp, 22, "ssh"),
        (Tcp, 23, "telnet"),
        (Tcp, 25, "smtp"),
        (Tcp, 53, "domain"),
        (Tcp, 80, "http"),
        (Tcp, 110, "pop3"),
        (Tcp, 143, "imap"),
        (Tcp, 179, "bgp"),
        (Tcp, 389, "ldap"),
        (Tcp, 443, "https"),
        (Tcp, 445, "microsoft-ds"),
        (Tcp, 465, "submissions"),
        (Tcp, 514, "shell"),
        (Tcp, 587, "submission"),
        (Tcp, 636, "ldaps"),
        (Tcp, 853, "domain-s"),
        (Tcp, 993, "imaps"),
        (Tcp, 995, "pop3s"),
        (Tcp, 1433, "ms-sql-s"),
        (Tcp, 3306, "mysql"),
        (Tcp, 3389, "ms-wbt-server"),
        (Tcp, 5432, "postgresql"),
        (Tcp, 6010, "x11"),
        (Tcp, 6697, "ircs-u"),
        (Tcp, 8883, "secure-mqtt"),
        (Udp, 53, "domain"),
        (Udp, 67, "bootps"),
        (Udp, 68, "bootpc"),
        (Udp, 69, "tftp"),
        (Udp, 123, "ntp"),
        (Udp, 137, "netbios-ns"),
        (Udp, 161, "snmp"),
        (Udp, 443, "https"),
        (Udp, 500, "isakmp"),
        (Udp, 514, "syslog"),
        (Udp, 520, "router"),
        (Udp, 547, "dhcpv6-server"),
        (Udp, 1812, "radius"),
        (Udp, 1900, "ssdp"),
        (Udp, 2152, "gtp-user"),
        (Udp, 3478, "stun"),
        (Udp, 4500, "ipsec-nat-t"),
        (Udp, 4789, "vxlan"),
        (Udp, 5353, "mdns"),
        (Udp, 5355, "llmnr"),
        (Udp, 5683, "coap"),
        (Udp, 6081, "geneve"),
        (Other, 3868, "diameter"),
        (Other, 36_412, "s1-control"),
        (Tcp, 38_412, "ng-control"),
        (Udp, 65_535, "dynamic"),
        (Tcp, 49_152, "dynamic"),
        (Udp, 51_820, "wireguard"),
    ] {
        assert_eq!(BOX.service_name(transport, port), Some(name), "{transport:?} {port}");
    }
    assert_eq!(BOX.service_name(Tcp, 49_151), None);
    assert_eq!(BOX.service_name(Other, 443), None);
}

/// Beginnings of files, written from the formats' specifications and not from the table.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let at = |offset: usize, bytes: &[u8]| [vec![b'x'; offset].as_slice(), bytes].concat();
    let zip = |name: &[u8], data: &[u8]| {
        let mut file = b"PK\x03\x04\x14\0\0\0\0\0".to_vec();
        file.extend([0; 16]);
        file.extend([name.len() as u8, 0, 0, 0]);
        [file.as_slice(), name, data].concat()
    };
    let riff = |form: &[u8]| [b"RIFF\x24\x10\0\0", form, b"fmt \x10\0\0\0"].concat();
    let media = |brand: &[u8]| [b"\0\0\0\x20ftyp", brand, b"\0\0\x02\0isomiso2"].concat();
    let mut dos = b"MZ\x50\0\x02\0\0\0\x04\0\x0f\0\xff\xff\0\0".to_vec();
    dos.resize(64, 0);
    let mut stub = dos.clone();
    stub.extend(
        b"\x0e\x1f\xba\x0e\0\xb4\x09\xcd\x21\xb8\x01\x4c\xcd\x21This program cannot be run in DOS mode.\r\r\n$",
    );
    let tar = [vec![0; 257].as_slice(), b"ustar\x0000root"].concat();
    let gnu_tar = [vec![0; 257].as_slice(), b"ustar  \0root"].concat();
    vec![
        ("pe", b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8\0".to_vec()),
        ("pe", stub),
        ("dos-mz", dos),
        ("elf", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec()),
        ("mach-o", b"\xcf\xfa\xed\xfe\x07\0\0\x01\x03\0\0\0".to_vec()),
        ("mach-o-fat", b"\xca\xfe\xba\xbe\0\0\0\x02\x01\0\0\x07".to_vec()),
        ("java-class", b"\xca\xfe\xba\xbe\0\0\0\x3d\0\x1d\x0a\0".to_vec()),
        ("dex", b"dex\n035\0\x1b\x2c\x3d\x4e".to_vec()),
        ("wasm", b"\0asm\x01\0\0\0\x01\x07".to_vec()),
        ("script", b"#!/bin/sh\necho".to_vec()),
        ("php", b"<?php\necho 1;".to_vec()),
        ("lnk", b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46\x9b\0".to_vec()),
        ("llvm-bitcode", b"BC\xc0\xde\x35\x14\0\0".to_vec()),
        ("lua-bytecode", b"\x1bLua\x54\0\x19\x93".to_vec()),
        ("zip", zip(b"notes.txt", b"hello")),
        ("zip", b"PK\x05\x06\0\0\0\0\0\0\0\0".to_vec()),
        ("jar", zip(b"META-INF/MANIFEST.MF", b"Manifest")),
        ("apk", zip(b"AndroidManifest.xml", b"\x03\0\x08\0")),
        ("rar", b"Rar!\x1a\x07\0\xcf\x90\x73".to_vec()),
        ("rar5", b"Rar!\x1a\x07\x01\0\x33\x92\xb5".to_vec()),
        ("7z", b"7z\xbc\xaf\x27\x1c\0\x04".to_vec()),
        ("gzip", b"\x1f\x8b\x08\x08\x5d\x9a\x4e\x65\0\x03".to_vec()),
        ("bzip2", b"BZh91AY&SY\x94\x2f".to_vec()),
        ("xz", b"\xfd7zXZ\0\0\x04\xe6\xd6".to_vec()),
        ("zstd", b"\x28\xb5\x2f\xfd\x24\x06".to_vec()),
        ("lz4", b"\x04\x22\x4d\x18\x64\x40\xa7".to_vec()),
        ("lzip", b"LZIP\x01\x0c".to_vec()),
        ("compress", b"\x1f\x9d\x90\x68\xca".to_vec()),
        ("tar", tar),
        ("tar", gnu_tar),
        ("ar", b"!<arch>\n/               0           ".to_vec()),
        ("deb", b"!<arch>\ndebian-binary   1700000000  ".to_vec()),
        ("rpm", b"\xed\xab\xee\xdb\x03\0\0\0".to_vec()),
        ("cab", b"MSCF\0\0\0\0\x2c\x10\0\0".to_vec()),
        ("crx", b"Cr24\x03\0\0\0".to_vec()),
        ("cpio", b"07070100A1B2C3000081A4".to_vec()),
        ("squashfs", b"hsqs\x07\0\0\0".to_vec()),
        ("iso9660", [vec![0; 32_768].as_slice(), b"\x01CD001\x01\0"].concat()),
        ("vmdk", b"KDMV\x01\0\0\0".to_vec()),
        ("vhdx", b"vhdxfileM\0i\0c\0".to_vec()),
        ("qcow", b"QFI\xfb\0\0\0\x03".to_vec()),
        ("pdf", b"%PDF-1.7\n%\xe2\xe3".to_vec()),
        ("postscript", b"%!PS-Adobe-3.0\n".to_vec()),
        ("ole", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0\0\0".to_vec()),
        ("ooxml", zip(b"[Content_Types].xml", b"<?xml ")),
        ("odf", zip(b"mimetype", b"application/vnd.oasis.opendocument.textPK")),
        ("epub", zip(b"mimetype", b"application/epub+zipPK")),
        ("rtf", b"{\\rtf1\\ansi".to_vec()),
        ("onenote", b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3\x2a".to_vec()),
        ("chm", b"ITSF\x03\0\0\0\x60\0\0\0".to_vec()),
        ("djvu", b"AT&TFORM\0\0\x10\x20DJVUINFO".to_vec()),
        ("html", b"<!DOCTYPE html>\n<html>".to_vec()),
        ("html", b"<html><head>".to_vec()),
        ("xml", b"<?xml version=\"1.0\"?>".to_vec()),
        ("xml", b"\xef\xbb\xbf<?xml version=\"1.0\"?>".to_vec()),
        ("pem", b"-----BEGIN CERTIFICATE-----\n".to_vec()),
        ("utf16-text", b"\xff\xfeh\0e\0l\0".to_vec()),
        ("utf8-text", b"\xef\xbb\xbfhello".to_vec()),
        ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec()),
        ("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec()),
        ("gif", b"GIF89a\x01\0\x01\0".to_vec()),
        ("bmp", b"BM\x36\x10\0\0\0\0\0\0\x36\0\0\0\x28".to_vec()),
        ("tiff", b"II*\0\x08\0\0\0".to_vec()),
        ("webp", riff(b"WEBP")),
        ("ico", b"\0\0\x01\0\x02\0\x10\x10".to_vec()),
        ("psd", b"8BPS\0\x01\0\0\0\0\0\0\0\x03".to_vec()),
        ("avif", media(b"avif")),
        ("heic", media(b"heic")),
        ("jxl", b"\xff\x0a\xfa\x1f".to_vec()),
        ("jxl", b"\0\0\0\x0cJXL \r\n\x87\n".to_vec()),
        ("jp2", b"\0\0\0\x0cjP  \r\n\x87\n".to_vec()),
        ("mp4", media(b"isom")),
        ("m4a", media(b"M4A ")),
        ("quicktime", media(b"qt  ")),
        ("matroska", b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81".to_vec()),
        ("avi", riff(b"AVI ")),
        ("flv", b"FLV\x01\x05\0\0\0\x09".to_vec()),
        ("swf", b"CWS\x0a\x40\x12\0\0".to_vec()),
        ("asf", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c\x10".to_vec()),
        ("wav", riff(b"WAVE")),
        ("mp3", b"ID3\x04\0\0\0\0\x0f\x76".to_vec()),
        ("mp3", b"\xff\xfb\x90\x64\0".to_vec()),
        ("ogg", b"OggS\0\x02\0\0\0\0".to_vec()),
        ("flac", b"fLaC\0\0\0\x22".to_vec()),
        ("midi", b"MThd\0\0\0\x06\0\x01".to_vec()),
        ("aiff", b"FORM\0\0\x10\x20AIFFCOMM".to_vec()),
        ("amr", b"#!AMR\n\x3c".to_vec()),
        ("woff", b"wOFF\0\x01\0\0".to_vec()),
        ("woff2", b"wOF2\0\x01\0\0".to_vec()),
        ("otf", b"OTTO\0\x0b\0\x80".to_vec()),
        ("ttf", b"\0\x01\0\0\0\x0f\0\x80".to_vec()),
        ("sqlite", b"SQLite format 3\0\x10\0".to_vec()),
        ("parquet", b"PAR1\x15\x04\x15\x10".to_vec()),
        ("pcap", b"\xd4\xc3\xb2\xa1\x02\0\x04\0".to_vec()),
        ("pcapng", b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0".to_vec()),
        ("hdf5", b"\x89HDF\r\n\x1a\n\0\0".to_vec()),
        ("evtx", b"ElfFile\0\0\0\0\0".to_vec()),
        ("regf", b"regf\x12\0\0\0".to_vec()),
        ("minidump", b"MDMP\x93\xa7\xee\xa0".to_vec()),
        ("keepass", b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5\x01\0".to_vec()),
        ("torrent", b"d8:announce35:udp://".to_vec()),
        ("bplist", b"bplist00\xd1\x01\x02".to_vec()),
        ("", at(0, b"plain text is no type")),
        ("", at(300, b"nor is this")),
        ("", b"M".to_vec()),
        ("", Vec::new()),
    ]
}

#[test]
fn each_type_of_file_is_told_from_the_others() {
    let samples = samples();
    for (id, bytes) in &samples {
        let found = BOX.file_type(bytes).map_or("", |found| &*found.id);
        assert_eq!(found, *id, "{:?}", bytes.iter().take(24).collect::<Vec<_>>());
        // What follows does not matter.
        let longer = [bytes.as_slice(), &[0xa5; 64]].concat();
        assert_eq!(BOX.file_type(&longer).map_or("", |found| &*found.id), *id);
    }
    for kind in BOX.files() {
        assert!(samples.iter().any(|(id, _)| *id == &*kind.id), "no sample of `{}`", kind.id);
    }
}

fn ids(facts: Facts<'_>) -> Vec<&'static str> {
    BOX.warnings(&facts).into_iter().map(|warning| &*warning.id).collect()
}

#[test]
fn warnings_speak_of_ports_names_and_bytes() {
    let quiet =
        Facts { transport: Transport::Tcp, port: 443, name: b"www.example", bytes: b"\x16\x03\x01\x02\x00\x01" };
    assert!(ids(quiet).is_empty());
    assert_eq!(ids(Facts { port: 23, ..quiet }), ["clear-telnet"]);
    assert_eq!(ids(Facts { port: 5901, ..quiet }), ["clear-vnc"]);
    assert_eq!(ids(Facts { transport: Transport::Udp, port: 31_337, ..quiet }), ["port-back-orifice"]);
    assert!(ids(Facts { port: 31_337, ..quiet }).is_empty());
    assert_eq!(ids(Facts { name: b"abc.ONION", ..quiet }), ["onion-name"]);
    assert_eq!(ids(Facts { name: b"abc.onion.to", ..quiet }), ["onion-gateway"]);
    assert_eq!(ids(Facts { name: b"api.telegram.org", ..quiet }), ["bot-api"]);
    assert!(ids(Facts { name: b"xapi.telegram.org", ..quiet }).is_empty());
    assert_eq!(ids(Facts { port: 445, bytes: b"\0\0\0\x85\xffSMBr", ..quiet }), ["smb1"]);
    assert!(ids(Facts { port: 445, bytes: b"\0\0\0\x85\xfeSMBr", ..quiet }).is_empty());
    let mining = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n";
    assert_eq!(ids(Facts { port: 3333, bytes: mining, ..quiet }), ["mining-stratum"]);
    let login = b"{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"login\",\"params\":{\"agent\":\"XMRig/6.21\"}}";
    assert_eq!(ids(Facts { port: 4444, bytes: login, ..quiet }), ["mining-login", "port-metasploit"]);
    let mut page = b"HTTP/1.1 200 OK\r\n\r\nMZ".to_vec();
    page.extend([0; 76]);
    page.extend(b"This program cannot be run in DOS mode");
    assert_eq!(ids(Facts { port: 80, bytes: &page, ..quiet }), ["windows-program"]);
    // Every one says why and what to look at, in whole sentences.
    for warning in BOX.warn() {
        assert!(warning.words.ends_with('.') && warning.look.ends_with('.'), "{}", warning.id);
    }
}

#[test]
fn a_dropped_file_goes_over_the_box() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tables")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("tables/10-first.toml", "[tcp]\n8443 = \"ours\"\n9999 = { name = \"robot\", words = \"Hall 3\" }\n");
    write(
        "tables/20-second.toml",
        "[tcp]\n8443 = \"ours again\"\n[warn]\nclear-ftp = false\n[port]\n22 = \"never seen\"\n",
    );
    write("tables/.hidden.toml", "nonsense");
    write("tables/notes.txt", "nonsense");
    write("mine.toml", "[tables]\nfolders = [\"tables\"]\n");
    let config = veilwatch::config::Config::load(&folder.path().join("mine.toml")).unwrap();
    let tables = load(&config.tables).unwrap();
    assert_eq!(tables.service_name(Transport::Tcp, 8443), Some("ours again"));
    assert_eq!(tables.service(Transport::Tcp, 9999).unwrap().words.as_ref(), "Hall 3");
    assert!(tables.warn().iter().all(|warning| &*warning.id != "clear-ftp"));
    let kinds: Vec<ConflictKind> = tables.conflicts().iter().map(|conflict| conflict.kind).collect();
    use ConflictKind::{Hides, Removes, Replaces};
    assert_eq!(kinds, [Replaces, Replaces, Removes, Hides]);
    let second = &tables.conflicts()[1];
    assert!(second.before.file.ends_with("10-first.toml") && second.before.line == 2, "{second}");
    assert!(second.after.file.ends_with("20-second.toml") && second.after.line == 2, "{second}");

    let file = folder.path().join("mine.toml");
    let args = ["tables", "show", "9999", "--config"].map(std::ffi::OsString::from);
    let (status, text) = out(&veilwatch(args.into_iter().chain([file.into_os_string()])));
    assert_eq!(status, Some(0));
    assert!(text.contains("\"robot\"") && text.contains("10-first.toml"), "{text}");
}

#[test]
fn mistakes_say_where_and_what_was_meant() {
    let words = "words = \"w\", look = \"l\"";
    let cases: Vec<(String, &str)> = vec![
        (
            "[tpc]\n1 = \"a\"".into(),
            "mine.toml:1: there is no table `tpc`; the tables are ether, ip, tcp, udp, port, files, warn",
        ),
        ("[file]\na = 1".into(), "did you mean `files`?"),
        ("\n\n[tcp]\n70000 = \"a\"".into(), "mine.toml:4: `70000` is no number for [tcp]"),
        ("[ip]\n256 = \"a\"".into(), "from 0 to 255"),
        ("[tcp]\n9-3 = \"a\"".into(), "the lower one first"),
        ("[tcp]\n+3 = \"a\"".into(), "mine.toml:2:"),
        ("[tcp]\n\"+3\" = \"a\"".into(), "`+3` is no number"),
        (
            "[ether]\n0x0800 = \"a\"\n2048 = \"b\"".into(),
            "mine.toml:3: `2048` stands twice in this file: also in line 2",
        ),
        ("[tcp]\n80 = \"a\"\n80 = \"b\"".into(), "mine.toml:3: duplicate key"),
        ("[tcp]\n80 = { nam = \"a\" }".into(), "unknown key `nam`; did you mean `name`?"),
        ("[tcp]\n80 = { words = \"a\" }".into(), "`80` has no `name`"),
        ("[tcp]\n80 = 5".into(), "`80` must be `{ name = …"),
        ("[tcp]\n80 = \" \"".into(), "`name` is empty"),
        ("[tcp]\n80 = false".into(), "no such entry to take out"),
        ("tcp = 5".into(), "`tcp` must be a table"),
        ("[files]\nA = { }".into(), "`A` is no id"),
        ("[files]\na = { name = \"a\", media = \"b\", bytes = \"0: 61 62\" }".into(), "no media type"),
        ("[files]\na = { name = \"a\", media = \"b/c\" }".into(), "has no `bytes`"),
        ("[files]\na = { name = \"a\", media = \"b/c\", bytes = \"0: 6x 62\" }".into(), "`6x` is no byte"),
        ("[files]\na = { name = \"a\", media = \"b/c\", bytes = \"any: 61 62\" }".into(), "need an offset"),
        ("[files]\na = { name = \"a\", media = \"b/c\", bytes = [] }".into(), "empty list"),
        (format!("[warn]\na = {{ severity = \"hihg\", {words}, ports = 5 }}"), "did you mean `high`?"),
        (format!("[warn]\na = {{ severity = \"low\", {words} }}"), "needs `ports`, `names` or `bytes`"),
        (format!("[warn]\na = {{ severity = \"low\", {words}, ports = [1.5] }}"), "no text"),
        (format!("[warn]\na = {{ severity = \"low\", {words}, names = [\"a b\"] }}"), "`a b`: give a host's name"),
        (format!("[warn]\na = {{ severity = \"low\", {words}, ports = 5, transport = \"icmp\" }}"), "`\"tcp\"` or"),
        ("[warn]\na = { severity = \"low\", words = \"w\", ports = 5 }".into(), "has no `look`"),
    ];
    for (text, want) in cases {
        let found = mistakes(&text);
        assert!(found.iter().any(|error| error.contains(want)), "{text}\n{found:#?}");
    }
    let error = with("[warn]\nclear-ftpp = false\n").unwrap_err().to_string();
    assert!(error.ends_with("did you mean `clear-ftp`?"), "{error}");
    // All mistakes of a file are told, not only the first.
    assert_eq!(mistakes("[tcp]\nx = \"a\"\n80 = \"b\"\ny = \"c\"\n").len(), 2);
}

#[test]
fn every_limit_bites() {
    let many = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let warn =
        |at: usize, rest: &str| format!("w{at} = {{ severity = \"low\", words = \"w\", look = \"l\", {rest} }}\n");
    let ports = (0..=LIST_ITEMS).map(|port| port.to_string()).collect::<Vec<_>>().join(", ");
    let cases = [
        (format!("# {}", "x".repeat(FILE_BYTES)), "is larger than"),
        (format!("[tcp]\n1 = \"{}\"", "n".repeat(NAME_BYTES + 1)), "at most 64 are"),
        (format!("[tcp]\n1 = {{ name = \"a\", words = \"{}\" }}", "n".repeat(WORDS_BYTES + 1)), "at most 400 are"),
        (format!("[files]\n{} = false", "n".repeat(ID_BYTES + 1)), "is no id"),
        (format!("[warn]\n{}", warn(0, &format!("ports = [{ports}]"))), "at most 64 are"),
        (format!("[udp]\n{}", many(NUMBER_ENTRIES + 1, &|at| format!("{at} = \"a\"\n"))), "has 16384 entries"),
        (format!("[warn]\n{}", many(WARN_ENTRIES + 1, &|at| warn(at, "ports = 5"))), "has 4096 entries"),
        (
            format!("[warn]\n{}", many(FLOATING_SIGNATURES + 1, &|at| warn(at, "bytes = \"any: 61 62\""))),
            "more than 256",
        ),
    ];
    for (text, want) in cases {
        let found = mistakes(&text);
        assert!(found.len() == 1 && found[0].contains(want), "{want}: {found:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    for at in 0..=FOLDER_FILES {
        std::fs::write(folder.path().join(format!("{at}.toml")), "").unwrap();
    }
    let settings = TableSettings { folders: vec![folder.path().to_owned()], ..TableSettings::default() };
    assert!(load(&settings).unwrap_err().to_string().contains("more than 256 tables"));
    let empty = tempfile::tempdir().unwrap();
    let settings = TableSettings { folders: vec![empty.path().to_owned(); FOLDERS + 1], ..TableSettings::default() };
    assert!(load(&settings).unwrap_err().to_string().contains("more than 16 folders"));
    let settings = TableSettings { folders: vec![empty.path().join("absent")], ..TableSettings::default() };
    assert!(load(&settings).unwrap_err().to_string().contains("absent: the folder cannot be read"));
}

#[test]
fn hostile_files_are_errors_and_no_more() {
    for text in [
        "[".repeat(100_000),
        format!("a = {}", "[".repeat(100_000)),
        format!("tcp = {}", "{a=".repeat(50_000)),
        format!("[{}]", "a.".repeat(50_000)),
        "[tcp]\n80 = \"\"\"".to_owned(),
        "\0\u{1}\u{2}".to_owned(),
        format!("[tcp]\n{} = \"a\"", "9".repeat(100_000)),
    ] {
        let found = mistakes(&text);
        assert!(!found.is_empty());
        assert!(found.iter().all(|error| error.len() < 1000), "{}", found[0].len());
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toml"), b"[tcp]\n1 = \"\xff\"\n").unwrap();
    std::fs::create_dir(folder.path().join("b.toml")).unwrap();
    let found = load(&TableSettings { folders: vec![folder.path().to_owned()], ..TableSettings::default() })
        .unwrap_err()
        .errors;
    assert!(found[0].to_string().ends_with("line 2 is not UTF-8"), "{}", found[0]);
    assert!(found[1].to_string().ends_with("b.toml: is no file"), "{}", found[1]);
}

#[test]
fn control_characters_never_reach_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[tcp]\n9999 = { name = \"\\u001b[31mred\", words = \"a\\u202eb\" }\n80 = \"\\u001b]0;x\\u0007\"\n";
    let (own, mine) = (folder.path().join("own"), folder.path().join("mine.toml"));
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("a.toml"), text).unwrap();
    std::fs::write(&mine, "[tables]\nfolders = [\"own\"]\n").unwrap();
    for format in ["table", "jsonl"] {
        let args = ["tables", "list", "tcp", "--format", format, "--config", mine.to_str().unwrap()];
        let (status, text) = out(&veilwatch(args));
        assert_eq!(status, Some(0));
        assert!(text.contains("u{1b}") && !text.contains('\u{1b}') && !text.contains('\u{202e}'), "{format}");
    }
    let (status, text) = out(&veilwatch(["tables", "check", own.to_str().unwrap()]));
    assert_eq!(status, Some(0));
    assert!(text.contains("replaces `http`") && !text.contains('\u{1b}'), "{text}");
    std::fs::write(own.join("b.toml"), "[\"t\\u001bcp\"]\n80 = \"a\"\n").unwrap();
    let (status, text) = err(&veilwatch(["tables", "check", own.to_str().unwrap()]));
    assert_eq!(status, Some(2));
    assert!(text.contains("there is no table") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn the_command_lists_shows_and_checks() {
    let (status, text) = out(&veilwatch(["tables", "list"]));
    assert_eq!(status, Some(0));
    let all: usize = Table::ALL.into_iter().map(|table| BOX.len(table)).sum();
    assert_eq!(text.lines().count(), all);
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(Table::from_name(line["table"].as_str().unwrap()).is_some());
        assert!(line["file"].as_str().unwrap().starts_with("config/tables/") && line["line"].as_u64().unwrap() > 0);
    }
    let (_, text) = out(&veilwatch(["tables", "list", "WARN", "--format", "table"]));
    assert!(text.starts_with("WARN: ") && text.contains("clear-telnet"), "{text}");
    let (_, text) = out(&veilwatch(["tables", "show", "443"]));
    assert!(text.lines().count() == 2 && text.contains("Web over TLS") && text.contains("Web over QUIC"), "{text}");
    let (_, text) = out(&veilwatch(["tables", "show", "0x0800"]));
    assert!(text.contains("\"IPv4\""), "{text}");
    let (_, text) = out(&veilwatch(["tables", "show", "ELF"]));
    assert!(text.contains("\"elf\""), "{text}");
    let (status, text) = err(&veilwatch(["tables", "show", "no-such-thing"]));
    assert_eq!((status, text.as_str()), (Some(2), "error: no table has an entry for `no-such-thing`\n"));
    assert_eq!(veilwatch(["tables", "list", "tpc"]).status.code(), Some(2));
    // The box over itself says nothing new.
    let (status, text) = out(&veilwatch(["tables", "check", "config/tables"]));
    assert_eq!((status, text.lines().count()), (Some(0), 9), "{text}");
    let (_, text) = out(&veilwatch(["tables", "show", "pastes"]));
    assert!(text.contains("\"trusted-relay\"") && text.contains("paste.ee"), "{text}");
    let (_, text) = out(&veilwatch(["tables", "show", "445", "--format", "table"]));
    assert!(text.contains("worm-propagation (weak)"), "{text}");
}

#[test]
fn purposes_tell_what_servers_are_for() {
    use veilwatch_core::detect::Category;
    use veilwatch_core::tables::Strength;
    let of = |name: &str, agent: &str| {
        let asked = Asked { transport: Transport::Tcp, port: 443, name: name.as_bytes(), agent: agent.as_bytes() };
        BOX.purpose_of_name(&asked).map(|found| (found.category, found.strength))
    };
    let (strong, weak) = (Strength::Strong, Strength::Weak);
    for (name, agent, told) in [
        ("api.ipify.org", "", Some((Category::ConnectivityCheck, strong))),
        ("API.Telegram.org", "", Some((Category::TrustedRelay, strong))),
        ("abc.ngrok-free.app", "", Some((Category::TrustedRelay, strong))),
        ("fn2tdeabqbhnhnzw.onion.to", "", Some((Category::TrustedRelay, strong))),
        ("docs.google.com", "", Some((Category::TrustedRelay, strong))),
        ("www.google.com", "", Some((Category::ConnectivityCheck, weak))),
        ("fonts.google.com", "", Some((Category::ParentProcess, weak))),
        ("www.microsoft.com", "Mozilla/5.0", Some((Category::ConnectivityCheck, weak))),
        ("www.microsoft.com", "Microsoft-CryptoAPI/10.0", Some((Category::ParentProcess, strong))),
        ("fe2.update.microsoft.com", "", Some((Category::ParentProcess, strong))),
        // Names that move are no relays, nor is a rented computer one.
        ("home.duckdns.org", "", None),
        ("ec2-1-2-3-4.compute-1.amazonaws.com", "", None),
    ] {
        assert_eq!(of(name, agent), told, "{name} {agent}");
    }
    let port = |transport, port| BOX.purpose_of_port(transport, port).map(|(_, found)| &*found.id);
    assert_eq!([445, 23, 443].map(|at| port(Transport::Tcp, at)), [Some("windows-files"), Some("telnet"), None]);
    assert_eq!(port(Transport::Udp, 1434), Some("sql-server-browser"));
}

#[test]
fn mistakes_in_purposes_are_told() {
    for (text, why) in [
        ("[purpose.a]\nwords = 'w'\nnames = 'a.b'", "`a` has no `category`"),
        ("[purpose.a]\ncategory = 'trusted-rely'\nwords = 'w'\nnames = 'a.b'", "did you mean `trusted-relay`"),
        ("[purpose.a]\ncategory = 'other'\nstrength = 'very'\nwords = 'w'\nnames = 'a.b'", "say one of weak, strong"),
        ("[purpose.a]\ncategory = 'other'\nstrength = 'weak'\nwords = 'w'\nports = 1", "a port is weak by itself"),
        ("[purpose.a]\ncategory = 'other'\nwords = 'w'", "needs `ports` or `names`"),
        ("[purpose.a]\ncategory = 'other'\nwords = 'w'\nports = 1\nagents = 'x'", "needs `names` beside `agents`"),
        ("[purpose.a]\ncategory = 'other'\nwords = 'w'\nnames = 'a.b'\nagents = ''", "`agents`"),
        ("[purpose.a]\ncategory = 'other'\nwords = 'w'\nnames = 'a.b'\nbytes = '0: 61 62'", "unknown key `bytes`"),
        ("[purpose]\nA = { category = 'other', words = 'w', ports = 1 }", "no id for [purpose]"),
        ("[purpose]\na = false", "no such entry to take out"),
        ("[warn.a]\nseverity = 'low'\ncategory = 'c2'\nwords = 'w'\nlook = 'l'\nports = 1", "`category = \"c2\"`"),
    ] {
        let found = mistakes(text);
        assert!(found.len() == 1 && found[0].contains(why), "{text}: {found:?}");
    }
    let none = with("[purpose]\npastes = false\n").unwrap();
    assert_eq!(none.len(Table::Purpose), BOX.len(Table::Purpose) - 1);
    assert_eq!(none.conflicts().len(), 1);
}

#[test]
fn the_table_of_detect_names_the_service() {
    let (_, text) = out(&veilwatch(["detect", "--format", "table", "examples/captures/first-run.pcap"]));
    assert!(text.contains(":443 (https)"), "{text}");
}

#[test]
fn every_block_of_the_document_can_be_read() {
    let text = std::fs::read_to_string(root().join("config/tables/README.md")).unwrap();
    let mut seen = String::new();
    for block in text.split("```toml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        if block.contains("[tables]") {
            veilwatch::config::Config::parse(block, "README.md").unwrap();
        } else {
            with(block).unwrap_or_else(|error| panic!("{error}"));
            seen.push_str(block);
        }
    }
    for table in Table::ALL {
        let (alone, with_id) = (format!("[{}]", table.name()), format!("[{}.", table.name()));
        assert!(seen.contains(&alone) || seen.contains(&with_id), "no example of [{}]", table.name());
    }
}

proptest! {
    #[test]
    fn looking_up_never_fails(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        name in prop::collection::vec(any::<u8>(), 0..300),
        number in any::<u16>(),
        protocol in any::<u8>(),
    ) {
        let transport = Transport::of_protocol(protocol);
        let facts = Facts { transport, port: number, name: &name, bytes: &bytes };
        let found = BOX.warnings(&facts);
        prop_assert!(found.iter().all(|warning| warning.fits(&facts)));
        if let Some(kind) = BOX.file_type(&bytes) {
            prop_assert!(kind.signatures.iter().any(|signature| signature.matches(&bytes)));
        }
        let purpose = BOX.purpose_of_name(&Asked { transport, port: number, name: &name, agent: &bytes });
        prop_assert!(purpose.is_none_or(|found| found.names.iter().any(|pattern| pattern.matches(&name))));
        let purpose = BOX.purpose_of_port(transport, number);
        prop_assert!(purpose.is_none_or(|(_, found)| found.ports.iter().any(|range| range.holds(number))));
        for entry in [BOX.ether(number), BOX.service(transport, number)].into_iter().flatten() {
            prop_assert!((entry.first..=entry.last).contains(&number));
        }
        prop_assert!(BOX.protocol_name(protocol).is_none_or(|name| !name.is_empty()));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(\\[(tcp|files|warn|purpose)\\]\n)?([a-z0-9\"'{}=,.\\[\\] -]|\\PC|\n){0,120}") {
        let _ = mistakes(&text);
    }
}
