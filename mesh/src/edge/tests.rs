use super::*;

const BEAT: Duration = Duration::from_millis(200);

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

/// An edge that heard ten beats, the last of them at 1800 ms.
fn armed() -> Edge {
    let mut edge = Edge::new(at(0), BEAT);
    for beat in 0..10 {
        assert_eq!(edge.on_beat(at(beat * 200), beat as u32, false), None);
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
            Some(Action::Knock) => {}
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
    assert_eq!(edge.silence_deadline(), now + BEAT * 3);
}

#[test]
fn the_report_of_another_is_looked_into_as_soon_as_three_beats_are_missing() {
    let mut edge = armed();
    let shortest = edge.last_arrival() + BEAT * limits::SILENCE_BEATS_MIN;
    edge.deviation = BEAT;
    assert!(edge.silence_deadline() > shortest);
    assert_eq!(edge.on_report_of_another(at(1900)), None, "beats arrive");
    assert_eq!(edge.silence_deadline(), shortest);
    assert_eq!(edge.on_timer(shortest), Some(Action::Probe));
    let looking = edge.on_report_of_another(shortest);
    assert_eq!(looking, None, "already looking");
    let next = shortest + BEAT / 4;
    edge.on_beat(next, 10, false);
    assert_eq!(edge.state(), State::Armed, "hearsay alone is no failure");
    let long = edge.last_arrival() + BEAT * 3;
    assert!(edge.silence_deadline() > long, "forgotten with a beat");
    assert_eq!(
        edge.on_report_of_another(long),
        Some(Action::Probe),
        "silent long enough: at once"
    );
}

#[test]
fn jitter_widens_the_deadline_up_to_five_beats() {
    let mut edge = Edge::new(at(0), BEAT);
    let mut now = 0;
    for beat in 0..60 {
        now += if beat % 2 == 0 { 20 } else { 380 };
        edge.on_beat(at(now), beat, false);
    }
    assert_eq!(edge.silence_deadline(), at(now) + BEAT * 5);
    let calm = armed();
    assert_eq!(calm.silence_deadline(), at(1800) + BEAT * 3);
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
            cleared |= edge.on_beat(now, beat, false) == Some(Action::Clear);
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
    assert_eq!(edge.silence_deadline(), at(60_000) + BEAT * 3);
}

#[test]
fn old_beats_are_ignored() {
    let mut edge = armed();
    let before = edge.deadline();
    assert_eq!(edge.on_beat(at(2000), 3, false), None);
    assert_eq!(edge.deadline(), before);
}

/// Delivers the beats from `from` on, of which every `n`th alone arrives; when it first fails.
fn only_every(edge: &mut Edge, n: u32, from: u32) -> Option<u32> {
    (from..from + 60).find(|beat| {
        let now = at(u64::from(*beat) * 200);
        let timer = edge.deadline().is_some_and(|due| due <= now);
        let timer = timer.then(|| edge.on_timer(now)).flatten();
        // Probes are answered: it is for the loss alone to tell.
        edge.on_answer(now);
        let arrives = beat.is_multiple_of(n);
        let heard = arrives.then(|| edge.on_beat(now, *beat, false)).flatten();
        timer == Some(Action::Conclude) || heard == Some(Action::Conclude)
    })
}

#[test]
fn six_of_ten_missing_fail_an_edge_however_well_it_answers_probes() {
    assert!(only_every(&mut armed(), 3, 10).is_some_and(|beat| beat <= 10 + 10));
    assert_eq!(
        only_every(&mut armed(), 2, 10),
        None,
        "five of ten are enough"
    );
    assert_eq!(only_every(&mut armed(), 1, 10), None);
}

#[test]
fn who_answers_and_never_beats_is_mute() {
    let mut edge = armed();
    let failed = (0..60).find(|tick| {
        let now = at(1800 + tick * 50);
        let action = edge.on_timer(now);
        edge.on_answer(now);
        action == Some(Action::Conclude)
    });
    assert_eq!(failed.map(|tick| tick * 50), Some(1400), "seven beats");
}

#[test]
fn an_overtaken_beat_is_not_lost() {
    let mut edge = armed();
    for three in 4..40_u32 {
        let now = at(u64::from(three) * 600);
        // Three at a time arrive in the wrong order: without those that came late two of three are missing.
        for beat in [2, 1, 0] {
            assert_eq!(edge.on_beat(now, 3 * three + beat, false), None);
        }
    }
}

#[test]
fn what_was_lost_during_a_pause_of_the_observer_is_forgotten() {
    let mut edge = armed();
    edge.forget_silence(at(60_000));
    assert_eq!(edge.on_beat(at(60_010), 300, false), None);
    assert_eq!(edge.delivers(at(60_010)), None, "nothing is known yet");
}

#[test]
fn beats_of_a_connection_that_comes_up_late_are_not_missed() {
    let mut edge = Edge::new(at(0), BEAT);
    edge.on_answer(at(1_500));
    assert_eq!(edge.on_timer(at(1_500)), None);
    assert_eq!(edge.delivers(at(1_500)), None);
    assert_eq!(edge.on_beat(at(1_650), 7, false), None);
    assert_eq!(edge.state(), State::Armed);

    // The same where the answer comes to the first probe.
    let mut edge = Edge::new(at(0), BEAT);
    assert_eq!(edge.on_timer(at(2_000)), Some(Action::Probe));
    edge.on_answer(at(2_010));
    assert_eq!(edge.on_timer(at(2_010)), None);
    // Whoever answers and beats nobody is found all the same.
    assert_eq!(run(&mut edge, at(2_010)).1, Some(Action::Conclude));
}

#[test]
fn of_a_new_edge_it_is_not_known_whether_it_delivers_until_enough_beats_came_or_failed_to() {
    let mut edge = Edge::new(at(0), BEAT);
    assert_eq!(edge.delivers(at(1_000)), None);
    let mut hear = |beat: u32| {
        let now = at(1_000 + 200 * u64::from(beat));
        edge.on_beat(now, beat, false);
        edge.delivers(now)
    };
    let known: Vec<_> = (0..7).map(&mut hear).collect();
    let expected = [None, None, None, None, None, None, Some(true)];
    assert_eq!(known, expected);

    let mut edge = Edge::new(at(0), BEAT);
    edge.on_beat(at(1_000), 0, false);
    edge.on_beat(at(2_000), 5, false);
    assert_eq!(
        edge.delivers(at(2_000)),
        Some(false),
        "four were lost of six"
    );
}

#[test]
fn a_sick_observer_waits_before_it_blames_loss_again() {
    let mut edge = armed();
    let mut concluded = Vec::new();
    for beat in (13..60_u32).step_by(3) {
        let now = at(u64::from(beat) * 200);
        if edge.on_beat(now, beat, false) == Some(Action::Conclude) {
            assert!(!edge.conclude(now, false));
            concluded.push(beat);
        }
    }
    let pauses = concluded
        .iter()
        .zip(concluded.iter().skip(1))
        .map(|(a, b)| b - a);
    assert!(
        concluded.len() > 2 && pauses.min() >= Some(3),
        "{concluded:?}"
    );
    assert_eq!(
        edge.delivers(at(60 * 200)),
        Some(false),
        "and it remembers what was lost"
    );
}

#[test]
fn a_subject_is_deaf_when_three_beats_running_say_so() {
    let mut edge = armed();
    let mut say = |beat: u32, deaf| edge.on_beat(at(u64::from(beat) * 200), beat, deaf);
    for (beat, deaf) in [(10, true), (11, true), (12, false), (13, true), (14, true)] {
        assert_eq!(say(beat, deaf), None, "beat {beat}");
    }
    assert_eq!(say(15, true), Some(Action::Conclude));
    edge.conclude(at(3000), true);
    let clear =
        |edge: &mut Edge, beat: u32, deaf| edge.on_beat(at(u64::from(beat) * 200), beat, deaf);
    for beat in 16..40 {
        assert_eq!(
            clear(&mut edge, beat, true),
            None,
            "deaf beats clear nothing"
        );
    }
    let first = (40..60).find(|beat| clear(&mut edge, *beat, false) == Some(Action::Clear));
    assert_eq!(first, Some(49));
}

#[test]
fn a_late_beat_is_knocked_for_once_and_a_refusal_counts_only_then() {
    let mut edge = armed();
    assert_eq!(edge.on_gone(Gone::Refused), None, "nobody knocked");
    assert_eq!(edge.deadline(), Some(at(1800 + 250)));
    assert_eq!(edge.on_timer(at(2049)), None);
    assert_eq!(edge.on_timer(at(2050)), Some(Action::Knock));
    assert_eq!(edge.on_timer(at(2051)), None, "once");
    let mut alive = edge.clone();
    alive.on_beat(at(2060), 10, false);
    assert_eq!(
        alive.on_gone(Gone::Refused),
        None,
        "a beat came: forged, or late"
    );
    assert_eq!(edge.on_gone(Gone::Refused), Some(Action::Conclude));
    assert!(edge.conclude(at(2051), true));
    assert_eq!(edge.on_gone(Gone::Refused), None, "it is reported already");
}

#[test]
fn a_refusal_is_cleared_by_ten_beats() {
    let mut edge = armed();
    edge.on_timer(at(2050));
    edge.on_gone(Gone::Refused);
    edge.conclude(at(2051), true);
    let clear = (10..40)
        .find(|beat| edge.on_beat(at(u64::from(*beat) * 200), *beat, false) == Some(Action::Clear));
    assert_eq!(clear, Some(19));
}

#[test]
fn a_close_counts_at_once_and_a_restart_when_the_silence_has_lasted() {
    assert_eq!(armed().on_gone(Gone::Closed), Some(Action::Conclude));
    let mut edge = armed();
    assert_eq!(edge.on_gone(Gone::Restarted), None);
    let (concluded, action, probes) = run(&mut edge, at(1800));
    assert_eq!(
        (concluded, action, probes),
        (at(2400), Some(Action::Conclude), 0)
    );
    let mut opening = Edge::new(at(0), BEAT);
    assert_eq!(
        opening.on_gone(Gone::Closed),
        None,
        "it is still to come up"
    );
}

mod mistakes;

/// The short way to an edge's deadline gives what all of them together give.
#[test]
fn the_deadline_is_the_nearest_of_all() {
    for missing in 0_u32..1 << 6 {
        let mut edge = armed();
        let mut last = 0;
        for beat in (1_u32..=6).filter(|beat| missing & 1 << (beat - 1) == 0) {
            edge.on_beat(at(1800 + u64::from(beat) * 200), 9 + beat, false);
            last = beat;
            if edge.state() != State::Armed {
                break;
            }
            let nearest = edge.silence_deadline().min(edge.loss_deadline());
            let nearest = nearest.min(edge.knock_deadline());
            assert_eq!(edge.deadline(), Some(nearest), "{missing:b}, beat {beat}");
        }
        edge.on_answer(at(1800 + u64::from(last) * 200 + 190));
        let nearest = edge.silence_deadline().min(edge.loss_deadline());
        assert_eq!(
            edge.deadline(),
            Some(nearest.min(edge.knock_deadline())),
            "{missing:b}, answered"
        );
    }
}
