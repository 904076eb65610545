//! Carries out what a [`Machine`] decides: one task owns the machine, QUIC does the rest.
//!
//! ```text
//!   endpoint ─ accept ─┐                                   ┌─▶ dial, close
//!   connection tasks ──┼─▶ Happening ─▶ Machine ─▶ Output ─┼─▶ datagrams, frames (bounded queues)
//!   timer, commands ───┘                                   └─▶ events (bounded)
//! ```

mod connection;
mod handshake;
mod knock;
mod traffic;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use quinn::{ClientConfig, Connection, Endpoint, VarInt};
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::machine::{
    CloseReason, ConnectionId, Disconnect, Event, Input, Machine, Output,
};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::clock;
use crate::refusal::{Refusal, Refusals};
use connection::{Frames, Happening};
use handshake::Dial;
use traffic::Traffic;

pub use traffic::Sums as TrafficSums;

/// Happenings that wait for the machine. A full queue slows the readers down, never the network.
const HAPPENINGS_MAX: usize = 4096;
/// Happenings that the machine takes in before outputs are carried out.
const BATCH_MAX: usize = 64;
/// Events that wait for the shell.
const EVENTS_MAX: usize = 4096;
/// Commands that wait for the machine.
const COMMANDS_MAX: usize = 64;
/// Time for closes to leave the machine.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a driver is gone.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the mesh driver has stopped")]
pub struct Stopped;

/// What a driver runs on.
#[derive(Debug)]
pub struct DriverConfig {
    /// The endpoint, whose server side (if any) speaks the mesh's ALPN.
    pub endpoint: Endpoint,
    /// TLS and transport of connections that this side dials.
    pub client: ClientConfig,
    /// The cluster.
    pub cluster: Uid,
}

/// What new connections are dialed with; connections that are up stay as they are.
#[derive(Clone, Debug)]
pub struct Dialer(Arc<RwLock<ClientConfig>>);

impl Dialer {
    /// From now on this certificate is shown.
    pub fn set(&self, client: ClientConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    fn get(&self) -> ClientConfig {
        let client = self.0.read().unwrap_or_else(PoisonError::into_inner);
        client.clone()
    }
}

type Command<M> = Box<dyn FnOnce(&mut M) + Send>;

/// A running driver. Dropping it stops the machine without a word; [`Driver::stop`] closes first.
#[derive(Debug)]
pub struct Driver<M> {
    commands: mpsc::Sender<Command<M>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    acceptor: JoinHandle<()>,
    endpoint: Endpoint,
    dialer: Dialer,
    traffic: Arc<Traffic>,
    refusals: Arc<Refusals>,
}

/// Sends commands to a running machine.
#[derive(Debug)]
pub struct Handle<M> {
    commands: mpsc::Sender<Command<M>>,
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
        }
    }
}

impl<M: Machine + Send + 'static> Handle<M> {
    /// Runs a function on the machine, between two inputs.
    ///
    /// # Errors
    /// When the driver has stopped.
    pub async fn with<R: Send + 'static>(
        &self,
        run: impl FnOnce(&mut M) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (reply, answer) = oneshot::channel();
        let command: Command<M> = Box::new(move |machine| {
            // The asker may have gone away; then nobody needs the answer.
            let _ = reply.send(run(machine));
        });
        self.commands.send(command).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Gives the machine an input of the shell's own.
    ///
    /// # Errors
    /// When the driver has stopped.
    pub async fn input(&self, input: Input) -> Result<(), Stopped> {
        self.with(move |machine| machine.handle(clock::now(), input))
            .await
    }
}

impl<M: Machine + Send + 'static> Driver<M> {
    /// Starts to drive a machine. Events come out of the receiver.
    #[must_use]
    pub fn start(machine: M, config: DriverConfig) -> (Self, mpsc::Receiver<Event>) {
        let (happenings, inbox) = mpsc::channel(HAPPENINGS_MAX);
        let (events, outbox) = mpsc::channel(EVENTS_MAX);
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        let (stop, stopped) = oneshot::channel();
        let endpoint = config.endpoint.clone();
        let dialer = Dialer(Arc::new(RwLock::new(config.client.clone())));
        let traffic = Arc::new(Traffic::default());
        let refusals = Arc::new(Refusals::default());
        let acceptor = tokio::spawn(handshake::accept(
            endpoint.clone(),
            config.cluster,
            happenings.clone(),
            refusals.clone(),
        ));
        let worker = Worker {
            traffic: traffic.clone(),
            refusals: refusals.clone(),
            machine,
            endpoint: config.endpoint,
            cluster: config.cluster,
            dialer: dialer.clone(),
            happenings,
            events,
            connections: BTreeMap::new(),
            next_connection: 0,
            knocks: Arc::new(Semaphore::new(knock::KNOCKS_MAX)),
        };
        let task = tokio::spawn(worker.run(inbox, orders, stopped));
        (
            Self {
                commands,
                stop: Some(stop),
                task,
                acceptor,
                endpoint,
                dialer,
                traffic,
                refusals,
            },
            outbox,
        )
    }

    /// Sends commands to the machine.
    #[must_use]
    pub fn handle(&self) -> Handle<M> {
        Handle {
            commands: self.commands.clone(),
        }
    }

    /// Changes the certificate that is shown when dialing.
    #[must_use]
    pub fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    /// UDP bytes of all connections so far.
    #[must_use]
    pub fn traffic(&self) -> TrafficSums {
        self.traffic.sums()
    }

    /// Handshakes that came to nothing so far, by cause.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<Refusal, u64> {
        self.refusals.counts()
    }

    /// Closes every connection, tells the peers so, and ends. The endpoint can drive another machine.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.acceptor.abort();
        self.traffic
            .close_all(VarInt::from_u32(CloseReason::GoingAway.code()));
        // A peer that does not answer must not hold us up.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
        let _ = (&mut self.task).await;
    }
}

impl<M> Drop for Driver<M> {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.task.abort();
    }
}

struct Link {
    connection: Connection,
    frames: Frames,
}

struct Worker<M> {
    traffic: Arc<Traffic>,
    refusals: Arc<Refusals>,
    machine: M,
    endpoint: Endpoint,
    cluster: Uid,
    dialer: Dialer,
    happenings: mpsc::Sender<Happening>,
    events: mpsc::Sender<Event>,
    connections: BTreeMap<ConnectionId, Link>,
    next_connection: u64,
    knocks: Arc<Semaphore>,
}

impl<M: Machine + Send + 'static> Worker<M> {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Happening>,
        mut orders: mpsc::Receiver<Command<M>>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        self.carry_out();
        loop {
            let wait = self
                .machine
                .next_deadline()
                .map(|deadline| deadline.saturating_since(clock::now()));
            tokio::select! {
                _ = &mut stopped => return,
                Some(happening) = inbox.recv() => {
                    self.take_in(happening);
                    for _ in 1..BATCH_MAX {
                        let Ok(happening) = inbox.try_recv() else { break };
                        self.take_in(happening);
                    }
                }
                Some(command) = orders.recv() => command(&mut self.machine),
                () = sleep(wait) => self.machine.handle(clock::now(), Input::Timer),
            }
            self.carry_out();
        }
    }

    fn take_in(&mut self, happening: Happening) {
        let now = clock::now();
        match happening {
            Happening::Up {
                connection,
                peer,
                dialed,
            } => {
                let id = self.register(&connection);
                let remote = connection.remote_address();
                self.machine.handle(
                    now,
                    Input::Connected {
                        connection: id,
                        peer,
                        remote,
                        dialed,
                    },
                );
            }
            Happening::DialFailed { uid } => self.machine.handle(now, Input::DialFailed { uid }),
            Happening::Refused { uid } => self.machine.handle(now, Input::Refused { uid }),
            Happening::Down { id, reason } => {
                if self.connections.remove(&id).is_some() {
                    self.traffic.ended(id);
                    self.machine.handle(
                        now,
                        Input::Disconnected {
                            connection: id,
                            reason,
                        },
                    );
                }
            }
            Happening::Datagram { id, bytes } if self.connections.contains_key(&id) => {
                self.machine.handle(
                    now,
                    Input::Datagram {
                        connection: id,
                        bytes: bytes.into(),
                    },
                );
            }
            Happening::Frame { id, bytes } if self.connections.contains_key(&id) => {
                self.machine.handle(
                    now,
                    Input::Frame {
                        connection: id,
                        bytes,
                    },
                );
            }
            Happening::Unread { id, why } if self.connections.contains_key(&id) => {
                self.machine.handle(
                    now,
                    Input::Unread {
                        connection: id,
                        why,
                    },
                );
            }
            // What arrives after the end of its connection is nobody's.
            Happening::Datagram { .. } | Happening::Frame { .. } | Happening::Unread { .. } => {}
        }
    }

    fn register(&mut self, connection: &Connection) -> ConnectionId {
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        let frames = connection::start(
            id,
            connection.clone(),
            self.happenings.clone(),
            self.refusals.clone(),
        );
        self.traffic.began(id, connection.clone());
        self.connections.insert(
            id,
            Link {
                connection: connection.clone(),
                frames,
            },
        );
        id
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Dial { uid, address, key } => {
                    let dial = Dial {
                        uid,
                        key,
                        address,
                        cluster: self.cluster,
                        endpoint: self.endpoint.clone(),
                        client: self.dialer.get(),
                    };
                    tokio::spawn(dial.run(self.happenings.clone(), self.refusals.clone()));
                }
                Output::Close { connection, reason } => {
                    if let Some(link) = self.connections.remove(&connection) {
                        link.connection.close(VarInt::from_u32(reason.code()), b"");
                        self.traffic.ended(connection);
                    }
                }
                Output::Datagram { connection, bytes } => self.send_datagram(connection, bytes),
                Output::Knock { uid, address } => self.knock(uid, address),
                Output::Frame { connection, bytes } => {
                    let full = self
                        .connections
                        .get(&connection)
                        .is_some_and(|link| !link.frames.push(bytes));
                    if full {
                        self.machine
                            .handle(clock::now(), Input::SendDropped { connection });
                    }
                }
                Output::Event(event) => {
                    if let Err(error) = self.events.try_send(event) {
                        tracing::error!(%error, "an event was lost: the shell does not keep up");
                    }
                }
            }
        }
    }

    fn knock(&self, uid: Uid, address: SocketAddr) {
        let Ok(permit) = self.knocks.clone().try_acquire_owned() else {
            return;
        };
        let happenings = self.happenings.clone();
        tokio::spawn(async move {
            if knock::is_refused(address).await {
                // With the driver gone, nobody is left to tell.
                let _ = happenings.send(Happening::Refused { uid }).await;
            }
            drop(permit);
        });
    }

    fn send_datagram(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        let Some(link) = self.connections.get(&id) else {
            return;
        };
        // The buffer holds a few datagrams; a newer one pushes the oldest out, which is then lost.
        let full = link.connection.datagram_send_buffer_space() < bytes.len();
        if link.connection.send_datagram(Bytes::from(bytes)).is_err() || full {
            self.machine
                .handle(clock::now(), Input::SendDropped { connection: id });
        }
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// How a connection ended, in the mesh's words.
fn disconnect(error: &quinn::ConnectionError) -> Disconnect {
    use quinn::ConnectionError as E;
    let going = VarInt::from_u32(CloseReason::GoingAway.code());
    match error {
        E::ApplicationClosed(close) if close.error_code == going => Disconnect::GoneAway,
        E::ApplicationClosed(_) | E::ConnectionClosed(_) => Disconnect::ClosedByPeer,
        E::Reset => Disconnect::Reset,
        E::TimedOut => Disconnect::TimedOut,
        _ => Disconnect::Local,
    }
}

#[cfg(test)]
mod machine_tests;
#[cfg(test)]
mod tests;
