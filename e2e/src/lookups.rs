//! Look-ups that go on while a story plays: an application asks every agent many times a second who owns
//! a key, and each answer is counted.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::http::Asker;
use crate::stage::Agent;

/// On each agent, unless a story wants more.
const PER_SECOND: u32 = 20;
/// Keys that are asked for in turn, so that every owner has its share.
const KEYS: u32 = 100;

/// Look-ups under way. Dropping them ends them.
#[derive(Debug)]
pub struct LookUps {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Tally>>,
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
        let fixed = |agent: &Agent| watch::channel(Some(agent.clone())).1;
        Self::start_on(per_second, agents.into_iter().map(fixed))
    }

    /// The same where it changes whom to ask: each of these names an agent at a time. That there is
    /// none counts as a look-up without an answer.
    #[must_use]
    pub fn start_on(
        per_second: u32,
        places: impl IntoIterator<Item = watch::Receiver<Option<Agent>>>,
    ) -> Self {
        let pause = Duration::from_secs(1) / per_second.max(1);
        let (stop, _) = watch::channel(false);
        let tasks = places
            .into_iter()
            .map(|place| tokio::spawn(ask(place, pause, stop.subscribe())))
            .collect();
        Self { stop, tasks }
    }

    /// Ends them; what came of all together.
    ///
    /// # Errors
    /// When a task panicked.
    pub async fn stop(mut self) -> Result<Tally> {
        self.stop.send_replace(true);
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
        if let Some((low, high)) = other.epochs {
            self.saw(low);
            self.saw(high);
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
        )
    }
}

async fn ask(
    place: watch::Receiver<Option<Agent>>,
    pause: Duration,
    mut stop: watch::Receiver<bool>,
) -> Tally {
    let mut tally = Tally::default();
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let asker = Asker::default();
    for number in 0_u32.. {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        let agent = place.borrow().clone();
        let (name, answer) = match agent {
            // A question under way is waited for: its failure counts too.
            Some(agent) => {
                let key = format!("user:{}", number % KEYS);
                let answer = agent.locate_by(&asker, &key).await;
                (agent.name, answer)
            }
            None => ("nobody".to_owned(), Err(anyhow!("no agent is Ready"))),
        };
        match answer {
            Ok(answer) => {
                tally.answers += 1;
                tally.saw(answer.epoch);
                tally.longest_gap = tally.longest_gap.max(last.elapsed());
                last = Instant::now();
            }
            Err(error) => {
                tally.errors += 1;
                let complaint = format!("{name}: {error:#}");
                tally.complaint.get_or_insert(complaint);
            }
        }
    }
    tally
}
