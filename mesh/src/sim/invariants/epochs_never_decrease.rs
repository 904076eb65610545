//! The map in force at a node never gets older.
//!
//! A node that went back to an older map would send clients to an owner that gave its slots away. The
//! rule holds across restarts of the process too: a new process starts from the map that admits it,
//! which is newer than every map of the process before it.

use crate::identity::Epoch;
use crate::sim::NodeId;

/// The newest map that each node had.
#[derive(Debug, Default)]
pub struct EpochsNeverDecrease {
    /// By number.
    newest: Vec<(u32, Epoch)>,
}

impl EpochsNeverDecrease {
    /// The map (era, epoch) that is in force at a node.
    ///
    /// # Errors
    /// When a newer one was in force there before.
    pub fn observe(&mut self, node: NodeId, version: (u32, Epoch)) -> Result<(), String> {
        let number = usize::from(node.0);
        if self.newest.len() <= number {
            self.newest.resize(number + 1, (0, 0));
        }
        let Some(newest) = self.newest.get_mut(number) else {
            return Ok(());
        };
        if version < *newest {
            return Err(format!(
                "{node} went back from map {newest:?} to {version:?}"
            ));
        }
        *newest = version;
        Ok(())
    }
}
