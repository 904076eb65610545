//! What a failure came to, from what each survivor knew.
#![allow(clippy::unwrap_used)]

use super::*;

const AT: f64 = 1000.0;

fn learned(verdict: Option<f64>, applied: f64) -> Learned {
    Learned {
        name: "a".into(),
        epoch: 7.0,
        verdict,
        applied,
    }
}

fn spread(all: &[Learned]) -> (f64, f64, usize) {
    let spread = Spread::of(AT, all);
    let rounded = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    let (verdict, epoch) = (rounded(spread.verdict), rounded(spread.epoch_after));
    (verdict, epoch, spread.from_map)
}

#[test]
fn the_last_survivor_counts_for_both_moments() {
    let all = [
        learned(Some(1000.7), 1001.0),
        learned(Some(1000.6), 1001.1),
        learned(Some(1000.8), 1000.9),
    ];
    assert_eq!(spread(&all), (0.8, 0.3, 0));
}

#[test]
fn a_survivor_that_the_map_told_counts_from_the_map() {
    let all = [learned(Some(1000.7), 1000.9), learned(None, 1001.2)];
    assert_eq!(spread(&all), (1.2, 0.0, 1));
}

#[test]
fn moves_are_read_from_an_event() {
    let line = "2048 slots of a-1 have new owners (epoch 17): 2050 slots moved, 2048 is the fewest possible";
    assert_eq!(parse_moves(line), Some((17, 2050, 2048)));
    assert_eq!(parse_moves("nothing of that kind"), None);
}
