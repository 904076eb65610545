//! A process stands still, and goes on.

use super::*;

/// While it stood still it was found failed; it learns so, and comes back by joining again.
#[test]
fn a_member_that_slept_is_removed_and_comes_back() {
    for members in [3, 5, 10, 30] {
        let mut simulation = settled(13, members);
        let sleeper = NodeId(1);
        let before = simulation.member_id(sleeper).unwrap();
        simulation.inflict(&Fault::Pause(sleeper));
        simulation.run_for(Duration::from_secs(5));
        assert_eq!(simulation.map_changes().len(), 1, "n = {members}");
        assert_eq!(simulation.map_changes()[0].removed, [sleeper]);

        simulation.inflict(&Fault::Resume(sleeper));
        let back =
            |simulation: &Simulation| simulation.member_id(sleeper).is_some_and(|id| id != before);
        let took = simulation.run_until(Duration::from_secs(15), back);
        println!("n = {members}: a member again {took:?} after it woke");
        assert!(took.is_some(), "n = {members}");
        simulation.run_for(Duration::from_secs(35));
        assert_eq!(simulation.map_changes().len(), 2, "n = {members}");
        assert_sound(&simulation);
    }
}

/// Shorter than the detection time: nobody noticed, and the sleeper blames nobody.
#[test]
fn a_nap_goes_unnoticed() {
    for seed in 0..20 {
        let mut simulation = settled(seed, 10);
        simulation.inflict(&Fault::Pause(NodeId(1)));
        simulation.run_for(Duration::from_millis(350));
        simulation.inflict(&Fault::Resume(NodeId(1)));
        simulation.run_for(Duration::from_secs(5));
        assert_eq!(verdicts(&simulation), [], "seed {seed}");
        assert!(simulation.map_changes().is_empty());
        assert_sound(&simulation);
    }
}
