//! Reads scenario files: strict, and a mistake is told with its line and what would be right.

use std::time::Duration;

use thiserror::Error;

use super::{Planned, Promise, Scenario, State, Trouble, Who};
use crate::limits;
use crate::sim::{Hostility, Settings};

/// Lines of a file.
pub const LINES_MAX: usize = 500;
/// Longest run, settling included.
const TIME_MAX: Duration = Duration::from_secs(48 * 3600);
/// Times that a fault can come.
const REPEATS_MAX: u32 = 100_000;

/// A mistake in a file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Where, counted from 1; 0 for what is missing.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// Reads a scenario.
///
/// # Errors
/// The first mistake, with its line.
pub fn parse(text: &str) -> Result<Scenario, ParseError> {
    let mut scenario = Scenario {
        title: String::new(),
        settings: Settings::new(0, 0),
        settle: Duration::from_secs(3),
        run: Duration::ZERO,
        faults: Vec::new(),
        promises: Vec::new(),
        reach: Vec::new(),
    };
    let mut given = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let at_line = |what: String| ParseError { line, what };
        if line > LINES_MAX {
            return Err(at_line(format!("a file has at most {LINES_MAX} lines")));
        }
        let text = text.split('#').next().unwrap_or_default().trim();
        let mut words = Words::of(text);
        let Some(keyword) = words.next() else {
            continue;
        };
        let once = !matches!(keyword, "at" | "hold" | "reach");
        if once && given.iter().any(|word| word == keyword) {
            return Err(at_line(format!("`{keyword}` was given before")));
        }
        given.push(keyword.to_owned());
        statement(&mut scenario, keyword, words, text, line).map_err(at_line)?;
    }
    check(&scenario, &given)?;
    Ok(scenario)
}

fn statement(
    scenario: &mut Scenario,
    keyword: &str,
    mut words: Words<'_>,
    text: &str,
    line: usize,
) -> Result<(), String> {
    match keyword {
        "title" => {
            scenario.title = text.strip_prefix("title").unwrap_or(text).trim().to_owned();
            return Ok(());
        }
        "nodes" => scenario.settings.members = words.number()?,
        "founders" => scenario.settings.founders = Some(words.number()?),
        "zones" => scenario.settings.zones = words.number::<u16>()?.max(1),
        "settle" => scenario.settle = words.duration()?,
        "run" => scenario.run = words.duration()?,
        "timers-first" => scenario.settings.timers_first = words.on_or_off()?,
        "admission" => scenario.settings.admits = words.on_or_off()?,
        "freeze-above" => {
            let per_mille = words.per_mille()?;
            scenario.settings.freeze_above_percent = u8::try_from(per_mille / 10).ok();
        }
        "network" => network(&mut scenario.settings, &mut words)?,
        "at" => scenario.faults.push(planned(&mut words, line)?),
        "hold" => scenario.promises.push(promise(&mut words)?),
        "reach" => {
            for word in words.by_ref() {
                let state = State::of(word).ok_or_else(|| {
                    let all: Vec<String> = State::all().map(State::name).collect();
                    format!("`{word}` is no state; there are {}", all.join(", "))
                })?;
                scenario.reach.push(state);
            }
        }
        _ => {
            return Err(format!(
                "`{keyword}` is no statement; there are title, nodes, founders, zones, network, settle, run, \
                 admission, freeze-above, timers-first, at, hold, reach"
            ));
        }
    }
    words.end()
}

fn network(settings: &mut Settings, words: &mut Words<'_>) -> Result<(), String> {
    let network = &mut settings.network;
    while let Some(word) = words.next() {
        match word {
            "latency" => network.latency = words.duration()?,
            "jitter" => network.jitter = words.duration()?,
            "loss" => network.loss_per_mille = words.per_mille()?,
            "duplicate" => network.duplicate_per_mille = words.per_mille()?,
            "reorder" => network.reorder_per_mille = words.per_mille()?,
            "line" => network.line_mbit = words.number()?,
            "queue" => network.line_queue_bytes = words.number()?,
            _ => {
                return Err(format!(
                    "`{word}` says nothing of a network; there are latency, jitter, loss, duplicate, reorder, \
                     line (Mbit/s), queue (bytes)"
                ));
            }
        }
    }
    Ok(())
}

fn planned(words: &mut Words<'_>, line: usize) -> Result<Planned, String> {
    let at = words.duration()?;
    let (mut lasts, mut repeat) = (None, (1, Duration::ZERO));
    let trouble = loop {
        match words.need("a fault")? {
            "for" => lasts = Some(words.duration()?),
            "every" => {
                let distance = words.duration()?;
                words.literal("times")?;
                repeat = (words.number()?, distance);
                if repeat.0 > REPEATS_MAX {
                    return Err(format!("at most {REPEATS_MAX} times"));
                }
            }
            word => break trouble(word, words)?,
        }
    };
    let whole = matches!(trouble, Trouble::FalseReports(_) | Trouble::OperatorDown);
    let who = if whole { Who::Nobody } else { who(words)? };
    if lasts.is_some() && !trouble.ends() {
        return Err("`for` does not go with this fault: it does not end by itself".to_owned());
    }
    Ok(Planned {
        line,
        at,
        lasts,
        repeat,
        trouble,
        who,
    })
}

fn trouble(word: &str, words: &mut Words<'_>) -> Result<Trouble, String> {
    Ok(match word {
        "crash" => Trouble::Crash,
        "return" => Trouble::Return,
        "replace" => Trouble::Replace,
        "pause" => Trouble::Pause,
        "leave" => Trouble::Leave,
        "deaf" => Trouble::Deaf,
        "mute" => Trouble::Mute,
        "lose-in" => Trouble::LoseIn(words.per_mille()?),
        "lose-out" => Trouble::LoseOut(words.per_mille()?),
        "lose-both" => Trouble::LoseBoth(words.per_mille()?),
        "cut-off" => Trouble::CutOff,
        "slow" => match words.percent()? {
            percent if percent > 100 => Trouble::Slow(percent),
            percent => {
                return Err(format!(
                    "`slow {percent}%` is no slower than usual: `slow 500%` takes five times as long"
                ));
            }
        },
        "clock-rate" => Trouble::ClockRate(words.number()?),
        "clock-step" => Trouble::ClockStep(words.duration()?),
        "accuse" => Trouble::Turn(Hostility::Accuse),
        "replay" => Trouble::Turn(Hostility::Replay),
        "old-incarnations" => Trouble::Turn(Hostility::OldIncarnations),
        "huge-frames" => Trouble::Turn(Hostility::HugeFrames),
        "false-offers" => Trouble::Turn(Hostility::FalseOffers),
        "false-hellos" => Trouble::Turn(Hostility::FalseHellos),
        "false-counts" => Trouble::Turn(Hostility::FalseCounts),
        "forged-maps" => Trouble::Turn(Hostility::ForgedMaps),
        "asks" => Trouble::Turn(Hostility::Asks),
        "probes" => Trouble::Turn(Hostility::Probes),
        "forged-addresses" => Trouble::Turn(Hostility::ForgedAddresses),
        "corrupted-frames" => Trouble::Turn(Hostility::CorruptedFrames),
        "false-reports" => Trouble::FalseReports(words.per_mille()?),
        "operator-down" => Trouble::OperatorDown,
        _ => {
            return Err(format!(
                "`{word}` is no fault; there are crash, return, replace, pause, leave, deaf, mute, lose-in, lose-out, \
                 lose-both, cut-off, slow, clock-rate, clock-step, accuse, replay, old-incarnations, huge-frames, false-offers, \
                 false-hellos, false-counts, forged-maps, forged-addresses, asks, probes, corrupted-frames, false-reports, operator-down"
            ));
        }
    })
}

fn who(words: &mut Words<'_>) -> Result<Who, String> {
    let word = words.need(
        "whom it befalls: `some 3`, `some 10%`, `any 10%`, `all`, `3`, `3-7`, `zone 1` or `same`",
    )?;
    Ok(match word {
        "all" => Who::All,
        "same" => Who::Same,
        "zone" => Who::Zone(words.number()?),
        "any" => Who::Any(u16::try_from(words.per_mille()?).unwrap_or(1000)),
        "some" => {
            let word = words.need("how many")?;
            match per_mille(word) {
                Ok(share) => Who::Share(u16::try_from(share).unwrap_or(1000)),
                Err(_) => Who::Some(number(word)?),
            }
        }
        word => match word.split_once('-') {
            Some((first, last)) => Who::Range(number(first)?, number(last)?),
            None => {
                let one = number(word)?;
                Who::Range(one, one)
            }
        },
    })
}

fn promise(words: &mut Words<'_>) -> Result<Promise, String> {
    let word = words.need("a promise")?;
    Ok(match word {
        "all" => {
            words.literal("agree")?;
            words.literal("within")?;
            Promise::AllAgree(words.duration()?)
        }
        "exactly" => {
            let whose = words.need("`faulty` or `crashed`")?;
            let promise = match whose {
                "faulty" => Promise::ExactlyFaultyRemoved,
                "crashed" => Promise::ExactlyCrashedRemoved,
                _ => return Err(format!("`{whose}` is neither `faulty` nor `crashed`")),
            };
            words.literal("removed")?;
            words.literal("within")?;
            promise(words.duration()?)
        }
        "only" => {
            words.literal("faulty")?;
            words.literal("removed")?;
            Promise::OnlyFaultyRemoved
        }
        "nobody" => {
            words.literal("removed")?;
            Promise::NobodyRemoved
        }
        "changes" => {
            words.literal("at-most")?;
            Promise::ChangesAtMost(words.number()?)
        }
        "traffic" => {
            words.literal("below")?;
            let bytes = words.number()?;
            words.literal("bytes-a-second")?;
            Promise::TrafficBelow(bytes)
        }
        "everybody" => {
            words.literal("member")?;
            words.literal("within")?;
            Promise::EverybodyMember(words.duration()?)
        }
        "settled" => {
            words.literal("at")?;
            words.literal("end")?;
            Promise::SettledAtEnd
        }
        _ => {
            return Err(format!(
                "`{word}` begins no promise; there are `all agree within TIME`, `exactly faulty removed within TIME`, \
                 `exactly crashed removed within TIME`, \
                 `only faulty removed`, `nobody removed`, `changes at-most N`, `traffic below N bytes-a-second`, \
                 `everybody member within TIME`, `settled at end`"
            ));
        }
    })
}

fn check(scenario: &Scenario, given: &[String]) -> Result<(), ParseError> {
    let wrong = |line, what: String| Err(ParseError { line, what });
    for needed in ["title", "nodes", "run"] {
        if !given.iter().any(|word| word == needed) {
            return wrong(0, format!("`{needed}` is missing"));
        }
    }
    let nodes = scenario.settings.members;
    if nodes == 0 || usize::from(nodes) > limits::MEMBERS_MAX {
        return wrong(
            0,
            format!("nodes must be 1 to {}, not {nodes}", limits::MEMBERS_MAX),
        );
    }
    if scenario
        .settings
        .founders
        .is_some_and(|founders| founders == 0 || founders > nodes)
    {
        return wrong(0, format!("founders must be 1 to {nodes}"));
    }
    if scenario.settle + scenario.run > TIME_MAX {
        return wrong(0, format!("a run lasts at most {TIME_MAX:?}"));
    }
    let mut before = false;
    for fault in &scenario.faults {
        let fits = match fault.who {
            Who::Range(first, last) => first >= 1 && first <= last && last <= nodes,
            Who::Some(count) => count >= 1 && count <= nodes,
            Who::Zone(zone) => zone < scenario.settings.zones,
            Who::Same => before,
            _ => true,
        };
        if !fits {
            return wrong(
                fault.line,
                format!("there are no such nodes: {:?}", fault.who),
            );
        }
        before |= fault.who != Who::Nobody;
        let last = fault.repeat.1 * fault.repeat.0.saturating_sub(1);
        if fault.at + last > scenario.run {
            return wrong(
                fault.line,
                "it would begin after the end of the run".to_owned(),
            );
        }
    }
    Ok(())
}

/// The words of a line.
struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.next()
    }
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        Self(text.split_whitespace())
    }

    fn need(&mut self, what: &str) -> Result<&'a str, String> {
        self.next()
            .ok_or_else(|| format!("the line ends where {what} should stand"))
    }

    fn literal(&mut self, wanted: &str) -> Result<(), String> {
        match self.need(&format!("`{wanted}`"))? {
            word if word == wanted => Ok(()),
            word => Err(format!("`{word}` stands where `{wanted}` should")),
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        number(self.need("a number")?)
    }

    fn duration(&mut self) -> Result<Duration, String> {
        duration(self.need("a time")?)
    }

    fn per_mille(&mut self) -> Result<u32, String> {
        per_mille(self.need("a share")?)
    }

    /// A percentage that may be above a hundred.
    fn percent(&mut self) -> Result<u32, String> {
        let word = self.need("a percentage")?;
        number(
            word.strip_suffix('%')
                .ok_or_else(|| format!("`{word}` is no percentage: `500%`"))?,
        )
    }

    fn on_or_off(&mut self) -> Result<bool, String> {
        match self.need("`on` or `off`")? {
            "on" => Ok(true),
            "off" => Ok(false),
            word => Err(format!("`{word}` is neither `on` nor `off`")),
        }
    }

    fn end(mut self) -> Result<(), String> {
        match self.next() {
            None => Ok(()),
            Some(word) => Err(format!("`{word}` is too much")),
        }
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse()
        .map_err(|_| format!("`{word}` is no number that fits here"))
}

/// `250us`, `40ms`, `3s`, `5m`, `1h`.
fn duration(word: &str) -> Result<Duration, String> {
    let digits = word
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(word.len());
    let (count, unit) = word.split_at_checked(digits).unwrap_or((word, ""));
    let micros: u64 = match unit {
        "us" => 1,
        "ms" => 1000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => {
            return Err(format!(
                "`{word}` is no time: a whole number and us, ms, s, m or h"
            ));
        }
    };
    let count: u64 = number(count)?;
    let micros = count.checked_mul(micros).map(Duration::from_micros);
    micros
        .filter(|time| *time <= TIME_MAX)
        .ok_or_else(|| format!("`{word}` is longer than {TIME_MAX:?}"))
}

/// `2%` or `0.5%`: in thousandths.
fn per_mille(word: &str) -> Result<u32, String> {
    let wrong = || format!("`{word}` is no share: `2%` or `0.5%`, up to `100%`");
    let percent = word.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, tenths) = percent.split_once('.').unwrap_or((percent, "0"));
    if tenths.len() != 1 {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let tenths: u32 = tenths.parse().map_err(|_| wrong())?;
    let per_mille = whole.checked_mul(10).map(|whole| whole + tenths);
    per_mille.filter(|share| *share <= 1000).ok_or_else(wrong)
}
