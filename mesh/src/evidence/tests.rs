#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use slotmesh_map::fixture::{keypair, map};

fn id(map: &Map, n: u16) -> MemberId {
    map.members[usize::from(n)].id()
}

fn suspect(map: &Map, observer: u16, subjects: &[u16], sequence: u64) -> Evidence {
    let subjects: Vec<MemberId> = subjects.iter().map(|n| id(map, *n)).collect();
    let (signer, key) = (id(map, observer), keypair(observer));
    Evidence::sign(map, signer, &subjects, false, sequence, &key)
}

/// Whom it reports.
fn reports(evidence: &Evidence, graph: &Graph) -> Vec<MemberId> {
    let places = evidence.reports(graph).into_iter();
    places.map(|place| graph.at(place).unwrap()).collect()
}

fn grounds<'a>(map: &'a Map, graph: &'a Graph, operator: &'a [PublicKey]) -> Grounds<'a> {
    Grounds {
        map,
        graph,
        operator,
        interner: None,
    }
}

#[test]
fn only_sound_evidence_passes() {
    let map = map(4);
    let graph = Graph::of(&map);
    let check = |evidence: &Evidence| evidence.check(grounds(&map, &graph, &[]));
    let good = suspect(&map, 0, &[1], 1);
    assert_eq!(check(&good), Ok(()));

    let mut other_cell = map.clone();
    other_cell.cell = "other".into();
    assert_eq!(
        good.check(grounds(&other_cell, &graph, &[])),
        Err(EvidenceError::BadSignature)
    );
    let forged = |change: fn(&mut Evidence)| {
        let mut evidence = good.clone();
        change(&mut evidence);
        evidence
    };
    for evidence in [
        forged(|it| it.sequence = 2),
        forged(|it| it.epoch += 1),
        forged(|it| it.leaves = true),
        forged(|it| it.reported.clear()),
        forged(|it| it.reported.push(Tag([0; 4]))),
        Evidence {
            signer: id(&map, 2),
            ..good.clone()
        },
    ] {
        assert_eq!(check(&evidence), Err(EvidenceError::BadSignature));
    }

    let mut without = map.clone();
    without.members.remove(0);
    assert_eq!(
        good.check(grounds(&without, &Graph::of(&without), &[])),
        Err(EvidenceError::UnknownSigner)
    );
    let mut restarted = map.clone();
    restarted.members[0].incarnation = 99;
    assert_eq!(
        good.check(grounds(&restarted, &graph, &[])),
        Err(EvidenceError::UnknownSigner)
    );
}

#[test]
fn the_operator_reports_in_small_cells_only_and_never_leaves() {
    let operator = keypair(500);
    let signed = |map: &Map, leaves| {
        Evidence::sign(map, MemberId::OPERATOR, &[id(map, 0)], leaves, 1, &operator)
    };
    for (members, expected) in [(3, Ok(())), (4, Err(EvidenceError::NotAnObserver))] {
        let map = map(members);
        let graph = Graph::of(&map);
        let check =
            |evidence: &Evidence| evidence.check(grounds(&map, &graph, &[operator.public()]));
        assert_eq!(check(&signed(&map, false)), expected);
        assert_eq!(
            check(&signed(&map, true)),
            Err(EvidenceError::NotAnObserver)
        );
    }
    let map = map(3);
    assert_eq!(
        signed(&map, false).check(grounds(&map, &Graph::of(&map), &[keypair(501).public()])),
        Err(EvidenceError::BadSignature)
    );
}

#[test]
fn of_those_named_only_subjects_count_as_they_are_now() {
    let mut map = map(30);
    let graph = Graph::of(&map);
    let number = |uid| map.members.iter().position(|m| m.uid == uid).unwrap() as u16;
    let subjects: Vec<u16> = graph
        .subjects(id(&map, 0).uid)
        .iter()
        .map(|uid| number(*uid))
        .collect();
    let stranger = (1..30).find(|n| !subjects.contains(n)).unwrap();
    let named = [subjects[0], stranger, subjects[1], 0];
    let evidence = suspect(&map, 0, &named, 1);
    let mut expected = [subjects[0], subjects[1]].map(|n| id(&map, n));
    expected.sort();
    assert_eq!(reports(&evidence, &graph), expected);
    // A process that restarted is another subject.
    map.members[usize::from(subjects[0])].incarnation = 99;
    assert_eq!(
        reports(&evidence, &Graph::of(&map)),
        [id(&map, subjects[1])]
    );
}

#[test]
fn nobody_reports_who_is_listed_as_failed() {
    let operator = keypair(500);
    let mut map = map(3);
    let subject = id(&map, 1);
    let by_operator = Evidence::sign(&map, MemberId::OPERATOR, &[subject], false, 1, &operator);
    let by_member = suspect(&map, 0, &[1], 1);
    for evidence in [&by_operator, &by_member] {
        assert_eq!(reports(evidence, &Graph::of(&map)), [subject]);
    }
    map.members[1].failed = true;
    for evidence in [&by_operator, &by_member] {
        assert_eq!(reports(evidence, &Graph::of(&map)), []);
    }
}

#[test]
fn no_more_are_named_than_a_frame_may() {
    let map = map(40);
    let all: Vec<u16> = (1..40).collect();
    assert_eq!(suspect(&map, 0, &all, 1).reported.len(), limits::TAGS_MAX);
}

#[test]
fn golden_evidence() {
    let evidence = suspect(&map(3), 0, &[1], 7);
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(evidence.reported[0].as_bytes()), "9eeb0ca7");
    assert_eq!(
        hex(&evidence.signature.as_bytes()[..16]),
        "3de496f7961ed222dbff0bbbceb1fc5b"
    );
}
