#![allow(clippy::unwrap_used)]

use super::*;

fn object(cluster: &str, cell: &str, version: &str) -> Object {
    serde_json::from_value(serde_json::json!({"metadata": {
        "namespace": "default", "name": cell, "resourceVersion": version,
        "labels": {LABEL_CLUSTER: cluster},
    }}))
    .unwrap()
}

fn name(cluster: &str) -> Name {
    ("default".into(), cluster.into())
}

#[tokio::test]
async fn versions_follow_the_watch_also_over_a_new_listing() {
    let (records, queue) = (Records::default(), Queue::default());
    let events = [
        Event::Init,
        Event::InitApply(object("a", "a-1", "5")),
        Event::InitApply(object("b", "b-1", "6")),
        Event::InitDone,
        Event::Apply(object("a", "a-1", "7")),
        Event::Apply(object("a", "a-2", "8")),
        Event::Delete(object("a", "a-1", "9")),
        // The watch was down; b-1 is gone since.
        Event::Init,
        Event::InitApply(object("a", "a-2", "11")),
        Event::InitDone,
    ];
    let stream = futures::stream::iter(events.map(Ok));
    records.clone().follow(stream, queue.clone()).await;
    let expected = BTreeMap::from([("a-2".to_owned(), "11".to_owned())]);
    assert_eq!(records.of(&name("a")), expected);
    assert_eq!(records.of(&name("b")), BTreeMap::new());
    let named = [queue.next().await, queue.next().await];
    assert!(named.contains(&name("a")) && named.contains(&name("b")));
}
