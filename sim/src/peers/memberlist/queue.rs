//! Gossip that waits: what was sent least often goes first, the largest first among equals, and each word is
//! sent a limited number of times. Newer news about the same member replaces older.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::config::retransmit_limit;
use super::word::{PART_OVERHEAD, Subject, Word};

/// Times sent, bytes, age.
type Place = (usize, Reverse<usize>, Reverse<u64>);

/// The words; at most two for each member.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    words: BTreeMap<Place, Word>,
    places: BTreeMap<Subject, Place>,
    newest: u64,
}

impl Queue {
    /// Puts news in, in the place of older news about the same.
    pub fn push(&mut self, word: Word, subject: Subject) {
        self.newest += 1;
        let place = (0, Reverse(word.bytes()), Reverse(self.newest));
        if let Some(old) = self.places.insert(subject, place) {
            self.words.remove(&old);
        }
        self.words.insert(place, word);
    }

    /// What goes into so many bytes.
    pub fn take(&mut self, budget: usize, members: usize) -> Vec<Word> {
        if self.words.is_empty() {
            return Vec::new();
        }
        let (mut used, mut places) = (0, Vec::new());
        for place in self.words.keys() {
            let bytes = place.1.0 + PART_OVERHEAD;
            if used + bytes <= budget {
                used += bytes;
                places.push(*place);
            }
        }
        let limit = retransmit_limit(members);
        let sent = places
            .into_iter()
            .filter_map(|place| self.sent(place, limit));
        sent.collect()
    }

    /// Words that wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    fn sent(&mut self, place: Place, limit: usize) -> Option<Word> {
        let word = self.words.remove(&place)?;
        let subject = self.places.iter().find(|(_, at)| **at == place);
        let subject = subject.map(|(subject, _)| *subject)?;
        let next = (place.0 + 1, place.1, place.2);
        if next.0 < limit {
            self.places.insert(subject, next);
            self.words.insert(next, word.clone());
        } else {
            self.places.remove(&subject);
        }
        Some(word)
    }
}
