//! One status out of those of all cells.

use crate::seam::{CellPhase, CellStatus};

/// Counts add up; of what can be told once only, the first cell's word is told.
pub(super) fn merge(cells: Vec<CellStatus>, splitting: Option<String>) -> CellStatus {
    let phase = cells
        .iter()
        .map(|cell| &cell.phase)
        .max_by_key(|phase| rank(phase));
    let mut merged = CellStatus {
        phase: phase.cloned().unwrap_or_default(),
        splitting,
        ..CellStatus::default()
    };
    for cell in cells {
        merged.era = merged.era.max(cell.era);
        merged.epoch = merged.epoch.max(cell.epoch);
        merged.wire_version = match merged.wire_version {
            0 => cell.wire_version,
            version => version.min(cell.wire_version),
        };
        // Of the whole cluster, in each of them.
        merged.desired = cell.desired;
        merged.failed += cell.failed;
        merged.served_slots += cell.served_slots;
        merged.members.extend(cell.members);
        merged.cells.extend(cell.cells);
        merged.degraded = merged.degraded.or(cell.degraded);
        let causes = [merged.frozen.take(), cell.frozen].into_iter().flatten();
        merged.frozen = causes.min_by_key(|frozen| frozen.cause);
        merged.plan = merged.plan.or(cell.plan);
        merged.forbidden = merged.forbidden.or(cell.forbidden);
        merged.slot_totals.inherited += cell.slot_totals.inherited;
        merged.slot_totals.changed_node += cell.slot_totals.changed_node;
        let at = |change: &Option<crate::seam::Change>| change.as_ref().map(|it| it.recorded_at);
        if at(&cell.last_change) > at(&merged.last_change) {
            merged.last_change = cell.last_change;
        }
    }
    merged.members.sort_by(|a, b| a.name.cmp(&b.name));
    merged.cells.sort_by(|a, b| a.name.cmp(&b.name));
    merged
}

/// What is least well is told.
fn rank(phase: &CellPhase) -> u8 {
    match phase {
        CellPhase::Serving => 0,
        CellPhase::Starting => 1,
        CellPhase::Bootstrapping { .. } => 2,
        CellPhase::WaitingForOldPods { .. } => 3,
        CellPhase::NoOwners => 4,
    }
}
