//! What a watch that broke has missed.

use super::*;

fn pod(name: &str, uid: &str) -> Pod {
    let mut pod = Pod::default();
    (pod.metadata.name, pod.metadata.uid) = (Some(name.into()), Some(uid.into()));
    pod
}

fn there(name: &str, uid: &str) -> Change {
    Change::There(Arc::new(pod(name, uid)))
}

fn gone(name: &str, uid: &str) -> Change {
    Change::Gone(Arc::new(pod(name, uid)))
}

fn listed(watched: &mut Watched, pods: &[Pod]) -> Vec<Change> {
    assert_eq!(watched.changes(Event::Init), []);
    for pod in pods {
        assert_eq!(watched.changes(Event::InitApply(pod.clone())), []);
    }
    watched.changes(Event::InitDone)
}

#[test]
fn whatever_a_list_lacks_is_gone() {
    let mut watched = Watched::default();
    let first = listed(&mut watched, &[pod("a", "1"), pod("b", "2")]);
    assert_eq!(first, [there("a", "1"), there("b", "2")]);
    let added = watched.changes(Event::Apply(pod("c", "3")));
    assert_eq!(added, [there("c", "3")]);
    // While the watch was broken `b` and `c` went.
    let second = listed(&mut watched, &[pod("a", "1")]);
    assert_eq!(second, [gone("b", "2"), gone("c", "3"), there("a", "1")]);
    // Once.
    assert_eq!(listed(&mut watched, &[pod("a", "1")]), [there("a", "1")]);
}

#[test]
fn who_is_gone_goes_before_the_next_of_its_name_comes() {
    let mut watched = Watched::default();
    listed(&mut watched, &[pod("a", "2")]);
    let again = listed(&mut watched, &[pod("a", "1")]);
    assert_eq!(again, [gone("a", "2"), there("a", "1")]);
}

#[test]
fn a_list_that_broke_off_says_nothing() {
    let mut watched = Watched::default();
    listed(&mut watched, &[pod("a", "1"), pod("b", "2")]);
    watched.changes(Event::Init);
    watched.changes(Event::InitApply(pod("c", "3")));
    let whole = listed(&mut watched, &[pod("a", "1"), pod("b", "2")]);
    assert_eq!(whole, [there("a", "1"), there("b", "2")]);
}

#[test]
fn who_is_deleted_is_not_missed_later() {
    let mut watched = Watched::default();
    listed(&mut watched, &[pod("a", "1"), pod("b", "2")]);
    let deleted = watched.changes(Event::Delete(pod("b", "2")));
    assert_eq!(deleted, [gone("b", "2")]);
    assert_eq!(listed(&mut watched, &[pod("a", "1")]), [there("a", "1")]);
}
