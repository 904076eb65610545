//! A stand-in of the operator, without Kubernetes: it admits whoever has the token over the real join
//! service, and publishes maps that never lose a member. What the members find out is theirs alone.
//!
//! ```text
//!   join ─▶ token, place ─▶ certificate ─▶ pending ─ all are there, or 300 ms ─▶ one signed map
//! ```

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slotmesh_api::names;
use slotmesh_mesh::identity::{Keypair, PublicKey, Uid};
use slotmesh_mesh::join::JoinResponse;
use slotmesh_mesh::map::{Map, Member, Owner, Protocol};
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::slot::SlotSet;
use slotmesh_mesh::watch::{Watch, WatchConfig};
use slotmesh_transport::authority::{Authority, CERTIFICATE_LIFETIME};
use slotmesh_transport::clock;
use slotmesh_transport::driver::{Driver, DriverConfig};
use slotmesh_transport::endpoint::{Credentials, dialing_endpoint};
use slotmesh_transport::join::{Certificates, Listener, Request, Responder};
use slotmesh_transport::verifier::PeerVerifier;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use slotmesh_mesh::batch::BATCH;

use crate::strangers::new_key;

/// Admissions that wait for a map: more members no bench has.
const PENDING_MAX: usize = 1024;
/// Epoch before the first map.
const FIRST_EPOCH: u64 = 100;
/// Name of the token's file in the trust folder.
pub(super) const TOKEN: &str = "token";
/// What every agent shows; no API server is there to review a better one.
const TOKEN_TEXT: &str = "the-token-of-this-bench";

/// Where an agent runs.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) mesh: SocketAddr,
    pub(super) http: SocketAddr,
}

/// A running stand-in; it ends when dropped.
#[derive(Debug)]
pub(super) struct Operator {
    task: JoinHandle<()>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Somebody with a certificate, who waits for a map.
struct Pending {
    uid: Uid,
    key: PublicKey,
    responder: Responder,
}

struct Desk {
    authority: Arc<Authority>,
    keypair: Keypair,
    map_key: Keypair,
    map: Map,
    places: Arc<BTreeMap<Uid, Place>>,
    pending: Vec<Pending>,
    join_address: SocketAddr,
    watch: Option<Driver<Watch>>,
}

impl Operator {
    /// Writes what agents trust into `folder`, and opens the door, at an address that they reach, for those
    /// at `places`. The first map waits until all of them have knocked.
    ///
    /// # Errors
    /// When keys, files or the port cannot be made.
    pub(super) fn start(
        cluster: Uid,
        protocol: Protocol,
        folder: &Path,
        at: Ipv4Addr,
        places: BTreeMap<Uid, Place>,
    ) -> Result<Self> {
        let authority = Authority::generate(cluster, SystemTime::now())?;
        let (keypair, map_key) = (new_key()?, new_key()?);
        let credentials = credentials(&authority, &keypair, cluster)?;
        let certificates = Arc::new(Certificates::default());
        certificates.insert(cluster, &credentials)?;
        let any = SocketAddr::from((at, 0));
        let listener = Listener::bind(any, certificates)?;
        let join_address = listener.address();
        for (name, text) in [
            (names::TRUST_CA, authority.certificate_pem().to_owned()),
            (
                names::TRUST_MAP_KEYS,
                STANDARD.encode(map_key.public().as_bytes()),
            ),
            (names::TRUST_JOIN_ADDRESS, join_address.to_string()),
            (TOKEN, TOKEN_TEXT.to_owned()),
        ] {
            std::fs::write(folder.join(name), text)
                .with_context(|| format!("cannot write {name} into {}", folder.display()))?;
        }
        let desk = Desk {
            authority: Arc::new(authority),
            keypair,
            map_key,
            map: Map {
                cluster,
                cell: "bench-bcdfg".into(),
                era: 0,
                epoch: FIRST_EPOCH,
                slots: SlotSet::full(),
                protocol,
                members: Vec::new(),
                delegation: Vec::new(),
                directory: Vec::new(),
            },
            places: Arc::new(places),
            pending: Vec::new(),
            join_address,
            watch: None,
        };
        Ok(Self {
            task: tokio::spawn(desk.work(listener)),
        })
    }
}

fn credentials(authority: &Authority, keypair: &Keypair, cluster: Uid) -> Result<Credentials> {
    let now = SystemTime::now();
    let leaf = authority.issue_operator(keypair, cluster, now, CERTIFICATE_LIFETIME)?;
    Ok(Credentials {
        chain: vec![leaf],
        keypair: keypair.clone(),
    })
}

impl Desk {
    async fn work(mut self, mut listener: Listener) {
        let (certified, mut inbox) = mpsc::channel(PENDING_MAX);
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                request = listener.next() => {
                    let Some(request) = request else { return };
                    let (authority, places) = (self.authority.clone(), self.places.clone());
                    let (cluster, certified) = (self.map.cluster, certified.clone());
                    tokio::spawn(async move {
                        if let Some(pending) = certify(request, &authority, &places, cluster).await {
                            // Nobody is there to admit it once the bench ends.
                            let _ = certified.send(pending).await;
                        }
                    });
                }
                Some(pending) = inbox.recv() => {
                    self.pending.retain(|other| other.uid != pending.uid);
                    self.pending.push(pending);
                    let first = self.map.members.is_empty();
                    if !first || self.pending.len() == self.places.len() {
                        due.get_or_insert(Instant::now() + BATCH);
                    }
                }
                () = at(due) => {
                    due = None;
                    if let Err(error) = self.admit() {
                        tracing::error!("no map could be made: {error:#}");
                    }
                }
            }
        }
    }

    /// One map that lists everybody who waits.
    fn admit(&mut self) -> Result<()> {
        self.map.epoch += 1;
        let pending = std::mem::take(&mut self.pending);
        for one in &pending {
            let place = self.places.get(&one.uid).context("a place got lost")?;
            self.map.members.retain(|member| member.uid != one.uid);
            self.map.members.push(Member {
                name: place.name.clone(),
                uid: one.uid,
                incarnation: self.map.epoch,
                key: one.key,
                node: format!("node-of-{}", place.name),
                zone: String::new(),
                address: place.mesh,
                failed: false,
                owners: vec![Owner {
                    name: place.name.clone(),
                    uid: one.uid,
                    address: place.http,
                    capacity: 100,
                    slots: SlotSet::empty(),
                }],
            });
        }
        self.map.members.sort_by(|a, b| a.name.cmp(&b.name));
        deal_out(&mut self.map.members)?;
        let signed = SignedMap::sign(self.map.clone(), &self.map_key)?;
        self.publish(&signed)?;
        for one in pending {
            let answer = JoinResponse::Map(signed.encode());
            tokio::spawn(async move { one.responder.finish(&answer).await });
        }
        Ok(())
    }

    fn publish(&mut self, signed: &SignedMap) -> Result<()> {
        let Some(watch) = &self.watch else {
            self.watch = Some(self.start_watch(signed.clone())?);
            return Ok(());
        };
        let (handle, map) = (watch.handle(), signed.clone());
        tokio::spawn(async move {
            // A watch that has stopped is shown by agents that keep the older map.
            let _ = handle
                .with(move |watch: &mut Watch| watch.publish(clock::now(), map))
                .await;
        });
        Ok(())
    }

    /// The operator's own eyes: they hand maps out, and what they see changes no map here.
    fn start_watch(&self, signed: SignedMap) -> Result<Driver<Watch>> {
        let cluster = self.map.cluster;
        let roots = vec![self.authority.certificate().clone()];
        let verifier = PeerVerifier::new(cluster, roots, Arc::new(|_| false));
        let any = SocketAddr::new(self.join_address.ip(), 0);
        let credentials = credentials(&self.authority, &self.keypair, cluster)?;
        let (endpoint, client) = dialing_endpoint(any, &credentials, &verifier)?;
        let config = WatchConfig {
            keypair: self.map_key.clone(),
            first_sequence: self.map.epoch,
            take_census: false,
        };
        let mut watch = Watch::new(config, signed, clock::now());
        watch.answer_joins_at(self.join_address);
        let config = DriverConfig {
            endpoint,
            client,
            cluster,
        };
        let (driver, mut events) = Driver::start(watch, config);
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        Ok(driver)
    }
}

/// Checks who asks and gives it a certificate; none when it is refused or gone.
async fn certify(
    asked: Request,
    authority: &Authority,
    places: &BTreeMap<Uid, Place>,
    cluster: Uid,
) -> Option<Pending> {
    let Request {
        request,
        mut responder,
        ..
    } = asked;
    let (uid, now) = (request.pod_uid, SystemTime::now());
    let known = request.token == TOKEN_TEXT && places.contains_key(&uid);
    let issued = authority.issue(&request.csr_der, cluster, uid, now, CERTIFICATE_LIFETIME);
    let (leaf, key) = match issued {
        Ok(issued) if known => issued,
        _ => {
            let refused = JoinResponse::Refused {
                category: "NotOfThisBench".into(),
                message: "token, pod or signing request is not one of this bench".into(),
            };
            responder.finish(&refused).await;
            return None;
        }
    };
    let chain_der = vec![leaf.to_vec()];
    let certificate = JoinResponse::Certificate { chain_der };
    responder.send(&certificate).await.ok()?;
    Some(Pending {
        uid,
        key,
        responder,
    })
}

/// Every member owns about as many slots as any other.
fn deal_out(members: &mut [Member]) -> Result<()> {
    let (mut left, mut members_left) = (SlotSet::full(), u16::try_from(members.len())?);
    for member in members {
        let share = left.len() / members_left;
        let owner = member
            .owners
            .first_mut()
            .context("a member without owner")?;
        owner.slots = left.take_lowest(share);
        members_left -= 1;
    }
    Ok(())
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
