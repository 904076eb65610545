//! What the first map waits for.

use super::*;

#[test]
fn the_first_map_waits_for_all_wanted_or_ten_seconds() {
    let mut life = life();
    assert_eq!(life.propose(at(60_000), 3, 0), Ok(None), "nobody joined");
    life.join(at(1000), candidate(1, 1));
    life.join(at(1100), candidate(2, 2));
    assert_eq!(life.propose(at(5000), 3, 0), Ok(None));
    assert_eq!(life.next_deadline(), Some(at(11_000)));
    assert_eq!(
        life.propose(at(11_000), 3, 0)
            .unwrap()
            .unwrap()
            .map
            .members
            .len(),
        2
    );
    assert_eq!(
        life.propose(at(11_000), 3, 1),
        Ok(None),
        "old pods are still there"
    );
    life.join(at(5100), candidate(3, 3));
    let proposal = life.propose(at(5100), 3, 0).unwrap().unwrap();
    assert_eq!(
        (proposal.map.epoch, proposal.map.served_slots()),
        (1000, 16384)
    );
    assert_eq!(proposal.joined.len(), 3);
}

/// What time alone will not bring is not waited for with a deadline that is over.
#[test]
fn nothing_is_due_while_the_first_map_waits_for_old_pods_or_for_anybody() {
    let mut life = life();
    life.join(at(0), candidate(1, 1));
    assert_eq!(life.next_deadline(), Some(at(10_000)));
    assert!(life.propose(at(10_000), 3, 1).unwrap().is_none());
    assert_eq!(life.next_deadline(), None, "old pods");
    life.withdraw(uid(1), candidate(1, 1).key);
    assert!(life.propose(at(11_000), 3, 0).unwrap().is_none());
    assert_eq!(life.next_deadline(), None, "nobody is left");
    life.join(at(12_000), candidate(2, 2));
    let proposal = life.propose(at(12_000), 3, 0).unwrap();
    assert_eq!(proposal.unwrap().map.members.len(), 1);
}
