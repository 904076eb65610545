use super::*;

const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

const USUAL: Duration = limits::USUAL_INTERVAL;

#[test]
fn a_death_waits_for_those_that_are_reported_with_it() {
    let mut batch = Batch::default();
    batch.hold_for_deaths(at(0), USUAL);
    assert_eq!(batch.ends(), None, "nobody waits yet");
    batch.hasten(at(100));
    assert_eq!(batch.ends(), Some(at(100) + BATCH));
    batch.hold_for_deaths(at(150), USUAL);
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
        batch.hold_for_deaths(at(ms), USUAL);
    }
    assert_eq!(batch.ends(), Some(at(0) + CROWD));
}

/// Each wait at the usual pace and at a tenth of it; faster beats shorten none.
#[test]
fn where_beats_are_slow_a_verdict_waits_longer() {
    assert_eq!(at_pace(BATCH, USUAL / 2), BATCH);
    for (interval, factor) in [(USUAL, 1), (USUAL * 10, 10)] {
        let mut batch = Batch::default();
        batch.ripen(at(100), interval);
        assert_eq!(batch.ends(), Some(at(100) + BATCH * factor));
        batch.ripen(at(200), interval);
        assert_eq!(
            batch.ends(),
            Some(at(100) + BATCH * factor),
            "the first one's"
        );
        batch.hasten(at(250));
        assert_eq!(
            batch.ends(),
            Some(at(100) + BATCH * factor),
            "somebody leaves"
        );
        batch.hold_for_deaths(at(300), interval);
        assert_eq!(
            batch.ends(),
            Some(at(300) + limits::REPORTS_PATIENCE * factor)
        );
        batch.hold_for_deaths(at(100 + 1400 * u64::from(factor)), interval);
        assert_eq!(batch.ends(), Some(at(100) + CROWD * factor));
    }
}

/// An agent that leaves waits for its map whatever the beats are.
#[test]
fn where_beats_are_slow_a_departure_does_not_wait() {
    let mut batch = Batch::default();
    batch.hasten(at(100));
    assert_eq!(batch.ends(), Some(at(100) + BATCH));
    batch.ripen(at(200), USUAL * 10);
    batch.close();
    batch.hasten(at(5000));
    assert_eq!(
        batch.ends(),
        Some(at(5000) + BATCH),
        "nor for what another map carried"
    );
}
