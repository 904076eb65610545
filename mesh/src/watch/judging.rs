//! The operator's verdict: evidence comes in, is checked as members check it, and is judged by the same
//! function.

use crate::evidence::{Claim, Evidence};
use crate::machine::Event;
use crate::time::Instant;

use super::Watch;

impl Watch {
    pub(super) fn on_evidence(&mut self, now: Instant, evidence: Vec<Evidence>) {
        let keys = self.keys();
        for item in evidence {
            let grounds = (&**self.signed.map(), &self.graph);
            let vetted = self.budget.vet(now, &item, &self.evidence, grounds, &keys);
            match vetted {
                Ok(true) => self.take_in(item),
                Ok(false) => {}
                Err(error) => self.counters.refuse(error.category()),
            }
        }
        self.judge(now);
    }

    pub(super) fn take_in(&mut self, item: Evidence) {
        match self.evidence.insert(item) {
            Ok(false) => return,
            Ok(true) => self.counters.evidence_received += 1,
            Err(error) => return self.counters.refuse(error.category()),
        }
        let (observer, subject) = item.edge();
        match item.claim {
            Claim::Suspect => self.event(Event::Suspected { observer, subject }),
            Claim::Clear => self.event(Event::Cleared { observer, subject }),
            Claim::Leave => {
                if self.left.insert(subject) {
                    self.event(Event::Leaving { member: subject });
                }
            }
        }
    }

    pub(super) fn judge(&mut self, now: Instant) {
        let operator = self.graph.operator_may_observe();
        let map = self.signed.map();
        let judged = self.judged.on(map, &self.graph, &self.evidence, operator);
        let mut verdict = judged.clone();
        self.caution.restrain(now, map, &mut verdict);
        self.second_look.set(now, &verdict.unclaimed);
        let epoch = self.map().epoch;
        if let Some(event) = self.announced.update(epoch, &verdict.failed) {
            self.counters.verdicts += u64::from(matches!(event, Event::Verdict { .. }));
            self.event(event);
        }
    }
}
