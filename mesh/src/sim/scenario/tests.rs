#![allow(clippy::unwrap_used, clippy::panic)]

mod faults;

use super::*;

const SMALL: &str = "title one of ten crashes\nnodes 10\nrun 6s\nat 1s crash some 1\n\
                     hold all agree within 1500ms\nhold changes at-most 1\nreach suspected verdict\n";

#[test]
fn a_crash_is_agreed_on_and_replays() {
    let scenario = parse(SMALL).unwrap();
    let (outcome, _) = run(&scenario, 3).unwrap();
    assert_eq!(outcome.broken, Vec::<String>::new());
    assert_eq!((outcome.faulty.len(), outcome.removals.len()), (1, 1));
    assert!(
        scenario
            .reach
            .iter()
            .all(|state| outcome.reached.0.contains(state))
    );
    assert!(outcome.traffic_mean > 1000, "{}", outcome.traffic_mean);
    assert_eq!(run(&scenario, 3).unwrap().0, outcome);
    assert_ne!(run(&scenario, 4).unwrap().0.digest, outcome.digest);
}

#[test]
fn promises_can_be_broken() {
    for (promise, says) in [
        ("all agree within 100ms", "never agreed; the slowest after"),
        ("nobody removed", "1 were removed"),
        ("changes at-most 0", "1 changes"),
        ("traffic below 10 bytes-a-second", "bytes a second"),
        ("exactly faulty removed within 10ms", "0 faulty not removed"),
        ("everybody member within 1ms", "not all at the end"),
    ] {
        let scenario = parse(&format!("{SMALL}hold {promise}")).unwrap();
        let (outcome, _) = run(&scenario, 3).unwrap();
        let told = outcome.broken.join("\n");
        assert!(
            told.contains(promise.split(" within").next().unwrap()),
            "{told}"
        );
        assert!(told.contains(says), "{promise}: {told}");
    }
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (text, line, says) in [
        ("title x\nnodes 5\nrum 5s", 3, "`rum` is no statement"),
        ("title x\nnodes five", 2, "`five` is no number"),
        ("title x\nnodes 5\nnodes 6", 3, "`nodes` was given before"),
        ("title x\nnodes 5\nrun 5", 3, "`5` is no time"),
        ("title x\nnodes 5\nrun 9999h", 3, "longer than"),
        ("nodes 5\nrun 5s", 0, "`title` is missing"),
        ("title x\nnodes 0\nrun 5s", 0, "nodes must be"),
        (
            "title x\nnodes 5\nrun 5s\nat 1s crash 9",
            4,
            "no such nodes",
        ),
        (
            "title x\nnodes 5\nrun 5s\nat 9s crash 1",
            4,
            "after the end",
        ),
        (
            "title x\nnodes 5\nrun 5s\nat 1s explode 1",
            4,
            "`explode` is no fault",
        ),
        (
            "title x\nnodes 5\nrun 5s\nat 1s for 2s leave 1",
            4,
            "`for` does not go",
        ),
        (
            "title x\nnodes 5\nrun 5s\nat 1s crash same",
            4,
            "no such nodes",
        ),
        (
            "title x\nnodes 5\nrun 5s\nat 1s lose-in 130% 1",
            4,
            "no share",
        ),
        (
            "title x\nnodes 5\nrun 5s\nat 1s crash 1 2",
            4,
            "`2` is too much",
        ),
        (
            "title x\nnodes 5\nrun 5s\nnetwork loss 1% hue 3",
            4,
            "`hue` says nothing",
        ),
        (
            "title x\nnodes 5\nrun 5s\nat 0s slow 100% 1",
            4,
            "no slower than usual",
        ),
        (
            "title x\nnodes 5\nrun 5s\nhold hands",
            4,
            "`hands` begins no promise",
        ),
        (
            "title x\nnodes 5\nrun 5s\nreach nirvana",
            4,
            "`nirvana` is no state",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(
            error.line == line && error.what.contains(says),
            "{text}: {error}"
        );
    }
    assert!(parse(&"#\n".repeat(LINES_MAX + 1)).is_err());
}

/// Every kind of fault at once: no queue overflows, no epoch goes back, and the run repeats.
#[test]
fn every_fault_can_be_told() {
    let all = "title everything\nnodes 15\nfounders 10\nzones 4\nrun 10s\n\
        network latency 200us jitter 100us loss 1% duplicate 1% reorder 1% line 1000 queue 1000000\n\
        at 0s for 2s every 4s times 2 pause any 10%\nat 0s slow 300% 1-5\nat 0s clock-rate 200 all\n\
        at 1s clock-step 300ms 2\nat 1s replace 3\nat 1s leave 4\nat 1s for 3s crash 5\nat 2s for 1s deaf 6\n\
        at 2s for 1s mute 7\nat 3s for 1s lose-in 80% 8\nat 3s for 1s lose-out 80% same\nat 3s for 1s lose-both 10% 9\n\
        at 4s for 1s cut-off zone 1\nat 4s accuse 10\nat 4s replay 11\nat 4s old-incarnations 12\n\
        at 4s huge-frames 13\nat 4s corrupted-frames 14\nat 4s false-offers 15\nat 4s false-reports 2%\nat 5s for 2s operator-down\nat 7s return 5\n";
    let scenario = parse(all).unwrap();
    let (outcome, _) = run(&scenario, 1).unwrap();
    assert_eq!(run(&scenario, 1).unwrap().0, outcome);
    // Six of fifteen are hostile: they can be the majority of somebody's observers.
    let is_beyond = |it: &&String| !it.starts_with("NoHealthyRemoved");
    let broken: Vec<&String> = outcome.broken.iter().filter(is_beyond).collect();
    assert_eq!(broken, Vec::<&String>::new());
    assert!(outcome.reached.0.contains(&State::Refused("WireKind")));
    assert!(outcome.reached.0.contains(&State::Admitted));
}
