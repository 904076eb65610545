//! The rule once more, told the long way, beside [`super::super::sieve`].

use super::*;

/// What the rule looks at.
struct Book<'a> {
    graph: &'a Graph,
    edges: &'a [Edge],
    operator: bool,
    found: BTreeSet<Uid>,
}

impl Book<'_> {
    fn observers(&self, subject: Uid) -> Vec<Uid> {
        let mut all = self.graph.observers(subject).to_vec();
        if self.operator {
            all.push(Uid::NIL);
        }
        all
    }

    fn reports(&self, observer: Uid, subject: Uid) -> bool {
        let is = |(a, b): &Edge| a.uid == observer && b.uid == subject;
        self.edges.iter().any(is)
    }

    fn speaks(&self, member: Uid) -> bool {
        self.edges
            .iter()
            .any(|(observer, _)| observer.uid == member)
    }

    /// Observers that are no witnesses.
    fn mute(&self) -> BTreeSet<Uid> {
        let (mut mute, mut witnesses) = (BTreeSet::new(), 0);
        for member in self.graph.members().filter(|uid| !self.found.contains(uid)) {
            let subjects = self.graph.subjects(member).iter();
            let accused: Vec<&Uid> = subjects.filter(|uid| self.found.contains(uid)).collect();
            if accused.len() < limits::MUTE_SUBJECTS {
                continue;
            }
            if accused
                .iter()
                .any(|subject| self.reports(member, **subject))
            {
                witnesses += 1;
            } else {
                mute.insert(member);
            }
        }
        if mute.len() * limits::WITNESSES_FOR_EACH_MUTE > witnesses {
            mute.clear();
        }
        mute
    }

    /// Reporting, and all, of those observers that count.
    fn count(&self, subject: Uid, mute: &BTreeSet<Uid>) -> (u64, u64) {
        let counts = |o: &Uid| !self.found.contains(o) && !mute.contains(o);
        let outside: Vec<Uid> = self.observers(subject).into_iter().filter(counts).collect();
        let reporting = outside
            .iter()
            .filter(|o| self.reports(**o, subject))
            .count();
        (reporting as u64, outside.len() as u64)
    }

    fn is_unclear(&self, subject: Uid, reporting: u64) -> bool {
        let speaks_of_ten = self.speaks(subject) && self.observers(subject).len() >= 10;
        self.has_few(subject, reporting) || speaks_of_ten && reporting < 4
    }

    fn has_few(&self, subject: Uid, reporting: u64) -> bool {
        let least = [0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3];
        let observers = self.observers(subject).len();
        reporting < least[observers.min(10)]
    }

    fn peel(&mut self) {
        let mut mute = BTreeSet::new();
        for percent in [10_u64, 20, 30, 40, 50, 60, 70] {
            loop {
                if percent > 50 {
                    mute = self.mute();
                }
                let mut weak: Vec<(u64, u64, Uid)> = Vec::new();
                for subject in &self.found {
                    let (r, o) = self.count(*subject, &mute);
                    let by_few = self.speaks(*subject) && self.has_few(*subject, r);
                    if by_few || 100 * r < percent * o {
                        weak.push((r, o, *subject));
                    }
                }
                // In parts of the least common multiple of 1 to 17, so that every share is a whole number.
                let share = |r: u64, o: u64| (r * 12_252_240).checked_div(o).unwrap_or(0);
                let Some(smallest) = weak.iter().map(|(r, o, _)| share(*r, *o)).min() else {
                    break;
                };
                let smallest = weak
                    .into_iter()
                    .filter(|(r, o, _)| share(*r, *o) == smallest);
                for (_, _, subject) in smallest {
                    self.found.remove(&subject);
                }
            }
        }
        let unclear = |uid: &Uid| self.is_unclear(*uid, self.count(*uid, &mute).0);
        let unclear: Vec<Uid> = self.found.iter().copied().filter(unclear).collect();
        self.found.retain(|uid| !unclear.contains(uid));
    }
}

proptest! {
    #[test]
    fn the_rule_told_the_long_way(seed: u64, count in 2_u16..60, with_operator: bool) {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let map = map(count);
        let graph = Graph::of(&map);
        let operator = with_operator && graph.operator_may_observe();
        let edges = if rng.random_range(0..2) == 0 {
            random_edges(&map, &graph, operator, &mut rng)
        } else {
            half::many_dead(&map, &mut rng).1
        };
        let found = edges.iter().map(|(_, subject)| subject.uid).collect();
        let mut book = Book { graph: &graph, edges: &edges, operator, found };
        book.peel();
        let expected = book.found;
        let reports = Reports { edges: edges.clone(), operator: with_operator, ..Reports::default() };
        let verdict = verdict(&map, &graph, &reports);
        let found = verdict.failed.union(&verdict.unclaimed).map(|id| id.uid).collect::<BTreeSet<_>>();
        prop_assert_eq!(&found, &expected);
        let degraded: BTreeSet<Edge> = verdict.degraded.into_iter().collect();
        let peeled: BTreeSet<Edge> = edges
            .into_iter()
            .filter(|(_, subject)| !found.contains(&subject.uid))
            .collect();
        prop_assert_eq!(degraded, peeled);
    }
}
