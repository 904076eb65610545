use super::*;

const BEAT: Duration = Duration::from_millis(200);

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

/// An edge that heard ten beats, the last of them at 1800 ms.
fn armed() -> Edge {
    let mut edge = Edge::new(at(0), BEAT);
    for beat in 0..10 {
        assert_eq!(edge.on_beat(at(beat * 200), beat as u32), None);
    }
    edge
}

/// Runs the timer until something other than a probe is wanted.
fn run(edge: &mut Edge, mut now: Instant) -> (Instant, Option<Action>, u8) {
    let mut probes = 0;
    for _ in 0..20 {
        let Some(deadline) = edge.deadline() else {
            return (now, None, probes);
        };
        now = now.max(deadline);
        match edge.on_timer(now) {
            Some(Action::Probe) => probes += 1,
            other => return (now, other, probes),
        }
    }
    (now, None, probes)
}

#[test]
fn silence_is_probed_three_times_and_then_concluded() {
    let mut edge = armed();
    let (concluded, action, probes) = run(&mut edge, at(1800));
    assert_eq!((action, probes), (Some(Action::Conclude), 3));
    assert_eq!(
        concluded,
        at(1800 + 600 + 120),
        "three beats and the train of probes"
    );
    assert!(edge.conclude(concluded, true));
    assert_eq!(edge.state(), State::Failed);
}

#[test]
fn an_answer_ends_the_probing() {
    let mut edge = armed();
    assert_eq!(edge.on_timer(at(2400)), Some(Action::Probe));
    edge.on_answer(at(2410));
    assert_eq!(edge.state(), State::Armed);
    assert_eq!(edge.on_timer(at(2500)), None);
}

#[test]
fn a_sick_observer_accuses_nobody() {
    let mut edge = armed();
    let (now, _, _) = run(&mut edge, at(1800));
    assert!(!edge.conclude(now, false));
    assert_eq!(edge.state(), State::Armed);
    assert_eq!(edge.deadline(), Some(now + BEAT * 3));
}

#[test]
fn the_report_of_another_is_looked_into_at_once() {
    let mut edge = armed();
    assert_eq!(edge.on_report_of_another(at(1900)), Some(Action::Probe));
    assert_eq!(edge.on_report_of_another(at(1901)), None, "already looking");
    edge.on_beat(at(1950), 10);
    assert_eq!(edge.state(), State::Armed, "hearsay alone is no failure");
}

#[test]
fn jitter_widens_the_deadline_up_to_five_beats() {
    let mut edge = Edge::new(at(0), BEAT);
    let mut now = 0;
    for beat in 0..60 {
        now += if beat % 2 == 0 { 20 } else { 380 };
        edge.on_beat(at(now), beat);
    }
    assert_eq!(edge.deadline(), Some(at(now) + BEAT * 5));
    let calm = armed();
    assert_eq!(calm.deadline(), Some(at(1800) + BEAT * 3));
}

#[test]
fn failed_clears_after_ten_beats_with_at_most_one_lost() {
    for (lost_every, clears) in [(0, true), (11, true), (3, false)] {
        let mut edge = armed();
        let (mut now, _, _) = run(&mut edge, at(1800));
        edge.conclude(now, true);
        let mut cleared = false;
        for beat in 20..32_u32 {
            now = now + BEAT;
            if lost_every > 0 && beat.is_multiple_of(lost_every) {
                continue;
            }
            cleared |= edge.on_beat(now, beat) == Some(Action::Clear);
        }
        assert_eq!(cleared, clears, "every {lost_every}th lost");
    }
}

#[test]
fn a_new_edge_waits_for_its_connection_and_is_probed() {
    let mut edge = Edge::new(at(0), BEAT);
    assert_eq!(edge.on_timer(at(1999)), None);
    let (now, action, probes) = run(&mut edge, at(2000));
    assert_eq!((action, probes), (Some(Action::Conclude), 3));
    assert!(now >= at(2120));
}

/// Whoever beats every two seconds does so because the machines are slow.
#[test]
fn who_beats_slowly_is_judged_slowly() {
    let mut edge = Edge::new(at(0), BEAT * 10);
    assert_eq!(
        edge.on_timer(at(5999)),
        None,
        "three beats, not two seconds"
    );
    let (concluded, _, probes) = run(&mut edge, at(6000));
    assert_eq!((concluded, probes), (at(6000 + 3 * 400), 3));
}

#[test]
fn a_pause_of_the_observer_is_no_silence() {
    let mut edge = armed();
    edge.forget_silence(at(60_000));
    assert_eq!(edge.on_timer(at(60_000)), None);
    assert_eq!(edge.deadline(), Some(at(60_000) + BEAT * 3));
}

#[test]
fn old_beats_are_ignored() {
    let mut edge = armed();
    let before = edge.deadline();
    assert_eq!(edge.on_beat(at(2000), 3), None);
    assert_eq!(edge.deadline(), before);
}
