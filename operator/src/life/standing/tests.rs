#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::life::tests::*;

fn fate(life: &Life, n: u8, now: u64) -> Fate {
    life.standing(life.map().unwrap(), at(now)).fate(uid(n))
}

#[test]
fn what_was_heard_decides() {
    let mut life = running(4);
    assert_eq!(fate(&life, 1, 2000), Fate::Stays);
    die(&mut life, 2000, [1]);
    assert_eq!(fate(&life, 1, 2000), Fate::Dead);
    let leaver = id(&life, 2);
    life.leave(at(2000), leaver);
    assert_eq!(fate(&life, 2, 2000), Fate::Goes);
    life.join(at(2000), candidate(1, 101));
    assert_eq!(fate(&life, 1, 2000), Fate::Stays, "it is back");
}

#[test]
fn a_pod_without_a_word_is_awaited_a_minute_and_not_where_nobody_wants_it() {
    let mut life = running(4);
    life.pod_gone(at(2000), uid(1));
    let until = at(62_000);
    assert_eq!(
        fate(&life, 1, 3000),
        Fate::Awaited { until },
        "the DaemonSet is not known"
    );
    assert_eq!(fate(&life, 1, 62_000), Fate::Missing);
    let others = [(2, 2, true), (3, 3, true), (4, 4, true)];
    life.set_inventory(at(3000), &inventory(4, &others));
    assert_eq!(fate(&life, 1, 3000), Fate::Awaited { until });
    life.set_inventory(at(3000), &inventory(3, &others));
    assert_eq!(fate(&life, 1, 3000), Fate::Goes);
    let replaced = [(2, 2, true), (3, 3, true), (4, 4, true), (9, 1, true)];
    life.set_inventory(at(3000), &inventory(4, &replaced));
    assert_eq!(
        fate(&life, 1, 3000),
        Fate::Awaited { until },
        "it is on its way"
    );
    assert_eq!(fate(&life, 1, 62_000), Fate::Overdue);
    life.join(at(4000), successor(9, 1));
    assert_eq!(fate(&life, 1, 62_000), Fate::Succeeded);
}

#[test]
fn the_share_is_exceeded_by_more_than_it_and_more_than_one() {
    let standing = |members: u8| {
        let life = running(members);
        life.standing(life.map().unwrap(), at(2000))
    };
    let ten = standing(10);
    assert!(!ten.exceeds(4, 40) && ten.exceeds(5, 40));
    assert!(!standing(2).exceeds(1, 40) && standing(2).exceeds(2, 40));
    assert!(!ten.exceeds(10, 100), "with 100 nothing is too much");
}
