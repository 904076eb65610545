use super::*;

const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn of(epoch: Epoch, members: usize) -> Convergence {
    Convergence {
        epoch,
        members,
        published: at(0),
        counts: Counts::default(),
    }
}

fn apply(ways: &mut Ways, epoch: Epoch) {
    if let Some(told) = ways.find((0, epoch)) {
        told.counts.add(&Counts::one(Duration::from_millis(3)));
    }
}

#[test]
fn a_map_is_told_once_when_all_applied_it() {
    let mut ways = Ways::default();
    ways.begin(0, of(7, 2));
    apply(&mut ways, 7);
    assert_eq!(ways.take_due(at(5)), None);
    apply(&mut ways, 7);
    assert_eq!(ways.take_due(at(5)).map(|told| told.applied()), Some(2));
    assert_eq!(ways.take_due(at(20_000)), None);
}

#[test]
fn only_the_newest_is_told_though_it_is_incomplete() {
    let mut ways = Ways::default();
    ways.begin(0, of(7, 2));
    ways.begin(0, of(8, 2));
    assert_eq!(ways.take_due(at(14_999)), None);
    assert_eq!(ways.take_due(at(15_000)).map(|told| told.epoch), Some(8));
    assert_eq!(ways.take_due(at(15_000)), None);
    (0..2).for_each(|_| apply(&mut ways, 7));
    assert_eq!(ways.take_due(at(16_000)).map(|told| told.epoch), Some(7));
}

#[test]
fn where_nobody_has_to_apply_it_nothing_is_told() {
    let mut ways = Ways::default();
    ways.begin(0, of(7, 0));
    assert_eq!(ways.take_due(at(20_000)), None);
}

#[test]
fn few_maps_are_remembered() {
    let mut ways = Ways::default();
    (1..100).for_each(|epoch| ways.begin(0, of(epoch, 1)));
    assert_eq!(ways.0.len(), limits::OLDER_MAPS_MAX);
    assert!(ways.find((0, 1)).is_none() && ways.find((0, 99)).is_some());
}
