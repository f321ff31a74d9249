//! The registry of models, from the first promotion to the last roll-back: tampering, crashes, hostile folders, keys.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{err, example, out, root, veilwatch};
use nix::sys::stat::Mode;
use serde_json::{Value as Json, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use veilwatch::hash::sha256_hex;
use veilwatch::model::{Model, ModelError, PrivateKey, Trust};

/// No registry.
const NONE: &str = "";

/// The card of the default model.
fn card() -> Json {
    serde_json::from_slice(&std::fs::read(root().join("models/default/card.json")).unwrap()).unwrap()
}

/// A figure of a card, as people see it.
fn figure(figure: &Json) -> String {
    let [value, low, high] = ["value", "low", "high"].map(|which| figure[which].as_f64().unwrap());
    format!("{value:.3} [{low:.3} – {high:.3}]")
}

/// A copy of the default model, of which the card may be changed.
fn model(folder: &Path, name: &str, change: impl FnOnce(&mut Json)) -> PathBuf {
    let place = folder.join(name);
    std::fs::create_dir_all(&place).unwrap();
    let from = root().join("models/default");
    let mut card = card();
    change(&mut card);
    std::fs::write(place.join("card.json"), serde_json::to_vec_pretty(&card).unwrap()).unwrap();
    for file in ["weights.bin", "memory.bin"] {
        std::fs::copy(from.join(file), place.join(file)).unwrap();
    }
    place
}

/// One that is told from others by its name and its threshold.
fn named(folder: &Path, name: &str, malicious: f64) -> PathBuf {
    model(folder, name, |card| {
        card["name"] = "office".into();
        card["thresholds"]["malicious"] = malicious.into();
    })
}

/// Runs `veilwatch model`, with a registry where one is named.
fn go(registry: &Path, args: &[&str]) -> std::process::Output {
    let registry = [Path::new("--registry"), registry].into_iter().filter(|_| registry != Path::new(NONE));
    veilwatch([Path::new("model")].into_iter().chain(args.iter().map(Path::new)).chain(registry))
}

/// The same, which must go well: its lines.
#[track_caller]
fn good(registry: &Path, args: &[&str]) -> Vec<Json> {
    let output = go(registry, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", err(&output).1);
    out(&output).1.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The same, which must be refused with these words.
#[track_caller]
fn refused(registry: &Path, args: &[&str], words: &str) {
    let (status, text) = err(&go(registry, args));
    assert!(status == Some(2) && text.starts_with("error: ") && text.contains(words), "{args:?}: {status:?}, {text}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The threshold of the champion.
fn threshold(registry: &Path) -> f64 {
    good(registry, &["show", "registry:office"])[0]["card"]["thresholds"]["malicious"].as_f64().unwrap()
}

/// A configuration: the default one with another model, and `[models]`.
fn config(folder: &Path, model: &str, models: &str) -> PathBuf {
    let example = veilwatch::config::EXAMPLE;
    let plugins = &example[example.find("[[plugin]]").unwrap()..];
    let path = folder.join("mine.toml");
    std::fs::write(&path, format!("model = {model:?}\n[models]\nfolder = \"registry\"\n{models}\n{plugins}")).unwrap();
    path
}

#[test]
fn a_model_comes_and_goes_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let registry = &folder.path().join("registry");
    let (one, two) = (named(folder.path(), "one", 0.8), named(folder.path(), "two", 0.9));
    refused(registry, &["show", "registry:office"], "it has no model `office`");
    assert_eq!(good(registry, &["promote", text(&one)]), [json!({"model": "office", "version": 1, "former": null})]);
    assert_eq!(threshold(registry), 0.8);
    refused(registry, &["rollback", "office"], "no former champion");
    assert_eq!(good(registry, &["promote", text(&two)]), [json!({"model": "office", "version": 2, "former": 1})]);
    assert_eq!(threshold(registry), 0.9);
    // Once more is the same version.
    assert_eq!(good(registry, &["promote", text(&two)]), [json!({"model": "office", "version": 2, "former": null})]);
    let lines = good(registry, &["list"]);
    let of = |name: &str| lines.iter().find(|line| line["model"] == name).unwrap();
    assert_eq!(of("registry:office@1")["champion"], false);
    assert_eq!(of("registry:office@2")["champion"], true);
    assert_eq!(of("registry:office@2")["signature"]["state"], "none");
    assert_eq!(of("default")["signature"]["state"], "box");
    assert!(of("full")["average_precision"]["low"].is_f64());
    assert_eq!(good(registry, &["rollback", "office"]), [json!({"model": "office", "version": 1, "former": 2})]);
    assert_eq!(threshold(registry), 0.8);
    assert_eq!(good(registry, &["promote", "office@2"]), [json!({"model": "office", "version": 2, "former": 1})]);
    // By the names that the listing has, too; a version keeps the name that it has.
    assert_eq!(good(registry, &["rollback", "registry:office"])[0]["version"], 1);
    refused(registry, &["promote", "office@2", "--name", "other"], "a version keeps its name");
    refused(registry, &["promote", "registry:office"], "say which version");
    refused(registry, &["rollback", "office@1"], "leave the number out");
    assert_eq!(good(registry, &["promote", "registry:office@2", "--name", "office"])[0]["former"], 1);
    // Without the prefix, and with a version.
    assert_eq!(good(registry, &["show", "office@1"])[0]["card"]["thresholds"]["malicious"], 0.8);
    refused(registry, &["show", "office@7"], "no version 7; it has 1, 2");
    refused(registry, &["show", "offize"], "did you mean `office`?");
    // People see the same.
    let (_, table) = out(&go(registry, &["show", "office", "--format", "table"]));
    let precision = &card()["report"]["average_precision"];
    assert!(table.contains("740") && table.contains(&figure(precision)) && table.contains("nobody"), "{table}");
    let (_, table) = out(&go(registry, &["list", "--format", "table"]));
    let row = table.lines().find(|line| line.contains("registry:office@2")).unwrap();
    assert!(row.contains("nobody") && row.trim_end().ends_with("champion"), "{table}");

    // A pipeline has the champion, whoever it is.
    let file = config(folder.path(), "registry:office", "");
    let detect = || out(&veilwatch(["detect", "--config", text(&file), text(&example("first-run.pcap"))]));
    let malicious = |text: &str| {
        text.lines()
            .filter(|line| line.contains("\"event_type\":\"flow\"") && line.contains("\"verdict\":\"malicious\""))
            .count()
    };
    let (status, lines) = detect();
    assert!(status == Some(1) && malicious(&lines) == 26, "{lines}");
    // One that calls nothing malicious.
    good(registry, &["promote", text(&named(folder.path(), "three", 1.0))]);
    let (status, lines) = detect();
    assert!(status == Some(0) && malicious(&lines) == 0, "{lines}");
    let (status, said) = out(&veilwatch(["config", "check", text(&file)]));
    assert!(status == Some(0) && said.contains("model office"), "{said}");
}

#[test]
fn what_is_worse_is_not_promoted_by_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let registry = &folder.path().join("registry");
    let worse = |name: &str, figure: &str, to: [f64; 3], split: Option<&str>| {
        model(folder.path(), name, |card| {
            let [value, low, high] = to;
            card["report"][figure] = json!({"value": value, "low": low, "high": high});
            if let Some(split) = split {
                card["training"]["split"] = split.into();
            }
        })
    };
    good(registry, &["promote", text(&model(folder.path(), "first", |_| ()))]);
    let recall = worse("recall", "recall_at_threshold", [0.5, 0.4, 0.6], None);
    refused(registry, &["promote", text(&recall)], "worse than the champion default@1");
    let champions = figure(&card()["report"]["recall_at_threshold"]);
    refused(registry, &["promote", text(&recall)], &format!("0.500 [0.400 – 0.600] against {champions}"));
    let alarms = worse("alarms", "fpr_at_threshold", [0.1, 0.09, 0.11], Some("by chance"));
    refused(registry, &["promote", text(&alarms)], "of other data, or split another way");
    let impossible = worse("impossible", "average_precision", [1.5, 1.4, 1.6], None);
    refused(registry, &["promote", "--even-if-worse", text(&impossible)], "figures that cannot be");
    refused(registry, &["verify", text(&impossible)], "figures that cannot be");
    // Nothing of all this is left behind.
    assert_eq!(good(registry, &["list"]).len(), 4);
    assert!(!registry.join("default/.new").exists());
    // A little worse is not worse, and who wants it gets it.
    good(registry, &["promote", text(&worse("little", "recall_at_threshold", [0.84, 0.75, 0.88], None))]);
    good(registry, &["promote", "--even-if-worse", text(&recall)]);
    let compared = &good(registry, &["compare", "registry:default@1", "registry:default"])[0];
    assert_eq!(compared["same_protocol"], true);
    let row = |name: &str| {
        compared["figures"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["figure"].as_str().unwrap().contains(name))
            .unwrap()
    };
    assert_eq!(row("recall at the threshold")["standing"], "worse");
    assert_eq!(row("both negatives")["standing"], "within");
    let (_, table) = out(&go(registry, &["compare", "default", text(&alarms), "--format", "table"]));
    assert!(table.contains("worse, beyond the intervals") && table.contains("say little"), "{table}");
}

#[test]
fn every_changed_byte_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let registry = &folder.path().join("registry");
    let place = named(folder.path(), "one", 0.8);
    let key = folder.path().join("key");
    let public = good(Path::new(NONE), &["keygen", text(&key)])[0]["key"].as_str().unwrap().to_owned();
    good(Path::new(NONE), &["sign", text(&place), "--key", text(&key)]);
    good(registry, &["verify", text(&place), "--trusted", &public]);
    let trust = Trust { keys: vec![PrivateKey::read(&key).unwrap().public()], required: true };
    for (file, steps) in [("card.json", 97), ("weights.bin", 211), ("memory.bin", 97), ("card.sig", 1)] {
        let path = place.join(file);
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len().div_ceil(steps).min(whole.len() / 2).max(1)) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(&path, &bytes).unwrap();
            let opened = Model::open_signed(text(&place), &trust);
            let known = matches!(
                opened,
                Err(ModelError::Signature { .. } | ModelError::Tampered { .. } | ModelError::Memory { .. })
            );
            assert!(known, "{file}, byte {at}: {:?}", opened.map(|(_, signer)| signer));
        }
        let words = match file {
            "weights.bin" => "its weights are not those",
            "memory.bin" => "it is not the one that the card names",
            _ => "its signature is wrong",
        };
        refused(registry, &["verify", text(&place)], words);
        refused(registry, &["promote", text(&place)], words);
        refused(registry, &["promote", text(&place), "--name", "office"], words);
        assert!(!registry.exists(), "{file}: what is no good leaves nothing behind");
        refused(registry, &["promote", text(&place)], &format!("model {}", place.display()));
        let (status, said) = err(&veilwatch(["detect", "--model", text(&place), text(&example("first-run.pcap"))]));
        assert!(status == Some(2) && said.contains(words), "{said}");
        // Cut short, and longer.
        for bytes in [&whole[..whole.len() - 1], &[&whole[..], b" "].concat(), b""] {
            std::fs::write(&path, bytes).unwrap();
            let opened = Model::open_signed(text(&place), &trust);
            // Behind a signature's text a blank line may end otherwise: it says the same.
            let same = file == "card.sig" && bytes.trim_ascii() == whole.trim_ascii();
            assert_eq!(opened.is_ok(), same, "{file}, {} bytes", bytes.len());
        }
        std::fs::write(&path, &whole).unwrap();
    }
    good(registry, &["promote", text(&place)]);
    // A card that names another schema, signed or not, fits no pipeline.
    let other = model(folder.path(), "other", |card| card["schema_sha256"] = "00".repeat(32).into());
    refused(registry, &["promote", text(&other)], "trained on other features");
    let other = model(folder.path(), "other", |card| card["classifier"] = "classifier/svm".into());
    refused(registry, &["promote", text(&other)], "is made for classifier/svm");
    // Weights that the card names, and that are none.
    let other = model(folder.path(), "other", |card| card["weights_sha256"] = sha256_hex(b"VWBT").into());
    std::fs::write(other.join("weights.bin"), b"VWBT").unwrap();
    refused(registry, &["promote", text(&other)], "its weights cannot be used");
    // What is trained anew into a folder is not signed by who signed what was there.
    Model::open(text(&place)).unwrap().save(&place).unwrap();
    assert!(!place.join("card.sig").exists());

    // In the registry, too: the champion is the one that was promoted.
    let kept = registry.join("office/1/card.json");
    std::fs::remove_file(registry.join("office/1/card.sig")).unwrap();
    std::fs::write(&kept, std::fs::read_to_string(&kept).unwrap().replace("\"malicious\": 0.8", "\"malicious\": 0.9"))
        .unwrap();
    refused(registry, &["show", "registry:office"], "`office@1` has changed since it was promoted");
    let lines = good(registry, &["list"]);
    assert!(lines.last().unwrap()["reason"].as_str().unwrap().contains("changed since"), "{lines:?}");
    // After a look at it, it can be promoted again.
    good(registry, &["show", "office@1"]);
    good(registry, &["promote", "office@1"]);
    good(registry, &["show", "registry:office"]);
}

#[test]
fn whose_signature_counts_is_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let registry = &folder.path().join("registry");
    let keys = ["friend", "stranger"].map(|name| {
        let path = folder.path().join(name);
        let key = PrivateKey::generate().unwrap();
        key.write_new(&path).unwrap();
        (path, key.public().to_string())
    });
    let [friend, stranger] = &keys;
    let strict =
        config(folder.path(), "default", &format!("trusted_keys = [{:?}]\nrequire_signature = true\n", friend.1));
    let strictly =
        |args: &[&str]| veilwatch(["model"].into_iter().chain(args.iter().copied()).chain(["--config", text(&strict)]));
    let place = named(folder.path(), "one", 0.8);
    let capture = example("first-run.pcap");
    let no = |words: &str| {
        for args in [&["verify", text(&place)][..], &["promote", text(&place)]] {
            let (status, said) = err(&strictly(args));
            assert!(status == Some(2) && said.contains(words), "{args:?}: {said}");
        }
        let detect = ["detect", text(&capture), "--config", text(&strict)];
        for which in ["--model", "--shadow"] {
            let (status, said) = err(&veilwatch(detect.into_iter().chain([which, text(&place)])));
            assert!(status == Some(2) && said.contains(words), "{which}: {said}");
        }
    };
    no("is not signed, and `require_signature`");
    Model::sign(&place, &PrivateKey::read(&stranger.0).unwrap()).unwrap();
    no(&stranger.1);
    // Whoever only looks at it may.
    assert_eq!(out(&strictly(&["show", text(&place)])).0, Some(0));
    good(registry, &["promote", text(&place), "--name", "strange"]);
    let (_, lines) = out(&strictly(&["list"]));
    let line: Json = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert!(line["model"] == "registry:strange@1" && line["average_precision"]["value"].is_f64(), "{line}");
    assert!(line["reason"].as_str().unwrap().contains("none of `trusted_keys`"), "{line}");
    assert_eq!(line["signature"]["state"], "not trusted");
    std::fs::remove_dir_all(registry.join("strange")).unwrap();
    Model::sign(&place, &PrivateKey::read(&friend.0).unwrap()).unwrap();
    assert_eq!(out(&strictly(&["promote", text(&place)])).0, Some(0));
    let (_, lines) = out(&strictly(&["list"]));
    assert!(lines.lines().last().unwrap().contains(&format!("{{\"state\":\"trusted\",\"key\":\"{}\"}}", friend.1)));
    // The signature went along.
    for model in ["registry:office", "default"] {
        // The box is part of the program.
        let args = ["detect", text(&capture), "--config", text(&strict), "--model", model];
        assert_eq!(out(&veilwatch(args)).0, Some(1), "{model}");
    }
    refused(registry, &["verify", text(&place), "--trusted", &stranger.1], "none of `trusted_keys`");
    refused(registry, &["verify", text(&place), "--trusted", "key"], "`key` is no public key");
    // A configuration that means nothing, or everything.
    for (models, words) in [
        ("trusted_keys = [\"x\"]", "mine.toml:4: `x` is no public key"),
        ("require_signature = true", "mine.toml:4: `require_signature = true` without a key"),
    ] {
        let file = config(folder.path(), "default", models);
        let (status, said) = err(&veilwatch(["config", "check", text(&file)]));
        assert!(status == Some(2) && said.contains(words), "{said}");
    }
}

#[test]
fn a_crash_leaves_the_former_champion_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let registry = &folder.path().join("registry");
    let models = [named(folder.path(), "one", 0.8), named(folder.path(), "two", 0.9)];
    good(registry, &["promote", text(&models[0])]);
    // What a crash may leave, at each step.
    let name = registry.join("office");
    std::fs::create_dir(name.join(".new")).unwrap();
    std::fs::write(name.join(".new/card.json"), b"{").unwrap();
    std::fs::write(name.join(".new-champion.toml"), b"form").unwrap();
    std::fs::create_dir(name.join("2")).unwrap();
    for file in ["card.json", "weights.bin", "memory.bin"] {
        std::fs::copy(models[1].join(file), name.join("2").join(file)).unwrap();
    }
    assert_eq!(threshold(registry), 0.8);
    assert_eq!(good(registry, &["promote", text(&models[1])])[0]["version"], 2);
    assert!(!name.join(".new").exists() && !name.join(".new-champion.toml").exists());
    assert_eq!(threshold(registry), 0.9);
    // And for real: ended at any moment.
    let mut ended = 0;
    for round in 0..12u64 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch"))
            .args(["model", "promote", text(&models[round as usize % 2]), "--registry", text(registry)])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(round * 7));
        child.kill().unwrap();
        ended += u64::from(child.wait().unwrap().code().is_none());
        assert!([0.8, 0.9].contains(&threshold(registry)));
    }
    assert!(ended > 0);
    good(registry, &["promote", text(&models[0])]);
    assert!(
        std::fs::read_dir(&name)
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_str().unwrap().starts_with(".new") })
    );
    // A pointer that somebody broke is told, and written anew.
    std::fs::write(name.join("champion.toml"), "format = 1\nchampions = 7\n").unwrap();
    refused(registry, &["show", "registry:office"], "champion.toml: it cannot be read");
    assert!(
        good(registry, &["list"])
            .iter()
            .any(|line| line["reason"].as_str().is_some_and(|why| why.contains("champion.toml")))
    );
    // What was before cannot be compared with: that is nobody's wish unless they say so.
    refused(registry, &["promote", text(&models[0])], "--even-if-worse");
    good(registry, &["promote", text(&models[0]), "--even-if-worse"]);
    assert_eq!(threshold(registry), 0.8);
    // One that cannot be looked at may be a whole history: it stays.
    let pointer = name.join("champion.toml");
    std::fs::rename(&pointer, name.join("elsewhere")).unwrap();
    symlink(&pointer, &pointer).unwrap();
    refused(registry, &["promote", text(&models[1])], "champion.toml: ");
    std::fs::rename(name.join("elsewhere"), &pointer).unwrap();
    assert_eq!(threshold(registry), 0.8);
}

#[test]
fn only_what_belongs_to_a_model_is_copied_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let registry = &folder.path().join("registry");
    let at = |name: &str| folder.path().join(name);
    let secret = at("secret");
    PrivateKey::generate().unwrap().write_new(&secret).unwrap();
    let before = std::fs::read(&secret).unwrap();
    // A memory that no card names is none, whatever it is.
    let old = model(folder.path(), "old", |card| {
        for key in ["memory_sha256", "novelty_limit"] {
            card.as_object_mut().unwrap().remove(key);
        }
    });
    std::fs::remove_file(old.join("memory.bin")).unwrap();
    symlink(&secret, old.join("memory.bin")).unwrap();
    good(registry, &["promote", text(&old), "--name", "old"]);
    assert!(!registry.join("old/1/memory.bin").exists());
    let (_, table) = out(&go(registry, &["show", "old", "--format", "table"]));
    assert!(table.lines().any(|line| line.starts_with(" memory") && line.trim_end().ends_with("none")), "{table}");
    // One that it names goes along, and is counted; but never what a link leads to.
    let new = named(folder.path(), "new", 0.8);
    good(registry, &["promote", text(&new)]);
    assert_eq!(
        std::fs::read(new.join("memory.bin")).unwrap(),
        std::fs::read(registry.join("office/1/memory.bin")).unwrap()
    );
    let size = |name: &str| std::fs::metadata(new.join(name)).unwrap().len();
    let bytes = size("card.json") + size("weights.bin") + size("memory.bin");
    assert_eq!(good(registry, &["show", "office"])[0]["bytes"], bytes);
    std::fs::rename(new.join("memory.bin"), at("moved")).unwrap();
    symlink(at("moved"), new.join("memory.bin")).unwrap();
    refused(registry, &["promote", text(&new)], "new/memory.bin: this is no regular file");
    std::fs::remove_file(new.join("memory.bin")).unwrap();
    refused(registry, &["promote", text(&new)], "new/memory.bin: ");
    // Nor does a signature go where a link of somebody else leads to.
    symlink(&secret, old.join(".card.sig.new")).unwrap();
    good(Path::new(NONE), &["sign", text(&old), "--key", text(&secret)]);
    assert_eq!(std::fs::read(&secret).unwrap(), before);
    assert!(old.join("card.sig").symlink_metadata().unwrap().is_file() && !old.join(".card.sig.new").exists());
}

#[test]
fn a_challenger_is_checked_with_the_rest_and_rests_where_nobody_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "default", "[shadow]\nmodel = \"blind\"");
    let (status, said) = err(&veilwatch(["config", "check", text(&file)]));
    assert!(status == Some(2) && said.contains("[shadow]: model blind was trained on other features"), "{said}");
    let capture = example("first-run.pcap");
    let (status, said) = err(&veilwatch(["detect", text(&capture), "--config", text(&file)]));
    assert!(status == Some(2) && said.contains("[shadow]"), "{said}");
    // What asks for no alerts asks for no second opinion on them.
    let queue = ["detect", text(&capture), "--config", text(&file), "--queue", "3"];
    let output = veilwatch(queue);
    assert_eq!(out(&output), out(&veilwatch(["detect", text(&capture), "--queue", "3"])));
    assert!(out(&output).0 == Some(1) && !err(&output).1.contains("explained"), "{}", err(&output).1);
    let (status, said) = err(&veilwatch(queue.into_iter().chain(["--shadow", "default"])));
    assert!(status == Some(2) && said.contains("cannot be used with"), "{said}");

    // A model of the registry, by its name alone, and where it is.
    let registry = &folder.path().join("registry");
    good(registry, &["promote", text(&named(folder.path(), "one", 0.8))]);
    let drift = |more: &[&str]| go(Path::new(NONE), &[&["drift", text(&capture), "--model", "office"], more].concat());
    for more in [&["--config", text(&file)][..], &["--registry", text(registry)]] {
        let output = drift(more);
        let told: Json = serde_json::from_str(&out(&output).1).unwrap();
        // So few servers tell nothing.
        assert_eq!((out(&output).0, told["state"].as_str()), (Some(2), Some("unclear")), "{told}");
        assert!(!err(&output).1.contains("explained"), "{}", err(&output).1);
    }
    assert_eq!(out(&drift(&["--registry", text(registry), "--format", "jsonl"])).0, Some(2));
}

#[test]
fn who_promotes_at_once_does_so_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let registry = &folder.path().join("registry");
    let start = |at: u32| {
        let place = named(folder.path(), &format!("m{at}"), 0.8 + f64::from(at) / 100.0);
        Command::new(env!("CARGO_BIN_EXE_veilwatch"))
            .args(["model", "promote", text(&place), "--registry", text(registry)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(start).collect();
    let mut versions: Vec<u64> = children
        .into_iter()
        .map(|child| {
            let (status, line) = out(&child.wait_with_output().unwrap());
            assert_eq!(status, Some(0));
            serde_json::from_str::<Json>(&line).unwrap()["version"].as_u64().unwrap()
        })
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3, 4]);
    // Nothing of anybody's was lost: one can go back all the way.
    for _ in 0..3 {
        good(registry, &["rollback", "office"]);
    }
    refused(registry, &["rollback", "office"], "no former champion");
}

#[test]
fn folders_that_cannot_be_written_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let place = named(folder.path(), "one", 0.8);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for registry in [&file, Path::new("/proc/none")] {
        refused(registry, &["promote", text(&place)], "that it is yours to write");
        refused(registry, &["promote", text(&place)], text(registry));
    }
    let registry = folder.path().join("registry");
    for name in ["", "../up", "Upper", ".hidden", "a/b", "a@0", "a@01", "a@x", &"a".repeat(65)] {
        refused(&registry, &["promote", text(&place), "--name", name], "is no name of a model");
        assert!(!registry.exists(), "{name}");
    }
    refused(&registry, &["promote", text(&place), "--name", "a@2"], "leave the number out");
    refused(Path::new(NONE), &["promote", text(&place)], "there is no registry of models");
    refused(&registry, &["rollback", "nobody"], "it has no model `nobody`");
    refused(&registry, &["promote", "nobody@1"], "it has no model `nobody`");
    // What fits no pipeline makes no name, either.
    let other = model(folder.path(), "other", |card| card["schema_sha256"] = "00".repeat(32).into());
    refused(&registry, &["promote", text(&other), "--name", "x"], "trained on other features");
    assert!(!registry.exists());
}

/// A folder may hold anything; each ends at once, with a word about what and where.
#[test]
fn hostile_folders_end_in_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pipe = |path: &Path| nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let whole = |name: &str| named(folder.path(), name, 0.8);
    let instead = |name: &str, file: &str, put: &dyn Fn(&Path)| {
        let path = whole(name).join(file);
        let _ = std::fs::remove_file(&path);
        put(&path);
    };
    let card = |name: &str, text: &str| std::fs::write(whole(name).join("card.json"), text).unwrap();
    for (at, file) in ["card.json", "weights.bin", "card.sig"].into_iter().enumerate() {
        instead(&format!("pipe{at}"), file, &pipe);
        instead(&format!("endless{at}"), file, &|path| symlink("/dev/zero", path).unwrap());
        instead(&format!("folder{at}"), file, &|path| std::fs::create_dir(path).unwrap());
        instead(&format!("circle{at}"), file, &|path| symlink(path, path).unwrap());
        instead(&format!("large{at}"), file, &|path| std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap());
    }
    std::fs::create_dir(at("empty")).unwrap();
    let text = std::fs::read_to_string(whole("x").join("card.json")).unwrap();
    card("deep", &"[".repeat(1 << 20));
    card("deeper", &text.replacen("\"name\": \"office\"", &format!("\"name\": {}", "{\"a\":".repeat(100_000)), 1));
    card("long", &text.replace("office", &"n".repeat(1 << 20)));
    card("key", &text.replacen("\"name\"", &format!("{:?}", "k\u{1}".repeat(1 << 20)), 1));
    card("steers", &text.replace("\"office\"", "\"\\u001b]0;mine\\u0007\""));
    card("turns", &text.replace("classifier/ensemble", "classifier/\\u202edetsoob"));
    card("infinite", &text.replace("\"suspicious\": 0.", "\"suspicious\": 1e999, \"x\": 0."));
    card("nan", &text.replace("\"suspicious\": 0.", "\"suspicious\": NaN, \"x\": 0."));
    card("negative", &text.replace("\"captures\": 740", "\"captures\": -740"));
    card("huge", &text.replace("\"captures\": 740", &format!("\"captures\": {}", "9".repeat(1000))));
    card("twice", &text.replacen("\"seed\": 1", "\"seed\": 1, \"seed\": 2", 1));
    card("none", "null");
    let names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "x")
        .collect();
    assert_eq!(names.len(), 28);
    let begin = Instant::now();
    for name in names {
        let path = at(&name);
        let error = Model::open(path.to_str().unwrap()).expect_err(&name).to_string();
        assert!(error.starts_with("model ") && error.contains(&name) && error.len() < 1000, "{name}: {error}");
        assert!(!error.contains(['\u{1b}', '\u{202e}', '\u{1}', '\u{7}']), "{name}: {error}");
    }
    assert!(begin.elapsed() < Duration::from_secs(60));
    for name in ["pipe0", "endless2", "steers"] {
        refused(Path::new(NONE), &["verify", at(name).to_str().unwrap()], name);
    }
    // What may be said, is said without steering anybody's terminal, and not for ever.
    let speaks = model(folder.path(), "speaks", |card| {
        card["made_by"] = "\u{1b}[31mred\u{202e}".into();
        card["training"]["split"] = "s".repeat(1 << 20).into();
    });
    for args in [&["show", speaks.to_str().unwrap()][..], &["compare", "default", speaks.to_str().unwrap()]] {
        let (status, table) = out(&go(Path::new(NONE), &[args, &["--format", "table"]].concat()));
        assert!(status == Some(0) && !table.contains(['\u{1b}', '\u{202e}']), "{table}");
        assert!(table.contains("\\u{1b}[31mred\\u{202e}") && table.len() < 100_000, "{} bytes", table.len());
    }
}

#[test]
fn the_evaluation_in_the_box_is_of_its_model() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/lean");
    let names = Model::names_in_the_box().map(str::to_owned).chain([shipped.display().to_string()]);
    for name in names {
        let model = Model::open(&name).unwrap();
        let digest = model.evaluation.as_ref().unwrap_or_else(|| panic!("{name} was judged"));
        assert!(
            digest.is_of(&model.card),
            "{name}: made before the model: `veilwatch evaluate --digest` makes it again"
        );
        // Without names, chains and look-ups the model is hardly better than a list of fingerprints: its figures are withheld.
        let is_blind = name == "blind";
        assert_eq!((digest.quick, digest.audit_passed), (true, Some(!is_blind)), "{name}");
        let are_told = [
            digest.withheld.is_empty(),
            !digest.figures.is_empty(),
            digest.roc.len() > 2,
            !digest.reliability.is_empty(),
        ];
        assert_eq!(are_told, [!is_blind; 4], "{name}");
        assert!(digest.classifiers.len() >= 7, "{name}");
    }
}
