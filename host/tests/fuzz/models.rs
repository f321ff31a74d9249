//! Models from anybody: the weights of each classifier, cards, memories, signatures.

use super::Target;
use std::hash::Hash;
use veilwatch::model::memory::Memory;
use veilwatch::model::{Card, PublicKey, Signature, compare};
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, Declaration, Instance, PluginError, PluginErrorKind, Settings};
use veilwatch_testkit::fuzz::{Input, Look, Seen};

/// Columns of the rows that weights are tried on, which the corpus was learnt from.
pub(crate) const WIDTH: usize = 6;

/// What rows may hold: nothing, ordinary numbers, the largest.
const ROWS: [f32; 4 * WIDTH] = {
    const NO: f32 = f32::NAN;
    [
        0.0,
        1.0,
        -1.0,
        7.0,
        0.5,
        2.0, //
        NO,
        NO,
        NO,
        NO,
        NO,
        NO, //
        f32::MAX,
        f32::MIN,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        -0.0, //
        NO,
        3.0,
        1e9,
        7.0,
        -1e-9,
        NO,
    ]
};

/// A target for each classifier's weights, for cards, memories and signatures.
pub(crate) fn targets(declarations: &[Declaration]) -> Vec<Target> {
    let classifiers =
        declarations.iter().filter(|one| one.manifest.kind == veilwatch_core::plugin::PluginKind::Classifier);
    let weights = classifiers.map(|classifier| {
        let made = classifier.clone();
        Target::new(&format!("weights-{}", classifier.manifest.name), move |input, look| weights(&made, input, look))
    });
    type Run = fn(&Input, Look) -> Result<Seen, String>;
    let rest: [(&str, Run); 3] = [("cards", cards), ("memories", memories), ("signatures", signatures)];
    weights.chain(rest.map(|(name, read)| Target::new(name, read))).collect()
}

/// A classifier as it comes out of the box.
pub(crate) fn classifier(declaration: &Declaration, settings: &str) -> Result<Box<dyn Classifier>, PluginError> {
    match (declaration.create)(Settings::new(settings))? {
        Instance::Classifier(classifier) => Ok(classifier),
        _ => Err(PluginError::failed("is no classifier")),
    }
}

/// Bytes that a classifier takes for its weights score rows, finitely and the same again, and are saved as what they are.
fn weights(declaration: &Declaration, input: &Input, look: Look) -> Result<Seen, String> {
    let bytes = all(input);
    let mut seen = Seen::default();
    let mut one = classifier(declaration, "").map_err(|error| error.message)?;
    if let Err(error) = one.load(&bytes) {
        if error.kind != PluginErrorKind::Data || error.message.chars().count() > 1000 {
            return Err(format!("an error that is not about the weights: {error}"));
        }
        words(&error.message).hash(&mut seen);
        return Ok(seen);
    }
    let Some(scores) = scores(&*one)? else {
        "for other rows".hash(&mut seen);
        return Ok(seen);
    };
    scores.map(|score| score.total_cmp(&0.0)).hash(&mut seen);
    if look == Look::ALL || input.how[1].is_multiple_of(4) {
        let saved = one.save().map_err(|error| format!("what was loaded cannot be saved: {error}"))?;
        let mut other = classifier(declaration, "").map_err(|error| error.message)?;
        other.load(&saved).map_err(|error| format!("what was saved cannot be loaded: {error}"))?;
        if self::scores(&*other)? != Some(scores) {
            return Err("what was saved scores otherwise".into());
        }
        for row in ROWS.chunks_exact(WIDTH) {
            let mut parts = [0.0; WIDTH];
            one.explain(row, &mut parts).map_err(|error| format!("a row that has a score has no reasons: {error}"))?;
            if parts.iter().any(|part| !part.is_finite()) {
                return Err(format!("a reason that is no number: {parts:?}"));
            }
        }
    }
    // How large it is, roughly.
    (bytes.len() / 64).hash(&mut seen);
    Ok(seen)
}

/// The scores of all rows; none where the weights are for rows of another width.
fn scores(classifier: &dyn Classifier) -> Result<Option<[f64; 4]>, String> {
    let mut scores = [f64::NAN; 4];
    match classifier.predict(&Rows::new(&ROWS, WIDTH), &mut scores) {
        Err(error) if error.message.contains("columns") => Ok(None),
        Err(error) => Err(format!("weights that were loaded cannot score: {error}")),
        Ok(()) if scores.iter().all(|score| score.is_finite()) => Ok(Some(scores)),
        Ok(()) => Err(format!("scores that are no numbers: {scores:?}")),
    }
}

/// A message, which must be short and steer no terminal.
fn fit_to_see(error: &str) -> Result<&str, String> {
    if error.chars().count() > 1000 || error.chars().any(veilwatch_core::detect::is_unruly) {
        return Err(format!("an error that nobody should see: {error:?}"));
    }
    Ok(error)
}

/// A card that is read is written as what it is, and can be compared; an error is short, and steers no terminal.
fn cards(input: &Input, look: Look) -> Result<Seen, String> {
    let mut seen = Seen::default();
    match Card::parse("m", &all(input)) {
        Err(error) => {
            words(fit_to_see(&error.to_string())?).hash(&mut seen);
        }
        Ok(card) => {
            let possible = card.report.is_possible();
            let compared = compare(&card, &card);
            if possible && compared.iter().any(|row| row.standing == Some(veilwatch::model::Standing::Worse)) {
                return Err("a card that is worse than itself".into());
            }
            if look == Look::ALL || input.how[1].is_multiple_of(4) {
                let written = serde_json::to_vec(&card).map_err(|error| error.to_string())?;
                let again =
                    Card::parse("m", &written).map_err(|error| format!("what was written is no card: {error}"))?;
                if again != card {
                    return Err("what was written is another card".into());
                }
            }
            (possible, card.scored.word(), card.columns.len(), card.training.recipe().augment.len()).hash(&mut seen);
        }
    }
    Ok(seen)
}

/// What is read as a memory is written as what it is, byte for byte, and answers for any row within what it says.
fn memories(input: &Input, _: Look) -> Result<Seen, String> {
    let bytes = all(input);
    let mut seen = Seen::default();
    let memory = match Memory::from_bytes(&bytes) {
        Err(flaw) => {
            flaw.hash(&mut seen);
            return Ok(seen);
        }
        Ok(memory) => memory,
    };
    if memory.to_bytes() != bytes {
        return Err("what was written is another memory".into());
    }
    for row in ROWS.chunks_exact(WIDTH).chain([&[][..]]) {
        let novelty = memory.novelty(row);
        if novelty.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(format!("a novelty that is no share: {novelty:?}"));
        }
        let near = memory.nearest(row, 3);
        let apart: Vec<f64> = near.iter().map(|one| one.distance).collect();
        if near.len() > 3 || !apart.is_sorted() || apart.iter().any(|apart| !(0.0..=1.0).contains(apart)) {
            return Err(format!("neighbours at distances that cannot be: {apart:?}"));
        }
        if near.iter().any(|one| one.family.chars().any(veilwatch_core::detect::is_unruly)) {
            return Err("a family that steers a terminal".into());
        }
        (novelty.is_some(), near.len()).hash(&mut seen);
    }
    (memory.width(), memory.prototypes().len().min(8), memory.prototypes().columns().count()).hash(&mut seen);
    Ok(seen)
}

/// A signature of `card`, which another implementation made by a key that nobody has any more.
pub(crate) const SIGNED: &str = "format = 1\n\
    key = \"dd910405df2110f90d4baf8dbc23afee6357322bb2357aa217277bc8c4b8e203\"\n\
    signature = \"15838273582fc91a0187c24419a63d5c110b6cc03ef7b34c210feed816ab230c\
    63a5c60fae14b77f677ea3b51f37ea59c2924060a394e09e067a525c2794090e\"\n";

/// What is read as a signature is written as what it is; and of a card there is one that is right, whatever is changed.
fn signatures(input: &Input, _: Look) -> Result<Seen, String> {
    let bytes = all(input);
    let mut seen = Seen::default();
    if let Ok(text) = std::str::from_utf8(&bytes) {
        PublicKey::parse(text.trim())
            .map(|key| PublicKey::parse(&key.to_string()).is_ok_and(|other| other == key))
            .is_ok()
            .hash(&mut seen);
    }
    match Signature::parse(&bytes) {
        Err(error) => words(fit_to_see(&error)?).hash(&mut seen),
        Ok(signature) => {
            if Signature::parse(signature.text().as_bytes()).as_ref() != Ok(&signature) {
                return Err("what was written is another signature".into());
            }
            let right = signature.is_of(b"card");
            if right && Signature::parse(SIGNED.as_bytes()).as_ref() != Ok(&signature) {
                return Err(format!("another signature that is right: {signature:?}"));
            }
            right.hash(&mut seen);
        }
    }
    Ok(seen)
}

fn all(input: &Input) -> Vec<u8> {
    input.pieces.iter().flat_map(|piece| &piece.bytes).copied().collect()
}

/// A message without its numbers, so that the same is seen in the same words.
fn words(message: &str) -> String {
    message.chars().filter(|c| !c.is_ascii_digit()).take(80).collect()
}
