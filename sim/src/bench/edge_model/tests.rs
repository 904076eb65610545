use super::*;

fn after(beats: &str) -> Edge {
    let lost = beats.chars().map(|beat| beat == 'x');
    lost.fold(Edge::FRESH, |edge, lost| edge.next(lost, false))
}

#[test]
fn six_of_ten_lost_fail_an_edge_and_five_do_not() {
    assert!(!after("xx.xx.x...").is_failed());
    assert!(after("xx.xx.x..x").is_failed());
    assert!(
        !after("x.xx.xx.....x").is_failed(),
        "the first is forgotten"
    );
}

#[test]
fn three_running_fail_it_only_if_no_probe_is_answered() {
    let two = after("....xx");
    assert!(!two.next(true, false).is_failed());
    assert!(two.next(true, true).is_failed());
    assert!(!after("....x").next(true, true).is_failed());
}

#[test]
fn ten_beats_with_at_most_one_lost_clear_it() {
    let heard = |edge: Edge, beats| (0..beats).fold(edge, |edge, _| edge.next(false, false));
    let nine = heard(Edge::FAILED, 9);
    assert!(nine.is_failed());
    assert_eq!(nine.next(false, false), Edge::FRESH);
    assert_eq!(
        heard(heard(Edge::FAILED, 4).next(true, false), 5),
        Edge::FRESH
    );
    let two_lost = heard(Edge::FAILED, 4).next(true, false).next(true, false);
    assert_eq!(two_lost, Edge::FAILED);
}

/// What is solved is what happens: the share of time in which an edge is failed, by both ways.
#[test]
fn the_balance_is_what_a_long_run_comes_to() {
    let mut rng = Pcg64Mcg::seed_from_u64(1);
    for loss in [0.2, 0.3] {
        let (silent, mut edge, mut failed) = (chance_of_no_answer(loss), Edge::FRESH, 0);
        let beats = 300_000;
        for _ in 0..beats {
            edge = edge.next(happens(&mut rng, loss), happens(&mut rng, silent));
            failed += u32::from(edge.is_failed());
        }
        let (counted, solved) = (f64::from(failed) / f64::from(beats), balance(loss).failed);
        assert!(
            (counted / solved - 1.0).abs() < 0.1,
            "{counted} and {solved} at {loss}"
        );
    }
}

#[test]
fn more_loss_removes_more() {
    let rates = [0.05, 0.1, 0.2].map(removals_per_beat_at_most);
    assert!(rates[0] > 0.0 && rates[0] < rates[1] && rates[1] < rates[2]);
}
