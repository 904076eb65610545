use super::*;

fn causes(doubts: &Doubts) -> Vec<FrozenCause> {
    doubts.causes().into_keys().collect()
}

#[test]
fn each_doubt_goes_when_the_record_settles_it() {
    let mut doubts = Doubts::default();
    assert!(doubts.is_empty());
    doubts.conflict_seen((0, 9), "two".into());
    doubts.newer_seen((0, 12), "newer".into());
    doubts.newer_seen((0, 11), "older news".into());
    doubts.tampered("edited".into());
    assert_eq!(
        causes(&doubts),
        [
            FrozenCause::RecordTampered,
            FrozenCause::EpochRegression,
            FrozenCause::MapConflict
        ]
    );
    doubts.read(Some((0, 9)));
    assert_eq!(
        causes(&doubts),
        [FrozenCause::EpochRegression, FrozenCause::MapConflict]
    );
    doubts.read(Some((0, 11)));
    assert_eq!(causes(&doubts), [FrozenCause::EpochRegression]);
    doubts.read(Some((0, 12)));
    assert!(doubts.is_empty());
}

#[test]
fn a_restored_era_is_newer_than_any_epoch() {
    let mut doubts = Doubts::default();
    doubts.newer_seen((0, 12), "newer".into());
    doubts.read(Some((1, 3)));
    assert!(doubts.is_empty());
}

#[test]
fn no_record_settles_nothing_but_its_seal() {
    let mut doubts = Doubts::default();
    doubts.tampered("edited".into());
    doubts.newer_seen((0, 12), "newer".into());
    doubts.read(None);
    assert_eq!(causes(&doubts), [FrozenCause::EpochRegression]);
}
