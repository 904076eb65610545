use super::*;

const PEER: Uid = Uid::from_bytes([1; 16]);

#[test]
fn the_pause_doubles_until_a_dial_leads_somewhere() {
    let (mut dials, mut now) = (Dials::default(), Instant::ZERO);
    let mut pause = limits::REDIAL_MIN;
    for _ in 0..10 {
        assert!(dials.may_begin(now, PEER));
        dials.begin(now, PEER);
        assert!(!dials.may_begin(now, PEER), "one at a time");
        dials.rest(now, PEER);
        let almost = now + (pause - Duration::from_micros(1));
        assert!(dials.rests(almost, PEER) && !dials.may_begin(almost, PEER));
        now = now + pause;
        assert!(!dials.rests(now, PEER));
        pause = (pause * 2).min(limits::REDIAL_MAX);
    }
    assert_eq!(pause, limits::REDIAL_MAX);
    dials.connected(PEER);
    dials.rest(now, PEER);
    assert!(dials.may_begin(now + limits::REDIAL_MIN, PEER));
}

#[test]
fn a_dial_that_takes_long_or_failed_just_now_is_unanswered() {
    let mut dials = Dials::default();
    dials.begin(Instant::ZERO, PEER);
    let patience = Instant::ZERO + limits::DIAL_PATIENCE;
    let soon = patience - Duration::from_micros(1);
    assert!(!dials.is_unanswered(soon, PEER));
    assert_eq!(dials.unanswered(soon), 0);
    assert!(dials.is_unanswered(patience, PEER));
    assert_eq!(dials.unanswered(patience), 1);
    dials.rest(patience, PEER);
    assert!(dials.is_unanswered(patience, PEER));
    assert!(!dials.is_unanswered(patience + limits::REDIAL_MIN, PEER));
    dials.retain(|uid| uid != PEER);
    assert!(dials.0.is_empty());
}
