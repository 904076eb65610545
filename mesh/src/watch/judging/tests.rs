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
    assert!(!patience.waits(at(240), 3, 7), "no report for a while");
    assert_eq!(patience.deadline(), None);
}

#[test]
fn it_waits_for_nobody_when_most_of_the_reported_are_found() {
    let mut patience = Patience {
        last_report: at(10),
        ..Patience::default()
    };
    assert!(!patience.waits(at(10), 1, 1));
    assert!(!patience.waits(at(10), 3, 6));
    assert!(patience.waits(at(10), 3, 7));
}

#[test]
fn reports_that_never_end_do_not_hold_it_back_for_ever() {
    let mut patience = Patience::default();
    let last = limits::REPORTS_PATIENCE.as_millis() as u64;
    for ms in (0..last).step_by(50) {
        patience.last_report = at(ms);
        assert!(patience.waits(at(ms), 0, 2), "{ms}");
    }
    patience.last_report = at(last);
    assert!(!patience.waits(at(last), 0, 2));
    // Once it is found the next time counts anew.
    assert!(!patience.waits(at(last), 2, 2));
    patience.last_report = at(last + 1);
    assert!(patience.waits(at(last + 1), 0, 2));
}
