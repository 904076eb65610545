//! The loop: what is due happens, machines are given their inputs, their outputs are carried out, and
//! the rules are looked at.

use std::time::Duration;

use super::invariants::NoMapConflict;
use super::processor::{DATAGRAM_MICROS, Done, HANDSHAKE_MICROS, cost_of, cost_of_frame};
use super::scenario;
use super::{EVENTS_MAX, Happening, NodeId, OPERATOR, ProcessId, Record, Simulation};
use crate::identity::{MemberId, Uid};
use crate::machine::{Event, Input, Machine, Output};
use crate::member::Mesh;
use crate::time::Instant;

/// Pace at which views are compared.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// A runtime's timers go off at whole milliseconds, never early.
const TIMER_GRANULARITY_MICROS: u64 = 1000;

/// Largest cell in which every member's hearing of a report is remembered.
const HEARD_REPORTS_MEMBERS_MAX: u16 = 128;

impl Simulation {
    pub(super) fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake(process) => self.wake(process),
            Happening::Arrival { end, what } => self.on_arrival(end, what),
            Happening::Message(message) => self.message_arrives(message),
            Happening::Transmit(message) => self.transmit(message),
            Happening::Acknowledged { from, attempts } => match attempts {
                None => self.acknowledged(from),
                Some(attempts) => self.acknowledge(from, attempts),
            },
            Happening::Idle(end) => self.check_idle(end),
            Happening::Handshake(dial) => self.try_handshake(*dial),
            Happening::DialFailed { process, uid } => self.dial_failed(process, uid),
            Happening::Refused { process, uid } => {
                if self.is_current(process) && !self.is_frozen(process.node) {
                    self.give(process.node, Input::Refused { uid });
                }
            }
            Happening::Begin(node) => self.begin(node),
            Happening::AskToJoin { node, key } => self.ask_to_join(node, key),
            Happening::JoinRequest { node, key } => self.on_join_request(node, key),
            Happening::JoinAnswer { node, key, map } => self.on_join_answer(node, key, map),
            Happening::AgentTick(process) => self.agent_tick(process),
            Happening::LeaveTimeout(process) => self.leave_timeout(process),
            Happening::BatchEnds { generation } => self.batch_ends(generation),
            Happening::Recorded { generation, map } => self.recorded(generation, map),
            Happening::Fault(fault) => self.inflict(&fault),
            Happening::Look => self.look(),
            Happening::Continue(process) => self.go_on(process),
            Happening::Hostile(process) => self.act_hostile(process),
        }
    }

    /// Gives a machine something and carries out what it wants.
    pub(super) fn give(&mut self, node: NodeId, input: Input) {
        self.trace.input(self.now, node, &input);
        let now = self.clock_at(node);
        let costs = cost_of(&input);
        // A beat fills no queue by itself, and there are very many.
        let checked =
            !matches!(input, Input::Datagram { .. }) || self.trace.inputs().is_multiple_of(16);
        let before = self.mesh(node).map(Done::by);
        if let Some(machine) = self.machine_mut(node) {
            machine.handle(now, input);
        }
        self.work(node, costs);
        self.work_done(node, before);
        if checked {
            self.check(node);
        }
        self.carry_out(node);
    }

    fn machine_mut(&mut self, node: NodeId) -> Option<&mut dyn Machine> {
        if node == OPERATOR {
            return self.operator.watch.as_mut().map(|watch| watch as _);
        }
        let mesh = self.node_mut(node)?.mesh.as_deref_mut()?;
        Some(mesh)
    }

    pub(super) fn carry_out(&mut self, node: NodeId) {
        while let Some(output) = self.machine_mut(node).and_then(Machine::poll_output) {
            match output {
                Output::Dial { uid, key, address } => {
                    self.work(node, HANDSHAKE_MICROS);
                    self.dial(node, uid, key, address);
                }
                Output::Close { connection, .. } => self.close(connection),
                Output::Datagram { connection, bytes } => {
                    self.work(node, DATAGRAM_MICROS);
                    self.send_datagram(connection, bytes);
                }
                Output::Frame { connection, bytes } => {
                    self.work(node, cost_of_frame(bytes.len()));
                    if !self.send_message(connection, bytes) {
                        let dropped = Input::SendDropped { connection };
                        self.trace.input(self.now, node, &dropped);
                        self.queue_full += 1;
                        let now = self.clock_at(node);
                        if let Some(machine) = self.machine_mut(node) {
                            machine.handle(now, dropped);
                        }
                    }
                }
                Output::Knock { uid, .. } => self.knock(node, uid),
                Output::Event(event) => self.on_event(node, event),
            }
        }
        self.after_outputs(node);
        self.set_timer(node);
    }

    fn on_event(&mut self, node: NodeId, event: Event) {
        self.trace.event(self.now, node, &event);
        self.note_event(node, &event);
        if node == OPERATOR {
            self.on_operator_event(&event);
        } else {
            self.on_agent_event(node, &event);
        }
        let remembered = match event {
            Event::Refused { .. } => false,
            // In a large cell a report is remembered where it was made, not at everybody who hears it.
            Event::Suspected { observer, .. } | Event::Cleared { observer, .. } => {
                self.settings.members <= HEARD_REPORTS_MEMBERS_MAX
                    || self.by_uid.get(&observer.uid) == Some(&node)
            }
            _ => true,
        };
        if remembered && self.events.len() < EVENTS_MAX {
            let at = self.now;
            self.events.push(Record { at, node, event });
        }
    }

    fn note_event(&mut self, node: NodeId, event: &Event) {
        // Reports are told by the million: only a verdict is looked at beside its map.
        let mesh = matches!(event, Event::Verdict { .. }).then(|| self.mesh(node));
        let map = mesh.flatten().map(|mesh| mesh.signed_map().map().clone());
        for state in scenario::of_event(event, map.as_deref()) {
            self.passed_states.insert(state);
        }
        let found = NoMapConflict::observe(node, event);
        self.invariants.keep(self.now, "NoMapConflict", found);
    }

    fn dial_failed(&mut self, process: ProcessId, uid: Uid) {
        if !self.is_current(process) {
            return;
        }
        if self.is_frozen(process.node) {
            // The pause ends some day; where there is no room the dial stays underway, as it would.
            let _ = self.wait_for_thaw(process.node, Happening::DialFailed { process, uid });
            return;
        }
        self.give(process.node, Input::DialFailed { uid });
    }

    // Timers.

    fn wake_slot(&mut self, node: NodeId) -> Option<&mut Option<Instant>> {
        if node == OPERATOR {
            return Some(&mut self.operator.wake);
        }
        self.node_mut(node).map(|node| &mut node.wake)
    }

    /// Deadlines move away with every beat. So one timer waits for the nearest of those it has seen, and
    /// looks again when it goes off.
    pub(super) fn set_timer(&mut self, node: NodeId) {
        let deadline = self.machine_mut(node).and_then(|m| m.not_before());
        self.set_timer_to(node, deadline);
    }

    fn set_timer_to(&mut self, node: NodeId, deadline: Option<Instant>) {
        let (now, process) = (self.now, self.process_of(node));
        let Some(deadline) = deadline else { return };
        let next = now.as_micros() + 1;
        let deadline = match self.node(node) {
            Some(place) => place.clock.moment_of(deadline),
            None => deadline,
        };
        let due = deadline.as_micros().max(next);
        let at = Instant::from_micros(due.next_multiple_of(TIMER_GRANULARITY_MICROS));
        let Some(wake) = self.wake_slot(node) else {
            return;
        };
        if wake.is_none_or(|wake| wake > at || wake <= now) {
            *wake = Some(at);
            self.schedule.push(at, Happening::Wake(process));
        }
    }

    fn wake(&mut self, process: ProcessId) {
        let now = self.now;
        if !self.is_current(process) || self.is_frozen(process.node) {
            return;
        }
        let idle = self.idle_at(process.node);
        let Some(wake) = self.wake_slot(process.node) else {
            return;
        };
        // An earlier one took its place.
        if *wake != Some(now) {
            return;
        }
        *wake = idle;
        if let Some(idle) = idle {
            return self.schedule.push(idle, Happening::Wake(process));
        }
        let now = self.clock_at(process.node);
        // Most often beats have moved away what it waited for.
        let due = self
            .machine_mut(process.node)
            .and_then(|m| m.next_deadline());
        if due.is_some_and(|due| due <= now) {
            self.give(process.node, Input::Timer);
        } else {
            self.set_timer_to(process.node, due);
        }
    }

    // Rules.

    fn check(&mut self, node: NodeId) {
        let Some(mesh) = self.mesh(node) else {
            return;
        };
        let (loads, version) = (mesh.loads(), mesh.signed_map().map().version());
        let now = self.now;
        let found = self.invariants.epochs.observe(node, version);
        self.invariants.keep(now, "EpochsNeverDecrease", found);
        let found = self.invariants.queues.observe(node, &loads);
        self.invariants.keep(now, "QueuesWithinLimits", found);
    }

    pub(super) fn check_verdict(&mut self, judge: NodeId, failed: &[MemberId]) {
        let found = self.invariants.healthy.observe_verdict(failed);
        let found = found.map_err(|what| format!("{judge}, of {}: {what}", failed.len()));
        self.invariants.keep(self.now, "NoHealthyRemoved", found);
    }

    fn look(&mut self) {
        let now = self.now;
        self.schedule.push(now + LOOK_INTERVAL, Happening::Look);
        self.forget_connections();
        let reported = |node: &NodeId| self.mesh(*node).is_some_and(Mesh::holds_reports);
        let reported: Vec<NodeId> = self.node_ids().filter(reported).collect();
        reported
            .into_iter()
            .for_each(|node| self.remember_states(node));
        if self.schedule.refused() > 0 {
            let found = Err("the schedule is full".to_owned());
            self.invariants.keep(now, "ScheduleWithinLimit", found);
        }
        let paused = self.nodes.iter().any(|node| node.frozen || node.leaving);
        if paused || !self.network.is_whole() || self.operator.watch.is_none() {
            return self.invariants.views.disturb();
        }
        let newest = *self.operator.record.sha256();
        let compared = self.invariants.views.compare(&newest, self.views());
        let found = self.invariants.views.observe(now, compared);
        self.invariants.keep(now, "ViewsConverge", found);
    }
}
