use slotmesh_map::fixture::{keypair, map};

use super::*;

const BEAT: Duration = Duration::from_millis(200);

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn take(budget: &mut Budget, now: Instant, signer: MemberId) -> bool {
    let room = budget.has_room(now, signer, BEAT);
    if room {
        budget.spend(now, signer);
    }
    room
}

fn members() -> [MemberId; 2] {
    let map = map(2);
    [0, 1].map(|n| map.members.get(n).map_or(MemberId::OPERATOR, Member::id))
}

use crate::map::Member;

#[test]
fn a_flood_is_cut_off_and_others_are_not() {
    let [loud, quiet] = members();
    let mut budget = Budget::default();
    let taken = (0..10_000)
        .filter(|ms| take(&mut budget, at(*ms), loud))
        .count();
    let burst = limits::STATEMENTS_BURST as usize;
    let leaked = 10 * usize::from(limits::OBSERVERS_MAX);
    assert!((burst..=burst + leaked + 1).contains(&taken), "{taken}");
    assert!(take(&mut budget, at(10_000), quiet));
}

/// All its subjects fail, clear and fail again, as fast as edges can: nothing is refused.
#[test]
fn an_honest_signer_never_exceeds_it() {
    let [honest, _] = members();
    let mut budget = Budget::default();
    for round in 0..100 {
        // Ten beats at least from the report to the clear.
        let now = at(round * 2_120);
        for _ in 0..2 * limits::OBSERVERS_MAX {
            assert!(take(&mut budget, now, honest), "round {round}");
        }
    }
}

#[test]
fn what_was_spent_is_forgotten_with_the_signer() {
    let [signer, _] = members();
    let mut budget = Budget::default();
    take(&mut budget, at(0), signer);
    budget.retain_for(&map(2), &Graph::of(&map(2)));
    assert_eq!(budget.spent.len(), 1);
    budget.retain_for(&map(0), &Graph::of(&map(0)));
    assert!(budget.spent.is_empty());
}

/// Somebody else's key signs in the name of a member, more often than its budget allows: none of it is the member's.
#[test]
fn nobody_spends_what_is_anothers() -> Result<(), EvidenceError> {
    let (map, [signer, subject]) = (map(2), members());
    let grounds = Grounds {
        map: &map,
        graph: &Graph::of(&map),
        operator: &[],
        interner: None,
    };
    let (mut budget, held) = (Budget::default(), EvidenceStore::default());
    let signed = |sequence, key| {
        let key = keypair(key);
        Evidence::sign(&map, signer, &[subject], false, sequence, &key)
    };
    for sequence in 1..=2 * u64::from(limits::STATEMENTS_BURST) {
        let forged = signed(sequence, 1);
        let vetted = budget.vet(at(0), &forged, &held, grounds);
        assert_eq!(vetted, Err(EvidenceError::BadSignature));
    }
    assert!(budget.vet(at(0), &signed(1, 0), &held, grounds)?);
    Ok(())
}
