//! The connections of a run, by number.

use std::collections::VecDeque;

use super::connection::Connection;

/// All connections, by number: a number is never used again.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// The first number that is still kept, and all from there on.
    first: u64,
    all: VecDeque<Option<Connection>>,
    /// Whether some may have become useless since the useless were forgotten.
    pub(super) stale: bool,
}

impl Connections {
    pub(super) fn insert(&mut self, connection: Connection) -> u64 {
        self.all.push_back(Some(connection));
        self.stale = true;
        self.first + self.all.len() as u64 - 1
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Connection> {
        self.all.get(self.index(number)?)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Connection> {
        let index = self.index(number)?;
        self.all.get_mut(index)?.as_mut()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        let numbered = (self.first..).zip(&self.all);
        numbered
            .filter(|(_, kept)| kept.is_some())
            .map(|(id, _)| id)
    }

    /// Forgets the others, if there may be any.
    pub(super) fn retain(&mut self, keep: impl Fn(&Connection) -> bool) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        for place in &mut self.all {
            if place.as_ref().is_some_and(|connection| !keep(connection)) {
                *place = None;
            }
        }
        while self.all.front().is_some_and(Option::is_none) {
            self.all.pop_front();
            self.first += 1;
        }
    }
}
