//! What a peer was last told of maps, and when: the same is told again only after [`limits::REPAIR_INTERVAL`], so that a
//! lost frame is mended and nobody can have a map sent as often as it likes.

use crate::identity::Epoch;
use crate::limits;
use crate::time::Instant;

/// A map's (era, epoch).
type Version = (u32, Epoch);

/// The last version that was told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told(Option<(Version, Instant)>);

impl Told {
    /// Whether that version is to be told now; then it counts as told.
    pub(crate) fn is_due(&mut self, now: Instant, version: Version) -> bool {
        let recently = |at| now.saturating_since(at) < limits::REPAIR_INTERVAL;
        let again = self
            .0
            .is_some_and(|(told, at)| told == version && recently(at));
        if !again {
            self.note(now, version);
        }
        !again
    }

    /// That version was told.
    pub(crate) fn note(&mut self, now: Instant, version: Version) {
        self.0 = Some((version, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_again_after_a_while_and_another_at_once() {
        let mut told = Told::default();
        let at = |ms| Instant::from_micros(ms * 1000);
        let pause = limits::REPAIR_INTERVAL.as_millis() as u64;
        assert!(told.is_due(at(5), (0, 7)));
        assert!(!told.is_due(at(4 + pause), (0, 7)));
        assert!(told.is_due(at(5 + pause), (0, 7)));
        assert!(told.is_due(at(5 + pause), (1, 7)));
        told.note(at(6 + pause), (1, 8));
        assert!(!told.is_due(at(7 + pause), (1, 8)));
    }
}
