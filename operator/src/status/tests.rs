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
        agent_versions: vec![],
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
         Degraded=False/AsExpected Rebalancing=False/AsExpected Frozen=False/AsExpected"
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
fn a_cell_shows_how_fast_its_map_came_into_force() {
    let milliseconds = |ms| Some(std::time::Duration::from_millis(ms));
    let convergence = crate::seam::MapConvergence {
        epoch: 5,
        members: 40,
        applied: 39,
        half: milliseconds(5),
        ninety_nine_percent: None,
        all: None,
    };
    let mut cell = cell();
    cell.cells = vec![CellBrief {
        name: "sessions-bcdfg".into(),
        epoch: 6,
        members: 40,
        slots: 16_384,
        convergence: Some(convergence),
    }];
    let status = status_of(Some(&cell), None, &Rollout::default());
    let expected = MapConvergence {
        epoch: 5,
        members: 40,
        applied_members: 39,
        half_milliseconds: Some(5),
        ninety_nine_percent_milliseconds: None,
        all_milliseconds: None,
    };
    assert_eq!(status.cells[0].convergence, Some(expected));
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
        ..Rollout::default()
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
        agent_versions: vec![],
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

/// The status of a cluster whose condition `Ready` was last that.
fn after(status: &str, reason: &str, cell: Option<&CellStatus>) -> GossipClusterStatus {
    let mut cluster = GossipCluster::new("sessions", GossipClusterSpec::default());
    let holds = Condition {
        type_: types::READY.into(),
        status: status.into(),
        reason: reason.into(),
        message: "said before".into(),
        observed_generation: None,
        last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
    };
    cluster.status = Some(GossipClusterStatus {
        conditions: vec![holds],
        ..GossipClusterStatus::default()
    });
    let known = Known {
        cell,
        agent_versions: vec![],
        stalled: None,
        rollout: &Rollout::default(),
    };
    build(&cluster, &known, jiff::Timestamp::MAX)
}

#[test]
fn members_are_missing_only_before_the_first_time_all_was_well() {
    let mut cell = cell();
    cell.desired = 2;
    for (status, reason, expected) in [
        ("False", reasons::BOOTSTRAPPING, reasons::MEMBERS_MISSING),
        ("False", reasons::MEMBERS_MISSING, reasons::MEMBERS_MISSING),
        ("True", reasons::ALL_SLOTS_SERVED, reasons::ALL_SLOTS_SERVED),
        ("False", reasons::SLOTS_UNSERVED, reasons::ALL_SLOTS_SERVED),
        ("False", reasons::NO_OWNERS, reasons::ALL_SLOTS_SERVED),
    ] {
        let found = after(status, reason, Some(&cell));
        assert_eq!(condition_of(&found, types::READY).unwrap().reason, expected);
    }
}

/// An operator that starts knows nothing yet, and the mesh went on without it.
#[test]
fn until_the_record_is_read_ready_stays_as_it_was_said() {
    let starting = CellStatus::default();
    for cell in [None, Some(&starting)] {
        for status in ["True", "False"] {
            let found = after(status, reasons::ALL_SLOTS_SERVED, cell);
            let ready = condition_of(&found, types::READY).unwrap();
            assert_eq!(
                (ready.status.as_str(), ready.message.as_str()),
                (status, "said before")
            );
            assert_eq!(ready.last_transition_time.0, jiff::Timestamp::UNIX_EPOCH);
        }
        let found = status_of(cell, None, &Rollout::default());
        assert!(summary(&found).contains("Ready=False/Bootstrapping"));
    }
}

#[test]
fn a_rollout_is_reconciling_and_agents_that_nobody_replaces_are_degraded() {
    let with = |on_delete, unseen, outdated| {
        let rollout = Rollout {
            on_delete,
            agents: Some(Agents {
                unseen,
                outdated,
                current: 1,
            }),
            ..Rollout::default()
        };
        summary(&status_of(Some(&cell()), None, &rollout))
    };
    let quiet = summary(&status_of(Some(&cell()), None, &Rollout::default()));
    assert_eq!(with(false, false, 0), quiet);
    assert_eq!(with(true, false, 0), quiet);
    let rolls = "Reconciling=True/RollingOut";
    assert!(with(false, true, 0).contains(rolls), "not seen yet");
    assert!(with(true, true, 2).contains(rolls), "not seen yet");
    assert!(with(false, false, 2).contains(rolls));
    assert!(with(false, false, 2).contains("Degraded=False"));
    let left = with(true, false, 2);
    assert!(left.contains("Reconciling=False"), "{left}");
    assert!(left.contains("Degraded=True/AgentsOutdated"), "{left}");
}

#[test]
fn a_paused_cluster_says_what_waits() {
    let rollout = Rollout {
        paused_before: vec!["DaemonSet sessions-agent".into()],
        ..Rollout::default()
    };
    let status = status_of(Some(&cell()), None, &rollout);
    let found = condition_of(&status, types::RECONCILING).unwrap();
    assert_eq!(found.reason, reasons::SPEC_NOT_APPLIED);
    assert!(found.message.contains("DaemonSet sessions-agent"));
    assert!(
        found.message.contains(r#"'{"spec":{"paused":false}}'"#),
        "{}",
        found.message
    );
}

#[test]
fn a_plan_that_waits_is_shown_and_a_split_goes_before_it() {
    let mut cell = cell();
    cell.plan = Some(crate::seam::PlanPreview {
        parent_epoch: 5,
        cause: "Drain".into(),
        moves: 2,
        slots: 300,
        field: "balancing.mode",
    });
    let status = status_of(Some(&cell), None, &Rollout::default());
    let plan = status.plan.clone().unwrap();
    assert_eq!(
        (plan.parent_epoch, plan.moves, plan.slots, plan.done_slots),
        (5, 2, 300, 0)
    );
    let found = condition_of(&status, types::REBALANCING).unwrap();
    assert_eq!(found.reason, reasons::PLAN_AWAITING_APPROVAL);
    assert!(found.message.contains("balancing.mode is Preview"));
    cell.splitting = Some("half way".into());
    let status = status_of(Some(&cell), None, &Rollout::default());
    assert!(summary(&status).contains("Rebalancing=True/SplittingCell"));
    cell.plan = None;
    assert_eq!(status_of(Some(&cell), None, &Rollout::default()).plan, None);
}
