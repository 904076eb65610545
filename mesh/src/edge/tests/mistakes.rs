//! How often a healthy subject is probed or reported for nothing: the rates that the docs of the edge
//! name, counted on one edge under virtual time. The seed is fixed: a run is always the same.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

#[derive(Debug, Default)]
struct Counted {
    trains: u32,
    reports: u32,
}

/// A subject that beats for so long, each datagram lost with that chance.
fn watch(hours: u64, lost_per_mille: u32) -> Counted {
    let mut rng = Pcg64Mcg::seed_from_u64(5);
    let mut counted = Counted::default();
    let mut edge = Edge::new(at(0), BEAT);
    let (mut beats, mut sequence) = (at(0), 0);
    let end = at(hours * 3_600_000);
    while beats < end {
        let next = beats + Duration::from_micros(rng.random_range(180_000..=220_000));
        let mut passes =
            |chances: u32| (0..chances).all(|_| rng.random_range(0..1000) >= lost_per_mille);
        while let Some(due) = edge.deadline().filter(|due| *due < next) {
            let action = edge.on_timer(due);
            let begins = matches!(edge.state(), State::Probing { sent: 1, .. });
            counted.trains += u32::from(begins && action == Some(Action::Probe));
            // There and back.
            if action == Some(Action::Probe) && passes(2) {
                edge.on_answer(due);
            }
            if action == Some(Action::Conclude) {
                counted.reports += u32::from(edge.conclude(due, true));
            }
        }
        sequence += 1;
        if passes(1) && edge.on_beat(next, sequence, false) == Some(Action::Conclude) {
            counted.reports += u32::from(edge.conclude(next, true));
        }
        beats = next;
    }
    counted
}

#[test]
fn one_percent_of_loss_costs_a_few_probes_and_no_report() {
    let counted = watch(200, 10);
    println!("200 h at 1 % loss: {counted:?}");
    assert!((1..=17).contains(&counted.trains), "{counted:?}");
    assert_eq!(counted.reports, 0);
}

#[test]
fn ten_percent_are_reported_about_once_an_hour_and_never_more_often_than_computed() {
    let counted = watch(200, 100);
    println!("200 h at 10 % loss: {counted:?}");
    // 126 p^6 (1-p)^5 for each of 18,000 beats an hour, p = 0.1: 1.3 an hour by loss.
    assert!((130..=520).contains(&counted.reports), "{counted:?}");
}
