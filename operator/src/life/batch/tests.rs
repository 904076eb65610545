use std::collections::BTreeSet;

use crate::life::tests::{at, candidate, id, running, step};

#[test]
fn a_crowd_is_listed_at_once_and_a_death_does_not_wait_for_it() {
    let mut life = running(4);
    for n in 5..=8 {
        life.join(at(2000 + u64::from(n - 5) * 250), candidate(n, n));
    }
    assert_eq!(
        life.next_deadline(),
        Some(at(3050)),
        "300 ms after the last"
    );
    life.verdict(at(2800), BTreeSet::from([id(&life, 2)]));
    assert_eq!(life.next_deadline(), Some(at(3050)), "no later");
    let proposal = step(&mut life, 3050);
    assert_eq!((proposal.joined.len(), proposal.failed.len()), (4, 1));

    let mut life = running(4);
    for n in 5..=12 {
        life.join(at(2000 + u64::from(n - 5) * 250), candidate(n, n));
    }
    assert_eq!(life.next_deadline(), Some(at(3500)), "not for ever");
    life.verdict(at(3100), BTreeSet::from([id(&life, 2)]));
    assert_eq!(
        life.next_deadline(),
        Some(at(3400)),
        "nor for long with a death"
    );
}
