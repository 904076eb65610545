//! What Redis writes, and what it is given to read.
#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn both_ways_to_learn_of_a_failure_are_understood() {
    let (third, other) = (id(3), id(99));
    for said in [
        format!("Marking node {third} as failing (quorum reached)."),
        format!("FAIL message received from {other} about {third}"),
    ] {
        let line = read(&format!("4242:M 02 Jan 1970 00:00:01.250 * {said}")).unwrap();
        assert_eq!(line.said, Said::Failed(vec![3]));
        assert!((line.at - 86_401.25).abs() < 1e-6);
    }
}

#[test]
fn other_lines_say_nothing() {
    let id = id(3);
    for line in [
        format!("4242:M 02 Jan 1970 00:00:01.250 * Clear FAIL state for node {id}: is reachable."),
        "4242:C 02 Jan 1970 00:00:01.250 # Redis is starting".to_owned(),
        "4242:M 02 Jan 1970 00:00:01.250 * Marking node x as failing".to_owned(),
    ] {
        assert_eq!(read(&line), None, "{line}");
    }
}

#[test]
fn every_slot_has_one_owner_and_the_victims_have_none() {
    let text = nodes(7, 25);
    let mut next = 0;
    for line in text.lines().filter(|line| line.contains(" connected ")) {
        let slots = line.rsplit(' ').next().unwrap();
        let (first, last) = slots.split_once('-').unwrap();
        assert_eq!(first.parse::<usize>().unwrap(), next);
        next = last.parse::<usize>().unwrap() + 1;
    }
    assert_eq!(next, SLOTS);
    assert_eq!(text.matches(" connected\n").count(), VICTIMS);
    assert_eq!(text.matches("myself").count(), 1);
}
