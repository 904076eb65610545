use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::edge::Gone;

const INTERVAL: Duration = Duration::from_millis(200);

fn uid(number: u8) -> Uid {
    Uid::from_bytes([number; 16])
}

fn happen(rng: &mut impl Rng, now: Instant, edge: &mut Edge, sequence: u32) {
    match rng.random_range(0..7) {
        0 | 1 => drop(edge.on_beat(now, sequence, rng.random_range(0..9) == 0)),
        2 => edge.on_answer(now),
        3 => drop(edge.on_timer(now)),
        4 => drop(edge.on_report_of_another(now)),
        5 => drop(edge.on_gone(Gone::Closed)),
        _ => drop(edge.conclude(now, rng.random_range(0..2) == 0)),
    }
}

/// What is remembered is what the edges say themselves, whatever happens to them.
#[test]
fn each_edge_is_due_when_it_says_so() {
    let mut rng = Pcg64Mcg::seed_from_u64(5);
    let (mut edges, mut now, mut most) = (Edges::default(), Instant::ZERO, 0);
    for sequence in 0..20_000 {
        now = now + Duration::from_millis(rng.random_range(0..90));
        let any = uid(rng.random_range(0..16));
        match rng.random_range(0..100) {
            0 => {
                let subjects: Vec<Uid> = (0..10).map(|_| uid(rng.random_range(0..16))).collect();
                edges.lead_to(now, INTERVAL, subjects.iter().copied());
                assert!(subjects.iter().all(|uid| edges.get(*uid).is_some()));
                assert!(edges.iter().all(|(uid, _)| subjects.contains(&uid)));
            }
            1 => {
                let before = edges.len() - usize::from(edges.get(any).is_some());
                edges.retain(|uid| uid != any);
                assert!(edges.get(any).is_none());
                assert_eq!(edges.len(), before, "all others stay");
            }
            2 => edges.forget_silence(now),
            3 => edges.postpone(Duration::from_millis(30)),
            _ => {
                let is_there = edges.get(any).is_some();
                let changed = edges.change(any, |edge| happen(&mut rng, now, edge, sequence));
                assert_eq!(changed.is_some(), is_there);
            }
        }
        let own = |edge: &Edge| edge.deadline();
        assert_eq!(edges.deadline(), edges.values().filter_map(own).min());
        let due = edges
            .iter()
            .filter(|(_, edge)| own(edge).is_some_and(|at| at <= now));
        let due: Vec<Uid> = due.map(|(uid, _)| uid).collect();
        assert_eq!(edges.due(now), due);
        assert!(due.is_sorted());
        most = most.max(due.len());
    }
    assert!(most > 2, "at most {most} were due at once");
}

/// Edges to subjects that stay go on, with all they have heard.
#[test]
fn new_subjects_begin_and_others_go_on() {
    let mut edges = Edges::default();
    edges.lead_to(Instant::ZERO, INTERVAL, [uid(3), uid(1), uid(3)]);
    assert_eq!(edges.len(), 2, "each once");
    let heard = Instant::from_micros(7);
    edges.change(uid(3), |edge| edge.on_answer(heard));
    edges.lead_to(Instant::ZERO, INTERVAL, [uid(2), uid(3)]);
    let heard_at = |number| edges.get(uid(number)).map(Edge::last_arrival);
    assert_eq!(heard_at(3), Some(heard));
    assert_eq!(heard_at(2), Some(Instant::ZERO));
    assert_eq!(heard_at(1), None);
}

#[test]
fn nothing_is_due_where_all_have_failed() {
    let mut edges = Edges::default();
    assert_eq!(edges.deadline(), None);
    edges.lead_to(Instant::ZERO, INTERVAL, [uid(1), uid(2)]);
    for number in [1, 2] {
        edges.change(uid(number), |edge| edge.conclude(Instant::ZERO, true));
    }
    assert_eq!(edges.deadline(), None);
    assert!(edges.due(Instant::from_micros(1 << 60)).is_empty());
    assert_eq!(edges.to_report(&[]).collect::<Vec<_>>(), [uid(1), uid(2)]);
}
