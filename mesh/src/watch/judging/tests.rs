use super::*;

const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

#[test]
fn a_verdict_waits_while_reports_of_many_more_are_coming() {
    let mut patience = Patience::default();
    assert!(!patience.waits(at(0), 0, 0), "nobody is reported");
    for ms in [0, 50, 140] {
        patience.last_report = at(ms);
        assert!(patience.waits(at(ms), 3, 7), "{ms}");
        assert_eq!(patience.deadline(), Some(at(ms) + limits::REPORTS_QUIET));
    }
    let quiet = at(140) + limits::REPORTS_QUIET;
    assert!(!patience.waits(quiet, 3, 7), "no report for a while");
    assert_eq!(patience.deadline(), None);
}

#[test]
fn it_waits_for_nobody_when_most_of_the_reported_are_found_or_few_are_not() {
    let mut patience = Patience {
        last_report: at(10),
        ..Patience::default()
    };
    assert!(!patience.waits(at(10), 1, 1));
    assert!(!patience.waits(at(10), 1, 3));
    assert!(patience.waits(at(10), 1, 4));
    assert!(!patience.waits(at(10), 30, 40));
    assert!(patience.waits(at(10), 30, 41));
}

#[test]
fn reports_that_never_end_do_not_hold_it_back_for_ever() {
    let mut patience = Patience::default();
    let last = limits::REPORTS_PATIENCE.as_millis() as u64;
    for ms in (0..last).step_by(50) {
        patience.last_report = at(ms);
        assert!(patience.waits(at(ms), 0, 3), "{ms}");
    }
    patience.last_report = at(last);
    assert!(!patience.waits(at(last), 0, 3));
    // Once it is found the next time counts anew.
    assert!(!patience.waits(at(last), 3, 3));
    patience.last_report = at(last + 1);
    assert!(patience.waits(at(last + 1), 0, 3));
}
