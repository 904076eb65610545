//! Every limit of the protocol, in one place; those of maps and join messages come from the crate
//! `map`. Whoever exceeds one is refused; nothing grows beyond.

use std::time::Duration;

pub use slotmesh_map::limits::*;

/// Bytes of one datagram: the first budget of a QUIC connection is 1162 bytes.
pub const DATAGRAM_BYTES_MAX: usize = 1162;
/// Bytes of a beat.
pub const BEAT_BYTES_MAX: usize = 28;

/// Rings on which members are sorted; a member has that many observers at most.
pub const RINGS: usize = 10;
/// Voters of a cell.
pub const VOTERS_MAX: usize = 7;
/// Warm connections of a member to others.
pub const CONNECTIONS_MAX: usize = 32;
/// Connections of operators at once: a leader, and one that was.
pub const OPERATORS_MAX: usize = 4;
/// Connections of peers that the map does not list, at once.
pub const STRANGERS_MAX: usize = 8;
/// Largest cell in which the operator observes members itself.
pub const OPERATOR_OBSERVES_MAX: usize = 3;
/// Members that the operator probes itself at once, because the mesh cannot prove their death.
pub const SECOND_LOOKS_MAX: usize = 64;
/// Reporters that the operator listens to in larger cells, at least ...
pub const REPORTERS: usize = 3;
/// ... and at most: one in each zone, or while nobody answers.
pub const REPORTERS_MAX: usize = 8;
/// A reporter that is dialed for so long without an answer is no longer counted on: another is dialed as well. A handshake takes
/// some milliseconds, and a third of a second when its first packet is lost twice. Dials end by themselves, so no more are under
/// way than [`REPORTERS_MAX`] for each such time in a handshake's.
pub const DIAL_PATIENCE: Duration = Duration::from_millis(400);
/// Members of a new cell that the operator dials at once to hear that they have its map.
pub const CENSUS_DIALS: usize = 16;

/// Statements kept per cell: one of each member, and the operator's.
pub const EVIDENCE_MAX: usize = MEMBERS_MAX + 1;
/// Subjects that one statement names: more than a member has.
pub const TAGS_MAX: usize = 2 * OBSERVERS_MAX as usize;
/// Statements in one frame.
pub const EVIDENCE_PER_FRAME_MAX: usize = 128;
/// Lines in one summary of evidence: all that a store can hold, because whoever reads a summary takes
/// what it leaves out for missing.
pub const SUMMARY_ENTRIES_MAX: usize = EVIDENCE_MAX;
/// Bytes of one line: a tag of six, and a sequence of 64 bits as a varint.
pub const SUMMARY_ENTRY_BYTES_MAX: usize = 6 + 10;
/// Statements that one process is sent at once because it asked: each that there is, twice.
pub const SERVED_BURST: u32 = 2 * EVIDENCE_MAX as u32;
/// Time after which it may ask for so many again.
pub const SERVED_REFILL: Duration = Duration::from_secs(4);
/// Whole maps that one process is sent at once, on however many connections, and one more in each [`REPAIR_INTERVAL`]: a split
/// takes two, and one that is lost with its connection is sent again on the next.
pub const MAPS_AT_ONCE: u32 = 4;
/// Differences that take up the room of a whole map: so one more is sent in each eighth of a second, and the operator makes a
/// map in 300 ms at most.
pub const DIFFERENCES_FOR_A_MAP: u32 = 4;
/// Maps of one process that are read at once, whole or as a difference, whatever comes of them ...
pub const MAPS_READ_MAX: u32 = 32;
/// ... and then one in each such time: a map of 1 MiB takes some ten milliseconds.
pub const MAPS_READ_PAUSE: Duration = Duration::from_millis(200);
/// Processes that are not connected any more of which is kept what they have used up of all that. It is kept until it has leaked:
/// for 20 s at most.
pub const PARTED_MAX: usize = 64;
/// Statements that are asked for at once and remembered so.
pub const WANTED_MAX: usize = EVIDENCE_MAX;
/// Peers that are remembered for one statement, beside the one that was asked: four rings offer it, and a few more where many
/// are dead.
pub const OFFERERS_MAX: usize = 8;
/// A statement that was asked for and did not come for so long is asked for of the next that offered it. A lost packet costs
/// about 30 ms. It doubles each time ...
pub const WANTED_PATIENCE: Duration = Duration::from_millis(50);
/// ... up to that.
pub const WANTED_PATIENCE_MAX: Duration = Duration::from_millis(400);
/// Statements of one process whose signature does not hold, until it is hung up on: honest members pass on what they have
/// verified, and each costs as much to refuse as to take in. (Around a split peers sign for two cells for a moment: who is hung up
/// on then is dialed again at once.) So is an address of the operator that does not hold.
pub const FORGED_MAX: u32 = 16;
/// A map that does not hold counts as so many of them. (A difference that cannot be read counts as one: it may be of a form that
/// only newer versions know.)
pub const FORGED_MAP_WEIGHT: u32 = 4;
/// One of them is forgotten in each such time. Until there are fewer than [`FORGED_MAX`] nothing of that process is verified.
pub const FORGED_PAUSE: Duration = Duration::from_secs(1);
/// Outputs of one input: an event for each subject that a frame of evidence reports or clears, a probe where that is
/// one's own, and what is sent on to each connection.
pub const OUTPUTS_MAX: usize = 2 * EVIDENCE_PER_FRAME_MAX * TAGS_MAX + 8 * CONNECTIONS_MAX;
/// Streams of one connection that carry a frame at once, in one direction.
pub const STREAMS: u32 = 4;
/// Bytes of one frame that are under way before the receiver has read some; QUIC's flow control keeps to it.
pub const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same for all frames of one connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 128 << 10;
/// Frames that wait for one peer.
pub const FRAMES_QUEUED_MAX: usize = 64;
/// After a verdict the next one waits so long for each report that it was made on. One costs a fraction of a microsecond a
/// report, so judging takes a few percent of a core in the worst storm; after ten reports of one death it waits 0.1 ms.
pub const REST_FOR_EACH_REPORT: Duration = Duration::from_micros(10);
/// Observers outside the reported that have to report a member which has [`RINGS`] observers or more. Two were not enough when
/// half of a cell dies: of a healthy member whose other eight observers are dead two of two can be wrong. With 490 dead of 1000
/// and 2 % false reports 12 of 1000 verdicts would be wrong about somebody, 3.7 with three (binomials of ten observers, and 70 %
/// of those that live).
pub const WITNESSES: usize = 3;
/// The same if it reports somebody itself: most likely it lives. With these four 0.12 of 1000 verdicts would be wrong.
pub const WITNESSES_OF_SPEAKER: usize = 4;
/// The same for a member of fewer observers; with one or two observers one is enough.
pub const WITNESSES_OF_FEW: usize = 2;
/// An observer that reports none of so many of its subjects that most others report is no witness for them: it is dead and
/// has no living observer, or it doubts itself.
pub const MUTE_SUBJECTS: usize = 3;
/// That holds while there are so many that report at least one of theirs for each that reports none.
pub const WITNESSES_FOR_EACH_MUTE: usize = 10;
/// The operator waits with a verdict while more members than that, and more than a third of those that are found, are
/// reported and not found.
pub const UNFOUND_FEW: usize = 2;
/// It waits until no report has come for so long ...
pub const REPORTS_QUIET: Duration = Duration::from_millis(250);
/// ... or it has waited so long.
pub const REPORTS_PATIENCE: Duration = Duration::from_secs(1);
/// Those two times, and the operator's window for deaths, are made for beats at that interval. Where beats are slower reports come
/// slower by the same factor, and it waits longer by it.
pub const USUAL_INTERVAL: Duration = Duration::from_millis(200);
/// Reported members up to which news of them are sent on at once.
pub const NEWS_AT_ONCE: usize = 3;
/// For each member reported beyond them news wait so long for further news, so that both go out in one message.
pub const NEWS_PAUSE_EACH: Duration = Duration::from_micros(100);
/// But no longer than that: news are through a cell after five to seven such pauses.
pub const NEWS_PAUSE_MAX: Duration = Duration::from_millis(40);
/// While more than [`NEWS_AT_ONCE`] members are reported, and others of its subjects are in question, a member waits so many
/// beats with its own next statement: so it says in one what it would say in many.
pub const STATEMENT_PATIENCE_BEATS: u32 = 1;
/// Members whose end is remembered for display.
pub const DEPARTED_MAX: usize = 64;

/// Probe datagrams before a silent subject counts as failed.
pub const PROBES: u8 = 3;
/// The time between two probe datagrams, and after the last one, is this part of the time between two
/// beats: 40 ms of 200. Whoever beats slowly, because the machines are slow, is not judged fast.
pub const PROBES_PER_BEAT: u32 = 5;
/// Beats that must have been missed before a subject is probed, at least and at most.
pub const SILENCE_BEATS_MIN: u32 = 3;
/// See [`SILENCE_BEATS_MIN`].
pub const SILENCE_BEATS_MAX: u32 = 5;
/// Of so many last beats ...
pub const LOSS_WINDOW_BEATS: u32 = 10;
/// ... so many missing fail an edge.
pub const LOSS_BEATS: u32 = 6;
/// Of as many beats of a subject so many must arrive, or it is not heard. To a member that hears one beat in five, one of ten
/// subjects seems well by chance in one window of a hundred; with 6 it would in six.
pub const HEARING_BEATS: u32 = 7;
/// Of as many datagrams to one observer, the answers by which a member that hears no subject takes itself for well. One in
/// five arriving, one of ten observers answers so in one trial of twenty thousand; at 10 % loss each way an observer does in
/// 4 of ten.
pub const HEARING_ANSWERS: u32 = 9;
/// A beat that is late by that part of the interval makes its observer knock: a quarter.
pub const KNOCK_PART: u32 = 4;
/// Beats in a row that must say that their sender is deaf; after as many on which it hears again it says no
/// longer so, and after as many in time a member that was late trusts itself again.
pub const STEADY_BEATS: u32 = 3;
/// Statements that are taken from one signer at once: it may report all its subjects, clear them, and
/// report them once more.
pub const STATEMENTS_BURST: u32 = 4 * OBSERVERS_MAX as u32;
/// Beats after which one signer may report and clear as many subjects as it has at most once more: an honest
/// edge takes longer for that.
pub const STATEMENTS_REFILL_BEATS: u32 = CLEAR_BEATS;
/// Beats without a word after which a subject does not count as living, where a majority is needed.
pub const UNHEARD_BEATS: u32 = 2;
/// Beats to hear, at most one of them lost, before an edge that failed is clear again.
pub const CLEAR_BEATS: u32 = 10;
/// Beats after a time without a majority before anything is claimed again: all edges have time to clear,
/// those included whose connection has to come up first.
pub const CAUTION_BEATS: u32 = 25;
/// Time for which a member goes on beating the observers of its last epoch.
pub const OLD_EDGE_LINGER: Duration = Duration::from_secs(2);
/// Grace of a new edge, at least: time for its connection to come up.
pub const EDGE_GRACE: Duration = Duration::from_secs(2);
/// Time between two pushes of one map, or two summaries, to one peer.
pub const REPAIR_INTERVAL: Duration = Duration::from_millis(500);
/// Shortest pause before a peer is dialed again; it doubles up to [`REDIAL_MAX`].
pub const REDIAL_MIN: Duration = Duration::from_millis(50);
/// Longest pause before a peer is dialed again.
pub const REDIAL_MAX: Duration = Duration::from_secs(2);
/// A subject that was silent for that long is dialed by either side.
pub const LONG_SILENCE: Duration = Duration::from_secs(5);
/// What differs counts as missed once nothing new has come for so long, or it has differed for so long: evidence may
/// never stop to come.
pub const REPAIR_PATIENCE: Duration = Duration::from_secs(2);
/// Times that a rumour is passed on until it has reached all members.
pub const RUMOUR_HOPS: u32 = 6;
/// Time for a rumour to reach all members, but for what it waits on its way ([`NEWS_PAUSE_EACH`]).
pub const RUMOUR_TIME: Duration = Duration::from_millis(8);
/// Successors that are told news: on so many rings.
pub const FANOUT: usize = 2;
/// The same where more than one member seems dead; what others said is offered then.
pub const FANOUT_MANY_DEAD: usize = 4;
/// A member that so many report is told nothing: what is sent to the dead only waits, and if it lives its beats show what
/// it misses.
pub const REPORTERS_OF_LOST: usize = 3;
/// Neighbours that are told that there is a newer map, not counting those told because they are lonely.
pub const ANNOUNCED_MAX: usize = 8;
/// A member with fewer neighbours in its zone is told from other zones too.
pub const LONELY_BELOW: usize = 3;
/// Time for a map that was asked for to come, before somebody else is asked; it doubles up to
/// [`PULL_PAUSE_MAX`]. A lost packet costs about 30 ms, an exchange on a good network 1.
pub const PULL_PAUSE_MIN: Duration = Duration::from_millis(10);
/// See [`PULL_PAUSE_MIN`].
pub const PULL_PAUSE_MAX: Duration = Duration::from_millis(160);
/// A map is asked for in another zone only after that time, in which it spreads within one's own.
pub const FAR_PATIENCE: Duration = Duration::from_millis(30);
/// And up to that much later.
pub const FAR_PATIENCE_SPREAD: Duration = Duration::from_millis(100);
/// Time for which counts of who applied a map are gathered before they are sent.
pub const CONVERGENCE_PAUSE: Duration = Duration::from_millis(100);
/// Time after which the operator tells what came of a map though not everybody said that it applied it.
pub const CONVERGENCE_WAIT: Duration = Duration::from_secs(15);
/// Older maps that are kept, so that differences to them can be made.
pub const OLDER_MAPS_MAX: usize = 4;
/// Neighbours that a fresh member asks for evidence before it counts.
pub const CATCH_UP_NEIGHBOURS: usize = 2;
/// A timer may be that late before silence is no longer held against anybody.
pub const TIMER_LAG_MAX: Duration = Duration::from_millis(20);
/// Beats for which a probe of the operator counts as hearing it.
pub const OPERATOR_HEARD_BEATS: u32 = 5;
/// The same as a time, at least.
pub const OPERATOR_HEARD_MIN: Duration = Duration::from_secs(1);
/// A connection that carries nothing for that long is gone. It is no failure detector.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a handshake; a peer that is down does not answer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// A member that hears nobody for that long asks the operator.
pub const ALONE_AFTER: Duration = Duration::from_secs(5);
/// The same for the only member of its cell, which hears nobody but the operator; longer than a change of leaders takes.
pub const ALONE_AFTER_AS_THE_ONLY: Duration = Duration::from_secs(30);
/// Looks in a row, one a second, at which it must be so: a process that was frozen gives its peers a moment to be heard again,
/// and a whole machine that paused does not make everybody join afresh.
pub const ALONE_TICKS: u32 = 2;
/// Time for the others to take a member that leaves out of the map; then it ends all the same.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for which a stranger may stay connected.
pub const STRANGER_LINGER: Duration = Duration::from_secs(5);

const _: () = assert!(RINGS <= OBSERVERS_MAX as usize);
const _: () = assert!(2 * RINGS + VOTERS_MAX <= CONNECTIONS_MAX);
const _: () = assert!(BEAT_BYTES_MAX <= DATAGRAM_BYTES_MAX);
const _: () = assert!(SUMMARY_ENTRIES_MAX * SUMMARY_ENTRY_BYTES_MAX + 16 <= FRAME_BYTES_MAX);
const _: () = assert!(CAUTION_BEATS > 2 * CLEAR_BEATS);
const _: () = assert!(UNHEARD_BEATS < SILENCE_BEATS_MIN);
const _: () = assert!(SILENCE_BEATS_MIN <= SILENCE_BEATS_MAX);
const _: () = assert!(VOTERS_MAX % 2 == 1);
const _: () = assert!(LOSS_BEATS <= LOSS_WINDOW_BEATS && LOSS_WINDOW_BEATS < 16);
const _: () = assert!(HEARING_BEATS <= LOSS_WINDOW_BEATS);
const _: () = assert!(HEARING_ANSWERS <= LOSS_WINDOW_BEATS);
