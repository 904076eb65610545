//! An operator without Kubernetes: it admits whoever asks, and removes whom the test names.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slotmesh_mesh::identity::{Keypair, PublicKey, Uid};
use slotmesh_mesh::join::JoinResponse;
use slotmesh_mesh::machine::Event;
use slotmesh_mesh::map::{Map, Member, Owner, Protocol};
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::slot::SlotSet;
use slotmesh_mesh::watch::{Watch, WatchConfig};
use slotmesh_transport::authority::{Authority, CERTIFICATE_LIFETIME, key_of_request};
use slotmesh_transport::clock;
use slotmesh_transport::driver::{Driver, DriverConfig};
use slotmesh_transport::endpoint::{Credentials, dialing_endpoint};
use slotmesh_transport::join::{Certificates, Listener, Request};
use slotmesh_transport::verifier::PeerVerifier;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Deaths and departures within that time are one epoch.
const BATCH: std::time::Duration = std::time::Duration::from_millis(300);

/// Where an agent runs.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) mesh: SocketAddr,
    pub(crate) http: SocketAddr,
}

pub(crate) struct Operator {
    pub(crate) cluster: Uid,
    /// The trust ConfigMap and the token, as a pod mounts them.
    pub(crate) folder: TempDir,
    state: Arc<Mutex<State>>,
    door: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    authority: Authority,
    lifetime: Duration,
    lets_go: bool,
    map: Map,
    places: BTreeMap<Uid, Place>,
    answers: VecDeque<JoinResponse>,
    watch: Option<Driver<Watch>>,
    map_key: Keypair,
    join_address: SocketAddr,
}

impl Operator {
    /// Comes up with an open door.
    pub(crate) fn start() -> Self {
        let cluster = Uid::from_bytes([200; 16]);
        let authority = Authority::generate(cluster, SystemTime::now()).unwrap();
        let folder = TempDir::new().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("ca.crt", authority.certificate_pem());
        let map_key = Keypair::from_seed([250; 32]);
        write("map-keys", &STANDARD.encode(map_key.public().as_bytes()));
        write("token", "a-token");
        let map = Map {
            cluster,
            cell: "sessions-bcdfg".into(),
            era: 0,
            epoch: 100,
            slots: SlotSet::full(),
            protocol: Protocol::default(),
            members: Vec::new(),
            delegation: Vec::new(),
            directory: Vec::new(),
        };
        let state = Arc::new(Mutex::new(State {
            authority,
            lifetime: CERTIFICATE_LIFETIME,
            lets_go: true,
            map,
            places: BTreeMap::new(),
            answers: VecDeque::new(),
            watch: None,
            map_key,
            join_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        }));
        let operator = Self {
            cluster,
            folder,
            state,
            door: Mutex::new(None),
        };
        operator.open_door();
        operator
    }

    pub(crate) fn expect(&self, uid: Uid, place: Place) {
        self.state.lock().unwrap().places.insert(uid, place);
    }

    /// The next request gets this answer, and no other.
    pub(in crate::tests) fn answer_first(&self, answer: JoinResponse) {
        self.state.lock().unwrap().answers.push_back(answer);
    }

    pub(in crate::tests) fn key_of(&self, uid: Uid) -> PublicKey {
        self.find_key(uid).unwrap()
    }

    /// The key of a member, if it is one.
    pub(super) fn find_key(&self, uid: Uid) -> Option<PublicKey> {
        let state = self.state.lock().unwrap();
        state.map.member(uid).map(|member| member.key)
    }

    /// A map without that member, whom the verdict found failed.
    pub(in crate::tests) async fn remove(&self, uid: Uid) {
        self.state.lock().unwrap().remove(uid);
    }

    /// Listens where nobody listened before, as a new leader does.
    pub(in crate::tests) fn open_door(&self) {
        let credentials = self.state.lock().unwrap().credentials();
        let certificates = Arc::new(Certificates::default());
        certificates.insert(self.cluster, &credentials).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listener = Listener::bind(any, certificates).unwrap();
        self.write_join_address(&listener.address().to_string());
        self.state.lock().unwrap().join_address = listener.address();
        let state = self.state.clone();
        let task = tokio::spawn(async move {
            while let Some(request) = listener.next().await {
                answer(&state, request).await;
            }
        });
        *self.door.lock().unwrap() = Some(task);
    }

    /// Whoever leaves stays in the map.
    pub(crate) fn let_nobody_go(&self) {
        self.state.lock().unwrap().lets_go = false;
    }

    /// A map of the next epoch; returns which.
    pub(crate) fn publish(&self) -> u64 {
        self.state.lock().unwrap().publish().map().epoch
    }

    /// Certificates that are issued from now on live that long.
    pub(super) fn certify_for(&self, lifetime: Duration) {
        self.state.lock().unwrap().lifetime = lifetime;
    }

    /// What the trust ConfigMap says about where to join.
    pub(super) fn write_join_address(&self, address: &str) {
        std::fs::write(self.folder.path().join("join-address"), address).unwrap();
    }

    /// Where the door is.
    pub(super) fn address(&self) -> SocketAddr {
        self.state.lock().unwrap().join_address
    }

    pub(super) fn epoch(&self) -> u64 {
        self.state.lock().unwrap().map.epoch
    }

    /// Every key is lost: new ones are made, and the record goes on under a new era.
    pub(super) async fn replace_keys(&self) {
        self.close_door().await;
        let watch = {
            let mut state = self.state.lock().unwrap();
            state.authority = Authority::generate(self.cluster, SystemTime::now()).unwrap();
            state.map_key = Keypair::from_seed([249; 32]);
            state.map.era += 1;
            let write = |name: &str, text: &str| {
                std::fs::write(self.folder.path().join(name), text).unwrap();
            };
            write("ca.crt", state.authority.certificate_pem());
            let key = STANDARD.encode(state.map_key.public().as_bytes());
            write("map-keys", &key);
            state.watch.take()
        };
        if let Some(watch) = watch {
            watch.stop().await;
        }
        self.open_door();
    }

    pub(in crate::tests) async fn close_door(&self) {
        let task = self.door.lock().unwrap().take().unwrap();
        task.abort();
        let _ = task.await;
    }

    /// Neither joins nor probes nor maps.
    pub(in crate::tests) async fn go_away(&self) {
        self.close_door().await;
        let watch = self.state.lock().unwrap().watch.take().unwrap();
        watch.stop().await;
    }
}

async fn answer(state: &Arc<Mutex<State>>, asked: Request) {
    let Request {
        request,
        mut responder,
        ..
    } = asked;
    let instead = state.lock().unwrap().answers.pop_front();
    if let Some(instead) = instead {
        return responder.finish(&instead).await;
    }
    assert_eq!(request.token, "a-token");
    let leaf = state
        .lock()
        .unwrap()
        .certify(&request.csr_der, request.pod_uid);
    let certificate = JoinResponse::Certificate {
        chain_der: vec![leaf],
    };
    if responder.send(&certificate).await.is_err() {
        return;
    }
    let key = key_of_request(&request.csr_der).unwrap();
    let renews = {
        let state = state.lock().unwrap();
        let member = state.map.member(request.pod_uid);
        member.is_some_and(|member| member.key == key)
    };
    if renews {
        return responder.gone().await;
    }
    let signed = state.lock().unwrap().admit(request.pod_uid, key, state);
    tokio::spawn(async move { responder.finish(&JoinResponse::Map(signed.encode())).await });
}

impl State {
    fn credentials(&self) -> Credentials {
        let keypair = Keypair::from_seed([251; 32]);
        let leaf = self
            .authority
            .issue_operator(&keypair, self.map.cluster, SystemTime::now(), self.lifetime)
            .unwrap();
        Credentials {
            chain: vec![leaf],
            keypair,
        }
    }

    fn certify(&self, request: &[u8], pod: Uid) -> Vec<u8> {
        let cluster = self.map.cluster;
        let now = SystemTime::now();
        let issued = self
            .authority
            .issue(request, cluster, pod, now, self.lifetime);
        issued.unwrap().0.to_vec()
    }

    fn admit(&mut self, uid: Uid, key: PublicKey, state: &Arc<Mutex<Self>>) -> SignedMap {
        let place = self.places.get(&uid).unwrap().clone();
        self.map.members.retain(|member| member.uid != uid);
        self.map.members.push(Member {
            name: place.name.clone(),
            uid,
            incarnation: self.map.epoch + 1,
            key,
            node: format!("node-of-{}", place.name),
            zone: String::new(),
            address: place.mesh,
            failed: false,
            owners: vec![Owner {
                name: place.name,
                uid,
                address: place.http,
                capacity: 100,
                slots: SlotSet::empty(),
            }],
        });
        self.map.members.sort_by(|a, b| a.name.cmp(&b.name));
        let signed = self.publish();
        if self.watch.is_none() {
            self.watch = Some(self.watch(signed.clone(), state.clone()));
        }
        signed
    }

    fn remove(&mut self, uid: Uid) {
        self.map.members.retain(|member| member.uid != uid);
        self.publish();
    }

    /// The next epoch: slots dealt out evenly, signed, and told to whoever is watched.
    fn publish(&mut self) -> SignedMap {
        self.map.epoch += 1;
        let (mut left, mut members) = (SlotSet::full(), self.map.members.len());
        for member in &mut self.map.members {
            let share = left.len() / u16::try_from(members).unwrap();
            member.owners[0].slots = left.take_lowest(share);
            members -= 1;
        }
        let signed = SignedMap::sign(self.map.clone(), &self.map_key).unwrap();
        if let Some(watch) = &self.watch {
            let (handle, map) = (watch.handle(), signed.clone());
            tokio::spawn(async move {
                let publish = move |watch: &mut Watch| watch.publish(clock::now(), map);
                let _ = handle.with(publish).await;
            });
        }
        signed
    }

    /// Watches the cell; whoever says that it leaves is taken out of the map.
    fn watch(&self, signed: SignedMap, state: Arc<Mutex<Self>>) -> Driver<Watch> {
        let roots = vec![self.authority.certificate().clone()];
        let cluster = self.map.cluster;
        let verifier = PeerVerifier::new(cluster, roots, Arc::new(|_| false));
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (endpoint, client) = dialing_endpoint(any, &self.credentials(), &verifier).unwrap();
        let config = WatchConfig {
            keypair: self.map_key.clone(),
            first_sequence: self.map.epoch,
            take_census: false,
        };
        let config_of_driver = DriverConfig {
            endpoint,
            client,
            cluster,
        };
        let mut watch = Watch::new(config, signed, clock::now());
        watch.answer_joins_at(self.join_address);
        let (driver, mut events) = Driver::start(watch, config_of_driver);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let Event::Leaving { member } = event {
                    // As the real one does: otherwise the map could overtake what it is made from.
                    tokio::time::sleep(BATCH).await;
                    let mut state = state.lock().unwrap();
                    if state.lets_go {
                        state.remove(member.uid);
                    }
                }
            }
        });
        driver
    }
}
