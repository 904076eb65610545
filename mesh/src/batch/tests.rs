use super::*;

const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

#[test]
fn a_death_waits_for_those_that_are_reported_with_it() {
    let mut batch = Batch::default();
    batch.hold_for_deaths(at(0));
    assert_eq!(batch.ends(), None, "nobody waits yet");
    batch.hasten(at(100));
    assert_eq!(batch.ends(), Some(at(100) + BATCH));
    batch.hold_for_deaths(at(150));
    assert_eq!(batch.ends(), Some(at(150) + limits::REPORTS_PATIENCE));
    batch.hasten(at(200));
    assert_eq!(
        batch.ends(),
        Some(at(150) + limits::REPORTS_PATIENCE),
        "a pod is gone as well"
    );
    batch.release();
    assert_eq!(batch.ends(), Some(at(100) + BATCH), "due by now");
}

#[test]
fn it_waits_no_longer_than_for_a_crowd() {
    let mut batch = Batch::default();
    batch.hasten(at(0));
    for ms in (0..5000).step_by(100) {
        batch.hold_for_deaths(at(ms));
    }
    assert_eq!(batch.ends(), Some(at(0) + CROWD));
}
