//! What the spec wants, as far as it may change while a cell runs.

use slotmesh_api::{Automation, CELL_MEMBERS_MAX_DEFAULT, MAX_UNHEALTHY_PERCENT_DEFAULT};

/// What the spec wants of a running cell; a change restarts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// No new map is made.
    pub paused: bool,
    pub balancing: BalancingSettings,
    pub cells: CellsSettings,
}

/// How slots are divided among owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancingSettings {
    pub mode: Automation,
    /// Above this share of failed members, in percent, nothing is re-homed (1 to 100).
    pub max_unhealthy_percent: u8,
}

impl Default for BalancingSettings {
    fn default() -> Self {
        Self {
            mode: Automation::default(),
            max_unhealthy_percent: u8::try_from(MAX_UNHEALTHY_PERCENT_DEFAULT).unwrap_or(100),
        }
    }
}

/// When a cell is split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellsSettings {
    pub mode: Automation,
    /// Members above which it is split.
    pub max_members: usize,
}

impl Default for CellsSettings {
    fn default() -> Self {
        Self {
            mode: Automation::default(),
            max_members: usize::try_from(CELL_MEMBERS_MAX_DEFAULT).unwrap_or(usize::MAX),
        }
    }
}
