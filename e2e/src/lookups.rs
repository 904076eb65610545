//! Look-ups that go on while a story plays: an application asks every agent many times a second who owns
//! a key, and each answer is counted.

mod nodes;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nodes::NodeAgents;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::http::Asker;
use crate::stage::{Agent, Location, Stage};

/// On each agent, unless a story wants more.
const PER_SECOND: u32 = 20;
/// Keys that are asked for in turn, so that every owner has its share.
const KEYS: u32 = 100;
/// How long an answer may go on to name an owner that has died.
pub const GRACE: Duration = Duration::from_secs(2);

/// Look-ups under way. Dropping them ends them.
#[derive(Debug)]
pub struct LookUps {
    orders: watch::Sender<Orders>,
    tasks: Vec<JoinHandle<Tally>>,
}

/// What askers are told while they ask.
#[derive(Clone, Debug, Default)]
struct Orders {
    stop: bool,
    /// Owners that died (UIDs of pods), and when.
    deaths: BTreeMap<String, Instant>,
}

/// Whom an application asks.
enum Asked {
    /// Always this one.
    Agent(Agent),
    /// Whichever serves this node now.
    Node(String, NodeAgents),
}

/// What came of look-ups.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers.
    pub answers: u64,
    /// Look-ups without an answer.
    pub errors: u64,
    /// The first complaint.
    pub complaint: Option<String>,
    /// Longest time between two answers of one agent.
    pub longest_gap: Duration,
    /// Lowest and highest epoch that an answer named.
    pub epochs: Option<(u64, u64)>,
    /// Answers that named an owner dead for longer than [`GRACE`].
    pub late: u64,
    /// Longest time that an owner was named after its death.
    pub longest_dead: Duration,
}

impl LookUps {
    /// Starts to ask these agents.
    #[must_use]
    pub fn start<'a>(agents: impl IntoIterator<Item = &'a Agent>) -> Self {
        Self::start_at(PER_SECOND, agents)
    }

    /// The same, so many a second on each agent.
    #[must_use]
    pub fn start_at<'a>(per_second: u32, agents: impl IntoIterator<Item = &'a Agent>) -> Self {
        let asked = agents.into_iter().cloned().map(Asked::Agent);
        Self::begin(per_second, asked)
    }

    /// Starts to ask on each of these nodes, so many times a second, whichever agent of the cluster serves
    /// the node at that moment, as the node-local Service would.
    #[must_use]
    pub fn start_on(per_second: u32, stage: &Stage, cluster: &str, nodes: &[String]) -> Self {
        let agents = NodeAgents::watch(stage, cluster);
        let asked = nodes.iter();
        let asked = asked.map(|node| Asked::Node(node.clone(), agents.clone()));
        Self::begin(per_second, asked)
    }

    fn begin(per_second: u32, asked: impl Iterator<Item = Asked>) -> Self {
        let pause = Duration::from_secs(1) / per_second.max(1);
        let (orders, _) = watch::channel(Orders::default());
        let tasks = asked
            .map(|asked| tokio::spawn(ask(asked, pause, orders.subscribe())))
            .collect();
        Self { orders, tasks }
    }

    /// An owner dies now: whoever names it later is counted.
    pub fn died(&self, owner: &Agent) {
        let uid = owner.uid.clone();
        self.orders.send_modify(|orders| {
            orders.deaths.insert(uid, Instant::now());
        });
    }

    /// Ends them; what came of all together.
    ///
    /// # Errors
    /// When a task panicked.
    pub async fn stop(mut self) -> Result<Tally> {
        self.orders.send_modify(|orders| orders.stop = true);
        let mut all = Tally::default();
        for task in self.tasks.drain(..) {
            all.add(task.await?);
        }
        Ok(all)
    }
}

impl Drop for LookUps {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Tally {
    /// Every look-up must have been answered, and there must have been some.
    ///
    /// # Errors
    /// When one was not, with the first complaint.
    pub fn ensure_served(&self) -> Result<()> {
        ensure!(
            self.errors == 0,
            "{} of {} look-ups were not answered; the first: {}",
            self.errors,
            self.answers + self.errors,
            self.complaint.as_deref().unwrap_or("no reason")
        );
        ensure!(self.answers > 0, "nobody was asked");
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.errors += other.errors;
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        self.complaint = self.complaint.take().or(other.complaint);
        self.late += other.late;
        self.longest_dead = self.longest_dead.max(other.longest_dead);
        if let Some((low, high)) = other.epochs {
            self.saw(low);
            self.saw(high);
        }
    }

    fn answered(&mut self, answer: &Location, deaths: &BTreeMap<String, Instant>) {
        self.answers += 1;
        self.saw(answer.epoch);
        if let Some(died) = deaths.get(&answer.owner.uid) {
            let dead_for = died.elapsed();
            self.longest_dead = self.longest_dead.max(dead_for);
            self.late += u64::from(dead_for > GRACE);
        }
    }

    fn saw(&mut self, epoch: u64) {
        let (low, high) = self.epochs.unwrap_or((epoch, epoch));
        self.epochs = Some((low.min(epoch), high.max(epoch)));
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} look-ups answered, {} not; the longest gap between two answers of one agent {:.2} s",
            self.answers,
            self.errors,
            self.longest_gap.as_secs_f64()
        )?;
        match &self.complaint {
            Some(first) => write!(f, "; the first complaint: {first}"),
            None => Ok(()),
        }
    }
}

impl Asked {
    async fn locate(&mut self, asker: &Asker, key: &str) -> Result<Location> {
        match self {
            Self::Agent(agent) => agent.locate_by(asker, key).await,
            Self::Node(node, agents) => agents.of(node)?.locate_by(asker, key).await,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Agent(agent) => &agent.name,
            Self::Node(node, _) => node,
        }
    }
}

async fn ask(mut asked: Asked, pause: Duration, mut orders: watch::Receiver<Orders>) -> Tally {
    let mut tally = Tally::default();
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if let Asked::Node(_, agents) = &mut asked {
        agents.known().await;
    }
    let mut last = Instant::now();
    let asker = Asker::default();
    for number in 0_u32.. {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = orders.wait_for(|orders| orders.stop) => break,
        }
        // A question under way is waited for: its failure counts too.
        let key = format!("user:{}", number % KEYS);
        match asked.locate(&asker, &key).await {
            Ok(answer) => {
                tally.answered(&answer, &orders.borrow().deaths);
                tally.longest_gap = tally.longest_gap.max(last.elapsed());
                last = Instant::now();
            }
            Err(error) => {
                tally.errors += 1;
                let complaint = format!("{}: {error:#}", asked.name());
                tally.complaint.get_or_insert(complaint);
            }
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::stage::OwnerName;

    #[test]
    fn answers_that_name_the_dead_are_counted_once_the_grace_is_over() {
        let answer = |uid: &str| Location {
            epoch: 7,
            stale: false,
            owner: OwnerName {
                name: format!("pod-{uid}"),
                uid: uid.to_owned(),
            },
        };
        let long_ago = Instant::now().checked_sub(GRACE * 2).unwrap();
        let deaths = BTreeMap::from([
            ("old".to_owned(), long_ago),
            ("new".to_owned(), Instant::now()),
        ]);
        let mut tally = Tally::default();
        for uid in ["old", "new", "alive"] {
            tally.answered(&answer(uid), &deaths);
        }
        assert_eq!((tally.answers, tally.late), (3, 1));
        assert!(tally.longest_dead >= GRACE * 2);
    }
}
