//! The story of a run, for people.

use anyhow::{Result, bail};
use slotmesh_mesh::identity::MemberId;
use slotmesh_mesh::machine::Event;
use slotmesh_mesh::sim::scenario::{self, Scenario};
use slotmesh_mesh::sim::{NodeId, Record, Simulation};

/// Members named in a line.
const NAMED_MAX: usize = 8;

/// Runs a seed twice, compares, and tells it.
pub fn replay(name: &str, seed: u64, node: Option<u16>, lines: usize) -> Result<bool> {
    let scenario = crate::scenarios::load(name)?;
    let (outcome, simulation) = scenario::run(&scenario, seed)?;
    let (again, _) = scenario::run(&scenario, seed)?;
    if outcome != again {
        bail!(
            "seed {seed} gave {:016x} and then {:016x}: a defect of the simulator",
            outcome.digest,
            again.digest
        );
    }
    println!("{name}: {}", scenario.title);
    let mut told: Vec<(u64, String)> = faults(&scenario, &outcome);
    for record in simulation.events() {
        if node.is_none_or(|node| record.node == NodeId(node))
            && let Some(what) = tell(&simulation, record)
        {
            told.push((record.at.as_micros(), format!("{}: {what}", record.node)));
        }
    }
    for change in simulation.map_changes() {
        let what = format!(
            "* the operator recorded map {}: admitted {}, removed {}, {} slots moved",
            change.epoch,
            nodes(change.admitted.iter().copied()),
            nodes(change.removed.iter().copied()),
            change.slots_moved
        );
        told.push((change.at.as_micros(), what));
    }
    told.sort_by_key(|(at, _)| *at);
    for (at, what) in told.iter().take(lines) {
        println!("{:>12.6} s  {what}", *at as f64 / 1e6);
    }
    if told.len() > lines {
        println!("... {} more lines (--lines, --node)", told.len() - lines);
    }
    crate::run::print(&scenario, &outcome, &simulation);
    println!("twice the same");
    Ok(crate::run::verdict(&outcome))
}

fn faults(scenario: &Scenario, outcome: &scenario::Outcome) -> Vec<(u64, String)> {
    let mut told = Vec::new();
    for fault in &scenario.faults {
        let at = (scenario.settle + fault.at).as_micros();
        let lasts = fault
            .lasts
            .map_or(String::new(), |time| format!(" for {time:?}"));
        let times = if fault.repeat.0 > 1 {
            format!(", {} times", fault.repeat.0)
        } else {
            String::new()
        };
        let what = format!("! {:?} of {:?}{lasts}{times}", fault.trouble, fault.who);
        told.push((u64::try_from(at).unwrap_or(u64::MAX), what));
    }
    if !outcome.faulty.is_empty() {
        told.push((
            0,
            format!(
                "! faulty in this run: {}",
                nodes(outcome.faulty.iter().copied())
            ),
        ));
    }
    told
}

fn tell(simulation: &Simulation, record: &Record) -> Option<String> {
    let name = |id: &MemberId| {
        simulation
            .node_of(id.uid)
            .map_or_else(|| id.to_string(), |node| node.to_string())
    };
    Some(match &record.event {
        Event::MapApplied { epoch } => format!("applies map {epoch}"),
        Event::Verdict { failed, .. } => {
            format!(
                "finds failed: {}",
                nodes(failed.iter().filter_map(|id| simulation.node_of(id.uid)))
            )
        }
        Event::VerdictAwaited { .. } => "waits for more reports".to_owned(),
        Event::VerdictWithdrawn { .. } => "takes its verdict back".to_owned(),
        // Whoever only hears of a report would fill the screen.
        Event::Suspected { observer, subject } => {
            own(simulation, record, observer)?;
            format!("reports {}", name(subject))
        }
        Event::Cleared { observer, subject } => {
            own(simulation, record, observer)?;
            format!("hears {} again", name(subject))
        }
        Event::Leaving { member } => {
            own(simulation, record, member)?;
            "leaves".to_owned()
        }
        Event::Deposed { epoch } => format!("learns from map {epoch} that it was removed"),
        Event::SelfDoubt { on: true } => "hears nobody and doubts itself".to_owned(),
        Event::SelfDoubt { on: false } => "hears somebody again".to_owned(),
        Event::MapConflict { epoch } => format!("ALARM: two maps of epoch {epoch}"),
        _ => return None,
    })
}

fn own(simulation: &Simulation, record: &Record, of: &MemberId) -> Option<()> {
    (simulation.node_of(of.uid) == Some(record.node)).then_some(())
}

fn nodes(nodes: impl Iterator<Item = NodeId>) -> String {
    let all: Vec<String> = nodes.map(|node| node.0.to_string()).collect();
    let shown = all
        .get(..NAMED_MAX.min(all.len()))
        .unwrap_or_default()
        .join(" ");
    match all.len() {
        0 => "nobody".to_owned(),
        more if more > NAMED_MAX => format!("{shown} and {} more", more - NAMED_MAX),
        _ => shown,
    }
}
