#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_map::fixture::{keypair, map};

use super::*;

fn statement(observer: u16, sequence: u64) -> Evidence {
    let map = map(4);
    let id = |n: u16| map.members[usize::from(n)].id();
    let (signer, key) = (id(observer), keypair(observer));
    Evidence::sign(&map, signer, &[id(3)], false, sequence, &key)
}

const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

#[test]
fn a_few_go_out_at_once() {
    let mut outbox = Outbox::default();
    for observer in 0..3 {
        outbox.hold(at(0), &[statement(observer, 1)], None);
        assert_eq!(outbox.deadline(), Some(at(0)));
        assert_eq!(outbox.take_due(at(0), limits::NEWS_AT_ONCE).len(), 1);
        assert_eq!(outbox.deadline(), None);
    }
}

#[test]
fn where_many_are_reported_news_wait_for_each_other() {
    let many = limits::NEWS_AT_ONCE + 100;
    let due = at(0) + limits::NEWS_PAUSE_EACH * 100;
    let mut outbox = Outbox::default();
    outbox.hold(at(0), &[statement(0, 1)], None);
    assert_eq!(outbox.take_due(at(0), many).len(), 1);
    outbox.hold(at(0), &[statement(0, 2)], None);
    outbox.hold(at(0), &[statement(1, 1)], Some(ConnectionId(7)));
    assert!(outbox.take_due(at(1), many).is_empty());
    // A newer statement of the same signer.
    outbox.hold(at(0), &[statement(0, 3)], None);
    assert_eq!(outbox.deadline(), Some(due));
    let sent = outbox.take_due(due, many);
    let sent: Vec<_> = sent
        .iter()
        .map(|(item, from)| (item.sequence, *from))
        .collect();
    assert_eq!(sent, [(3, None), (1, Some(ConnectionId(7)))]);
}

#[test]
fn nobody_waits_longer_than_the_longest_pause() {
    let mut outbox = Outbox::default();
    outbox.hold(at(0), &[statement(0, 1)], None);
    assert_eq!(outbox.take_due(at(0), limits::MEMBERS_MAX).len(), 1);
    outbox.hold(at(0), &[statement(0, 2)], None);
    assert_eq!(outbox.deadline(), Some(at(0) + limits::NEWS_PAUSE_MAX));
}
