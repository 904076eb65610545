//! Whom to ask next: the operators in turn, and at once the one that another pointed to.

use std::net::SocketAddr;

/// Signposts that are followed in a row; then the usual pause comes first. Two operators that point to
/// each other hold nobody up.
const HOPS_MAX: usize = 3;

/// The way to the leader.
#[derive(Debug, Default)]
pub(crate) struct Route {
    turn: usize,
    hops: usize,
    pointed_to: Option<SocketAddr>,
}

impl Route {
    /// Whom to ask: where a signpost points to, else the operators in turn, beginning with the one that
    /// the mesh named. None when there is nobody.
    pub(crate) fn next(
        &mut self,
        named: Option<SocketAddr>,
        trusted: &[SocketAddr],
    ) -> Option<SocketAddr> {
        if let Some(leader) = self.pointed_to.take() {
            return Some(leader);
        }
        let others = trusted.iter().filter(|address| Some(**address) != named);
        let all: Vec<SocketAddr> = named.into_iter().chain(others.copied()).collect();
        let next = all.get(self.turn.checked_rem(all.len())?).copied();
        self.turn = self.turn.wrapping_add(1);
        next
    }

    /// An operator does not lead. Whether to ask the one that it points to at once.
    pub(crate) fn follow(&mut self, leader: Option<SocketAddr>) -> bool {
        let Some(leader) = leader.filter(|_| self.hops < HOPS_MAX) else {
            self.hops = 0;
            return false;
        };
        self.hops += 1;
        self.pointed_to = Some(leader);
        true
    }

    /// Something else went wrong: what was pointed to leads nowhere.
    pub(crate) fn start_over(&mut self) {
        self.hops = 0;
        self.pointed_to = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 7401))
    }

    #[test]
    fn operators_take_turns_the_one_that_the_mesh_named_first() {
        let mut route = Route::default();
        let asked: Vec<_> = (0..4)
            .map(|_| route.next(Some(at(3)), &[at(1), at(3)]))
            .collect();
        assert_eq!(asked, [3, 1, 3, 1].map(|n| Some(at(n))));
        assert_eq!(Route::default().next(None, &[]), None);
        assert_eq!(Route::default().next(None, &[at(1)]), Some(at(1)));
    }

    #[test]
    fn a_signpost_is_followed_a_few_times_in_a_row() {
        let mut route = Route::default();
        assert!(!route.follow(None), "it does not know who leads");
        for n in 1..=3 {
            assert!(route.follow(Some(at(n))));
            assert_eq!(route.next(None, &[at(9)]), Some(at(n)));
        }
        assert!(!route.follow(Some(at(1))), "round and round");
        assert_eq!(route.next(None, &[at(9)]), Some(at(9)));
        assert!(route.follow(Some(at(1))), "after a pause again");
        route.start_over();
        assert_eq!(route.next(None, &[at(9)]), Some(at(9)));
    }
}
