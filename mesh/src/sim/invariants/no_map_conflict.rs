//! Nobody sees two maps of one epoch: the operator signs one.
//!
//! A conflict is an alarm after which no map is taken in any more. Whoever could raise it without the operator's key could
//! stop a cell.

use crate::machine::Event;
use crate::sim::NodeId;

/// Needs to remember nothing.
#[derive(Debug)]
pub struct NoMapConflict;

impl NoMapConflict {
    /// A machine tells something.
    ///
    /// # Errors
    /// When it is the alarm.
    pub fn observe(node: NodeId, event: &Event) -> Result<(), String> {
        match event {
            Event::MapConflict { epoch } => Err(format!("{node} saw two maps of epoch {epoch}")),
            _ => Ok(()),
        }
    }
}
