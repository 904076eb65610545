//! A record that somebody else wrote or deleted is looked at when the watch shows it, not only when this
//! operator wants to write next.

use std::collections::VecDeque;

use crate::seam::{Kubernetes, RecordVersion};

use super::Cell;

/// The watch lags behind by no more versions than this.
const REMEMBERED: usize = 16;

/// Versions of a record that this operator wrote or read.
#[derive(Debug, Default)]
pub(super) struct OwnVersions {
    versions: VecDeque<String>,
    /// The watch has shown the record.
    shown: bool,
}

impl OwnVersions {
    pub(super) fn extend(&mut self, version: Option<&RecordVersion>) {
        self.versions
            .extend(version.map(|version| version.0.clone()));
        let surplus = self.versions.len().saturating_sub(REMEMBERED);
        self.versions.drain(..surplus);
    }

    /// Whether what the watch shows is somebody else's doing.
    fn is_others_hand(&mut self, shown: Option<&String>) -> bool {
        match shown {
            Some(version) => {
                self.shown = true;
                !self.versions.contains(version)
            }
            None => std::mem::take(&mut self.shown),
        }
    }
}

impl<K: Kubernetes> Cell<K> {
    pub(super) async fn look_at_the_record(&mut self) {
        if self.version.is_none() {
            return;
        }
        let suspicious = {
            let inventory = self.inventory.borrow();
            let shown = inventory.records.get(&self.settings.cell);
            self.own_versions.is_others_hand(shown)
        };
        if suspicious {
            tracing::info!(cluster = %self.settings.cluster, cell = %self.settings.cell, "somebody else wrote or deleted the record: reading it");
            self.load().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_hands_are_told_from_our_own() {
        let mut own = OwnVersions::default();
        own.extend(Some(&RecordVersion("5".into())));
        own.extend(Some(&RecordVersion("7".into())));
        assert!(!own.is_others_hand(None), "the watch lags");
        assert!(!own.is_others_hand(Some(&"5".into())), "it still lags");
        assert!(own.is_others_hand(Some(&"6".into())), "an edit");
        assert!(!own.is_others_hand(Some(&"7".into())));
        assert!(own.is_others_hand(None), "deleted");
        assert!(!own.is_others_hand(None), "once");
    }
}
