use super::*;
use crate::model::Model;
use crate::model::memory::tests::{WIDTH, memory, row};
use veilwatch_core::feature::Evidence;

fn schema() -> FeatureSchema {
    let names: Vec<String> = (0..WIDTH).map(|at| format!("c{at}")).collect();
    let columns = names.into_iter().map(|name| Column::new(name, "bytes", "how much of it", Evidence::Flow)).collect();
    FeatureSchema::join([("it", columns)]).unwrap()
}

/// What is said of so many flows, each of a server of its own or of one.
fn drift(
    flows: usize,
    one_server: bool,
    change: impl Fn(usize, &mut Vec<f32>),
    novel: impl Fn(usize) -> bool,
) -> Drift {
    let memory = memory();
    let mut collector = Collector::new(&memory);
    for at in 0..flows {
        // Few are as mixed as many.
        let mixed = at * 57 % 200;
        let mut row = row(mixed % 2, mixed);
        change(at, &mut row);
        let server = if one_server { [0; 16] } else { (at as u128).to_be_bytes() };
        collector.add(server, &row, (mixed % 100) as f64, novel(at), false);
    }
    let card = Card { novelty_limit: Some(0.9), ..Model::builtin().unwrap().card };
    collector.finish(&schema(), &card, Some(card.false_alert_budget))
}

#[test]
fn the_same_again_is_stable() {
    let same = drift(400, false, |_, _| {}, |_| false);
    assert_eq!((same.state, same.columns.len(), same.flows), (State::Stable, 0, 400), "{}", same.sentence);
    assert_eq!((same.scores.state, same.used[0], same.all), (State::Stable, 32, [WIDTH, 0, 0]));
    assert!((same.worth - 400.0).abs() < 1e-9);
    assert!(same.sentence.starts_with("stable: the traffic is what the model was made for (nothing stands out)"));
}

#[test]
fn one_column_that_moved_is_named_and_many_are_drift() {
    let one = drift(400, false, |_, row| row[7] += 1000.0, |_| false);
    assert_eq!((one.state, one.columns.len()), (State::Stable, 1), "{}", one.sentence);
    let ColumnDrift { column, moved, words, .. } = &one.columns[0];
    assert_eq!((column.as_str(), moved.state), ("it.c7", State::Drifted));
    assert!(words.starts_with("how much of it: "), "{words}");
    assert!(words.contains(" in training, more than 5") && words.ends_with(" now"), "{words}");
    assert!(one.sentence.contains("1 of the 32 columns that it uses most have shifted, 1 of them"), "{}", one.sentence);
    let many = drift(400, false, |_, row| row[..10].iter_mut().for_each(|cell| *cell += 1000.0), |_| false);
    assert_eq!((many.state, many.used), (State::Drifted, [32, 10, 10]));
    let lost = drift(400, false, |_, row| row[3] = f32::NAN, |_| false);
    assert!(lost.columns[0].words.ends_with(" in training, none now"), "{}", lost.columns[0].words);
}

#[test]
fn few_flows_tell_little_and_a_flood_from_one_server_is_few() {
    let few = drift(20, false, |_, _| {}, |_| false);
    assert_eq!(few.state, State::Unclear, "{few:?}");
    assert!(
        few.sentence.ends_with(&format!("worth 20 independent ones, {} would tell a shift from chance", few.needed))
    );
    assert!((100..=1000).contains(&few.needed), "{}", few.needed);
    let flood = drift(400, true, |_, _| {}, |_| false);
    assert_eq!((flood.flows, flood.worth, flood.state), (400, 1.0, State::Unclear), "{}", flood.sentence);
}

#[test]
fn novel_flows_are_drift_where_they_are_more_than_chance() {
    let novel = drift(400, false, |_, _| {}, |at| at % 10 == 0);
    assert_eq!(novel.state, State::Drifted);
    assert!(novel.sentence.contains("training held nothing like 10.0 % of the flows"), "{}", novel.sentence);
    let some = drift(400, false, |_, _| {}, |at| at % 100 == 0);
    assert_eq!((some.state, some.novel.unwrap().share), (State::Stable, 0.01));
}

#[test]
fn the_index_is_what_it_is_by_hand() {
    let bins = Bins::learn([(0.0, 1.0), (1.0, 1.0)].into_iter());
    let shares = |set: f64| Shares::of(&bins, [(2, 1.0 - set), (3, set)].into_iter());
    let many = Held { now: 1e12, then: 1e12 };
    // (.9 − .5) ln (.9 / .5) + (.1 − .5) ln (.1 / .5)
    let moved = many.moved(&shares(0.5), &shares(0.9));
    assert!((moved.psi - 0.878_9).abs() < 1e-4, "{moved:?}");
    assert_eq!(many.moved(&shares(0.5), &shares(0.65)).state, State::Stable);
    assert_eq!(many.moved(&shares(0.5), &shares(0.7)).state, State::Shifted);
    // Chance: two groups, and two samples of a hundred.
    let moved = Held { now: 100.0, then: 100.0 }.moved(&shares(0.5), &shares(0.5));
    assert_eq!((moved.psi, moved.noise), (0.0, 0.02));
    // What was never there is no reason for infinity.
    let moved = many.moved(&shares(0.0), &shares(0.5));
    assert!(moved.psi.is_finite() && moved.state == State::Drifted, "{moved:?}");
}

#[test]
fn chance_alone_is_seldom_called_a_shift() {
    // Samples of one population, against a large one.
    let bins = Bins::learn((0..1000).map(|at| (at as f32, 1.0)));
    let then = Shares::of(&bins, (0..1000).map(|at| (bins.bin(at as f32), 1.0)));
    let mut random = crate::learn::metrics::SplitMix(1);
    let mut called = 0;
    for _ in 0..500 {
        let now = Shares::of(&bins, (0..200).map(|_| (bins.bin((random.next() % 1000) as f32), 1.0)));
        called += usize::from(Held { now: 200.0, then: 1e9 }.moved(&then, &now).state >= State::Shifted);
    }
    assert!(called < 10, "{called} of 500");
}
