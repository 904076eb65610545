use super::*;

const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

#[test]
fn every_second_packet_is_acknowledged_at_once_and_a_single_one_later() {
    let mut acks = Acks::default();
    assert_eq!(acks.receive(at(0), 1), 0);
    assert_eq!(acks.receive(at(1), 1), 1);
    assert_eq!(acks.receive(at(2), 5), 2, "and one is owed");
    assert_eq!(acks.receive(at(200), 1), 1, "that one, long ago");
    assert_eq!(acks.receive(at(400), 1), 1);
}

#[test]
fn what_is_sent_in_time_takes_the_acknowledgement_along() {
    let mut acks = Acks::default();
    assert_eq!(acks.receive(at(0), 1), 0);
    assert_eq!(acks.send(at(24)), 0);
    assert_eq!(acks.receive(at(200), 1), 0, "nothing was owed");
    assert_eq!(acks.send(at(225)), 1, "too late");
    assert_eq!(acks.send(at(226)), 0);
}
