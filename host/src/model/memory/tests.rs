use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

pub(crate) const WIDTH: usize = 40;

/// Rows of two kinds: every third column tells them apart, and one in seven values is missing.
pub(crate) fn row(kind: usize, at: usize) -> Vec<f32> {
    let cell = |column: usize| match (column + at) % 7 {
        0 => f32::NAN,
        step => (if column.is_multiple_of(3) { kind * 100 } else { 0 } + (at * 7 + column * 13) % 50 + step) as f32,
    };
    (0..WIDTH).map(cell).collect()
}

pub(crate) fn memory() -> Memory {
    let rows: Vec<Vec<f32>> = (0..200).map(|at| row(at % 2, at)).collect();
    let values: Vec<f32> = rows.concat();
    let bins = learn_all(&veilwatch_core::feature::Rows::new(&values, WIDTH), &[1.0; 200]);
    let columns: Vec<u16> = (0..COLUMNS as u16).collect();
    let mut prototypes = Prototypes::new(&columns, &bins);
    for (at, row) in rows.iter().enumerate() {
        let (kind, family) = if at % 2 == 1 { (Kind::Malicious, "Duck\u{1b}[31m") } else { (Kind::Benign, "") };
        prototypes.remember(row, kind, family);
    }
    prototypes.spread();
    let columns =
        bins.iter().enumerate().map(|(at, bins)| Shares::of(bins, rows.iter().map(|row| (bins.bin(row[at]), 1.0))));
    let score_bins = Bins::learn((0..100).map(|at| (at as f32, 1.0)));
    let scores = Shares::of(&score_bins, (0..100).map(|at| (score_bins.bin(at as f32), 1.0)));
    let reference = Reference { pairs: 200.0, columns: columns.collect(), score_bins, scores };
    Memory::new(bins, reference, prototypes, (0..100).collect())
}

#[test]
fn what_was_learnt_is_not_new_and_what_is_far_off_is() {
    let memory = memory();
    assert_eq!(memory.novelty(&row(1, 77)), Some(0.0));
    // Beyond all that there was, in every column.
    assert_eq!(memory.novelty(&[1e6; WIDTH]), Some(1.0));
    let missing = memory.novelty(&[f32::NAN; WIDTH]).unwrap();
    assert!(missing > 0.5, "{missing}");
    // Rows that are too short are as rows whose rest is missing.
    assert_eq!(memory.novelty(&[]), Some(missing));
}

#[test]
fn neighbours_are_one_of_each_family_and_their_names_are_harmless() {
    let memory = memory();
    let [first, second] = &memory.nearest(&row(1, 77), 3)[..] else { panic!("two kinds of flows were remembered") };
    assert_eq!((first.label, first.family.as_str(), first.distance), (Kind::Malicious, "Duck[31m", 0.0));
    assert_eq!((second.label, second.family.as_str()), (Kind::Benign, ""));
    assert!(0.0 < second.distance && second.distance < 1.0);
    assert_eq!(memory.nearest(&row(0, 2), 1)[0].label, Kind::Benign);
    // Nothing is farther than this.
    assert!(memory.nearest(&[f32::NAN; WIDTH], 1)[0].distance <= 1.0);
}

#[test]
fn landmarks_lie_far_from_each_other() {
    let bins = vec![Bins::learn((0..31).map(|at| (at as f32, 1.0)))];
    let mut prototypes = Prototypes::new(&[0], &bins);
    // Hundreds in one place, and two that are elsewhere, last.
    (0..2 * LANDMARKS).for_each(|_| prototypes.remember(&[3.0], Kind::Benign, ""));
    prototypes.remember(&[30.0], Kind::Benign, "");
    prototypes.remember(&[15.0], Kind::Malicious, "Duck");
    let far = |prototypes: &Prototypes| prototypes.remoteness(&prototypes.place(&[30.0]));
    let before = prototypes.nearest(&prototypes.place(&[16.0]), 2);
    prototypes.spread();
    assert_eq!(far(&prototypes), Some(0));
    // All of them are compared as one by one.
    let place = prototypes.place(&[20.0]);
    assert_eq!(
        prototypes.remoteness(&place).map(|apart| prototypes.share(apart)),
        Some(prototypes.nearest(&place, 1)[0].distance)
    );
    assert_eq!(prototypes.nearest(&prototypes.place(&[16.0]), 2), before, "their order is no matter");
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let bins = vec![Bins::learn((0..31).map(|at| (at as f32, 1.0)))];
    let mut prototypes = Prototypes::new(&[0], &bins);
    for at in 0..MAX_PROTOTYPES + 5 {
        prototypes.remember(&[at as f32], Kind::Malicious, &format!("{at:0>90}"));
    }
    assert_eq!(prototypes.len(), MAX_PROTOTYPES);
    let memory = Memory::new(
        bins.clone(),
        Reference {
            pairs: 0.0,
            columns: vec![Shares::of(&bins[0], [].into_iter())],
            score_bins: bins[0].clone(),
            scores: Shares::of(&bins[0], [].into_iter()),
        },
        prototypes,
        Vec::new(),
    );
    assert_eq!(Memory::from_bytes(&memory.to_bytes()).as_ref(), Ok(&memory));
    assert_eq!(memory.novelty(&[1.0]), None, "nothing is known of what was held out");
}

#[test]
fn bytes_come_back_as_they_were_and_nothing_else_is_taken() {
    let memory = memory();
    let bytes = memory.to_bytes();
    assert_eq!(Memory::from_bytes(&bytes).as_ref(), Ok(&memory));
    // Cut anywhere.
    assert!((0..bytes.len()).step_by(7).all(|len| Memory::from_bytes(&bytes[..len]).is_err()));
    assert_eq!(Memory::from_bytes(&[&bytes[..], &[0]].concat()), Err("bytes follow behind its end"));
    // The width, then the number of edges of the first column and its first edge.
    let with = |at: usize, what: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + what.len()].copy_from_slice(what);
        Memory::from_bytes(&bytes)
    };
    let begin = MAGIC.len();
    assert_eq!(with(0, b"vw-memory-2"), Err("it is no memory of this version of the format"));
    assert!(with(begin, &[0xff, 0xff]).is_err(), "more columns than there are");
    assert_eq!(with(begin + 2, &[32]), Err("a column has more bins than there can be"));
    assert_eq!(with(begin + 3, &f32::NAN.to_le_bytes()), Err("it holds a number that is not finite"));
    assert_eq!(with(begin + 3, &f32::MAX.to_le_bytes()), Err("the edges of a column's bins do not rise"));
    let end = bytes.len();
    assert_eq!(with(end - 2, &[0, 0]), Err("what was held out is in no order"));
    assert_eq!(with(end - 202, &[0xff, 0xff]), Err("it holds more than a memory can"));
}

proptest! {
    #[test]
    fn changed_bytes_are_refused_or_harmless(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| memory().to_bytes());
        let mut bytes = BYTES.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(memory) = Memory::from_bytes(&bytes) {
            prop_assert_eq!(memory.to_bytes(), bytes);
            let row = row(1, 3);
            prop_assert!(memory.novelty(&row).is_none_or(|novelty| (0.0..=1.0).contains(&novelty)));
            let nearest = memory.nearest(&row, 3);
            prop_assert!(nearest.iter().all(|near| (0.0..=1.0).contains(&near.distance)));
        }
    }

    #[test]
    fn any_bytes_are_no_memory(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Memory::from_bytes(&bytes).is_err());
        prop_assert!(Memory::from_bytes(&[MAGIC, &[9, 0], &bytes[..]].concat()).is_err());
    }

    #[test]
    fn bins_keep_the_order_of_values(mut values in prop::collection::vec(any::<f32>(), 0..200), weight in 0.001f64..10.0) {
        let bins = Bins::learn(values.iter().map(|value| (*value, weight)));
        values.retain(|value| !value.is_nan());
        values.sort_by(f32::total_cmp);
        let found: Vec<u8> = values.iter().map(|value| bins.bin(*value)).collect();
        prop_assert!(found.is_sorted());
        prop_assert!(found.iter().all(|bin| (1..bins.len()).contains(&usize::from(*bin))));
        for (value, bin) in values.iter().zip(found) {
            let (low, high) = bins.span(usize::from(bin));
            prop_assert!(low.is_none_or(|low| low < *value) && high.is_none_or(|high| *value <= high));
        }
    }
}
