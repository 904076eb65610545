#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_api::GossipClusterSpec;

use super::*;
use crate::seam::{Frozen, MemberStatus};
use slotmesh_mesh::identity::Uid;

fn cell() -> CellStatus {
    let member = MemberStatus {
        name: "a".into(),
        uid: Uid::NIL,
        incarnation: 5,
        node: "n".into(),
        failed: false,
        owners: 1,
        slots: 16_384,
    };
    CellStatus {
        epoch: 5,
        wire_version: 1,
        desired: 1,
        members: vec![member],
        served_slots: 16_384,
        phase: CellPhase::Serving,
        ..CellStatus::default()
    }
}

fn status_of(
    cell: Option<&CellStatus>,
    stalled: Option<&Stalled>,
    rollout: &Rollout,
) -> GossipClusterStatus {
    let cluster = GossipCluster::new("sessions", GossipClusterSpec::default());
    let known = Known {
        cell,
        stalled,
        rollout,
    };
    build(&cluster, &known, jiff::Timestamp::UNIX_EPOCH)
}

fn summary(status: &GossipClusterStatus) -> String {
    let shown = |c: &Condition| format!("{}={}/{}", c.type_, c.status, c.reason);
    status
        .conditions
        .iter()
        .map(shown)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn at_rest_everything_but_ready_is_false() {
    let status = status_of(Some(&cell()), None, &Rollout::default());
    assert_eq!(
        summary(&status),
        "Ready=True/AllSlotsServed Reconciling=False/AsExpected Stalled=False/AsExpected \
         Degraded=False/AsExpected Frozen=False/AsExpected"
    );
    assert_eq!(
        (
            status.members,
            status.owners,
            status.served_slots,
            status.epoch
        ),
        (Some(1), Some(1), Some(16_384), Some(5))
    );
}

#[test]
fn each_problem_has_its_condition() {
    let with = |change: fn(&mut CellStatus)| {
        let mut cell = cell();
        change(&mut cell);
        summary(&status_of(Some(&cell), None, &Rollout::default()))
    };
    assert!(with(|c| c.phase = CellPhase::NoOwners).contains("Ready=False/NoOwners"));
    assert!(with(|c| c.served_slots = 9).contains("Ready=False/SlotsUnserved"));
    assert!(with(|c| c.desired = 2).contains("Ready=False/MembersMissing"));
    assert!(
        with(|c| c.phase = CellPhase::Bootstrapping {
            joined: 1,
            wanted: 2
        })
        .contains("Bootstrapping")
    );
    assert!(
        with(|c| c.degraded = Some(Degraded::MembersFailed {
            names: vec!["a".into()]
        }))
        .contains("Degraded=True/MembersFailed")
    );
    assert!(
        with(|c| {
            c.frozen = Some(Frozen {
                cause: FrozenCause::MapConflict,
                message: String::new(),
            });
        })
        .contains("Frozen=True/MapConflict")
    );
    let stalled = Stalled {
        reason: reasons::NAME_CONFLICT,
        message: "x".into(),
    };
    let rollout = Rollout {
        not_applied: Some("x".into()),
        outdated: 0,
    };
    let shown = summary(&status_of(None, Some(&stalled), &rollout));
    assert!(
        shown.contains("Stalled=True/NameConflict")
            && shown.contains("Reconciling=True/SpecNotApplied"),
        "{shown}"
    );
}

#[test]
fn a_condition_that_stays_keeps_its_time() {
    let mut cluster = GossipCluster::new("sessions", GossipClusterSpec::default());
    let cell = cell();
    let rollout = Rollout::default();
    let known = Known {
        cell: Some(&cell),
        stalled: None,
        rollout: &rollout,
    };
    cluster.status = Some(build(&cluster, &known, jiff::Timestamp::UNIX_EPOCH));
    let again = build(&cluster, &known, jiff::Timestamp::MAX);
    assert_eq!(
        Some(again),
        cluster.status,
        "nothing changed, so nothing is written"
    );
}

#[test]
fn members_whose_death_cannot_be_agreed_on_are_no_failover() {
    let degraded = CellStatus {
        degraded: Some(Degraded::NoFailover {
            because: "2 members look dead".into(),
        }),
        ..cell()
    };
    let status = status_of(Some(&degraded), None, &Rollout::default());
    let condition = condition_of(&status, types::DEGRADED).unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("True", reasons::NO_FAILOVER)
    );
    assert_eq!(condition.message, "2 members look dead");
}
