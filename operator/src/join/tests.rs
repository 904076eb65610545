#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::IpAddr;
use std::time::SystemTime;

use slotmesh_mesh::identity::Keypair;
use slotmesh_mesh::join::JoinRequest;
use slotmesh_mesh::map::Map;
use slotmesh_transport::identity::signing_request;
use slotmesh_transport::join::{JoinError, Joining};

use super::admission::{No, admit};
use super::*;
use crate::seam::{
    ApiFailure, PodFacts, RecordFailure, RecordVersion, Recorded, ReviewFailure, TokenFacts,
};

/// Far longer than anything takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// An API server with one pod and one good token.
struct Api {
    token: Result<TokenFacts, ReviewFailure>,
    pod: Result<Option<PodFacts>, ApiFailure>,
}

impl Kubernetes for Api {
    async fn review_token(&self, token: &str, audience: Uid) -> Result<TokenFacts, ReviewFailure> {
        if token != "good" || audience != uid(1) {
            return Err(ReviewFailure::NotAuthenticated("no".into()));
        }
        self.token.clone()
    }

    async fn live_pod(
        &self,
        _namespace: &str,
        _name: &str,
    ) -> Result<Option<PodFacts>, ApiFailure> {
        self.pod.clone()
    }

    async fn list_records(
        &self,
        _cluster: &ClusterKey,
    ) -> Result<std::collections::BTreeSet<String>, RecordFailure> {
        unreachable!("no record is asked for")
    }

    async fn delete_record(
        &self,
        _cluster: &ClusterKey,
        _cell: &str,
        _version: &RecordVersion,
    ) -> Result<(), RecordFailure> {
        unreachable!("no record is deleted")
    }

    async fn read_record(
        &self,
        _cluster: &ClusterKey,
        _cell: &str,
    ) -> Result<Option<Recorded>, RecordFailure> {
        Ok(None)
    }

    async fn write_record(
        &self,
        _cluster: &ClusterKey,
        _parent: Option<&RecordVersion>,
        _map: &Map,
    ) -> Result<RecordVersion, RecordFailure> {
        Err(RecordFailure::Unavailable("no".into()))
    }
}

fn uid(n: u8) -> Uid {
    Uid::from_bytes([n; 16])
}

fn cluster() -> ClusterKey {
    ClusterKey {
        namespace: "team".into(),
        name: "sessions".into(),
        uid: uid(1),
    }
}

fn api() -> Api {
    Api {
        token: Ok(TokenFacts {
            pod_name: "sessions-agent-x".into(),
            pod_uid: uid(2),
            node_name: Some("node-1".into()),
            namespace: "team".into(),
            service_account: "sessions-agent".into(),
        }),
        pod: Ok(Some(PodFacts {
            name: "sessions-agent-x".into(),
            uid: uid(2),
            node: "node-1".into(),
            zone: String::new(),
            ip: Some(IpAddr::from([127, 0, 0, 1])),
            daemon_set_uid: Some(uid(3)),
            cluster_uid_label: Some(uid(1)),
            deleting: false,
            finished: false,
            ready: true,
            capacity: 100,
        })),
    }
}

fn request() -> JoinRequest {
    let csr_der = signing_request(&Keypair::from_seed([5; 32]), uid(1), uid(2)).unwrap();
    JoinRequest {
        cluster: uid(1),
        pod_uid: uid(2),
        token: "good".into(),
        csr_der,
    }
}

async fn category(api: &Api, request: &JoinRequest, remote: [u8; 4]) -> String {
    match admit(request, remote.into(), &cluster(), Some(uid(3)), api).await {
        Ok(candidate) => candidate.name,
        Err(No::Later { .. }) => "later".into(),
        Err(No::Never { category, .. }) => category.into(),
    }
}

#[tokio::test]
async fn everything_has_to_agree() {
    type Case = (&'static str, fn(&mut TokenFacts), fn(&mut PodFacts));
    let cases: [Case; 13] = [
        ("sessions-agent-x", |_| {}, |_| {}),
        ("WrongPod", |token| token.pod_uid = uid(9), |_| {}),
        (
            "WrongServiceAccount",
            |token| token.service_account = "default".into(),
            |_| {},
        ),
        (
            "WrongServiceAccount",
            |token| token.namespace = "other".into(),
            |_| {},
        ),
        ("PodGone", |_| {}, |pod| pod.uid = uid(9)),
        ("PodEnding", |_| {}, |pod| pod.deleting = true),
        ("PodEnding", |_| {}, |pod| pod.finished = true),
        (
            "WrongCluster",
            |_| {},
            |pod| pod.cluster_uid_label = Some(uid(9)),
        ),
        ("WrongCluster", |_| {}, |pod| pod.cluster_uid_label = None),
        ("WrongController", |_| {}, |pod| pod.daemon_set_uid = None),
        (
            "WrongController",
            |_| {},
            |pod| pod.daemon_set_uid = Some(uid(9)),
        ),
        (
            "WrongNode",
            |token| token.node_name = Some("node-2".into()),
            |_| {},
        ),
        ("later", |_| {}, |pod| pod.ip = None),
    ];
    for (expected, change_token, change_pod) in cases {
        let mut api = api();
        api.token.as_mut().map(change_token).unwrap();
        api.pod
            .as_mut()
            .map(|pod| change_pod(pod.as_mut().unwrap()))
            .unwrap();
        assert_eq!(category(&api, &request(), [127, 0, 0, 1]).await, expected);
    }
    assert_eq!(
        category(&api(), &request(), [127, 0, 0, 2]).await,
        "WrongAddress"
    );
    let forged = JoinRequest {
        token: "bad".into(),
        ..request()
    };
    assert_eq!(
        category(&api(), &forged, [127, 0, 0, 1]).await,
        "TokenRefused"
    );
    let garbage = JoinRequest {
        csr_der: vec![1, 2, 3],
        ..request()
    };
    assert_eq!(
        category(&api(), &garbage, [127, 0, 0, 1]).await,
        "BadSigningRequest"
    );
    let away = Api {
        pod: Err(ApiFailure("down".into())),
        ..api()
    };
    assert_eq!(category(&away, &request(), [127, 0, 0, 1]).await, "later");
    let gone = Api {
        pod: Ok(None),
        ..api()
    };
    assert_eq!(category(&gone, &request(), [127, 0, 0, 1]).await, "PodGone");
}

/// The label on a pod is its maker's to choose: only its controller proves whose it is.
#[tokio::test]
async fn until_the_daemon_set_is_known_a_pod_of_any_waits() {
    let remote = IpAddr::from([127, 0, 0, 1]);
    let answer = admit(&request(), remote, &cluster(), None, &api()).await;
    assert!(
        matches!(answer, Err(No::Later { after_ms: 200, .. })),
        "{answer:?}"
    );
    let mut of_nobody = api();
    let pod = of_nobody.pod.as_mut().unwrap().as_mut().unwrap();
    pod.daemon_set_uid = None;
    let answer = admit(&request(), remote, &cluster(), None, &of_nobody).await;
    assert!(
        matches!(
            answer,
            Err(No::Never {
                category: "WrongController",
                ..
            })
        ),
        "{answer:?}"
    );
}

/// A port that serves the cluster, or nobody.
struct Scene {
    port: Port,
    leader: watch::Sender<Option<SocketAddr>>,
    registry: Registry,
    authority: Arc<Authority>,
    registered: Option<(Registered, mpsc::Receiver<Knock>)>,
    _inventory: watch::Sender<Inventory>,
}

impl Scene {
    fn set() -> Self {
        let registry = Registry::default();
        let authority = Arc::new(Authority::generate(uid(1), SystemTime::now()).unwrap());
        let keypair = Keypair::from_seed([7; 32]);
        let leaf = authority
            .issue_operator(&keypair, uid(1), SystemTime::now(), CERTIFICATE_LIFETIME)
            .unwrap();
        let credentials = Credentials {
            chain: vec![leaf],
            keypair,
        };
        let (inventory, receiver) = watch::channel(Inventory {
            daemon_set_uid: Some(uid(3)),
            ..Inventory::default()
        });
        let registered = registry
            .register(&cluster(), authority.clone(), &credentials, receiver)
            .unwrap();
        let (leader, known) = watch::channel(None);
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let port = Port::bind(at, registry.clone(), known, Metrics::new().unwrap()).unwrap();
        Self {
            port,
            leader,
            registry,
            authority,
            registered: Some(registered),
            _inventory: inventory,
        }
    }

    fn knocks(&mut self) -> mpsc::Receiver<Knock> {
        let (registered, knocks) = self.registered.take().unwrap();
        let (_, nobody) = mpsc::channel(1);
        self.registered = Some((registered, nobody));
        knocks
    }
}

/// An agent at that port.
struct Asker {
    address: SocketAddr,
    roots: Vec<rustls_pki_types::CertificateDer<'static>>,
}

impl Asker {
    fn of(scene: &Scene) -> Self {
        Self {
            address: scene.port.address(),
            roots: vec![scene.authority.certificate().clone()],
        }
    }

    async fn ask(&self, request: &JoinRequest) -> Result<Joining, JoinError> {
        let local = [127, 0, 0, 1].into();
        Joining::start(local, self.address, self.roots.clone(), request).await
    }
}

fn outcomes(metrics: &Metrics, outcome: &str) -> u64 {
    metrics.joins.with_label_values(&[outcome]).get()
}

#[tokio::test]
async fn an_agent_is_admitted_over_the_wire_and_a_stranger_is_not() {
    let mut scene = Scene::set();
    let (asker, metrics) = (Asker::of(&scene), scene.port.metrics.clone());
    let mut knocks = scene.knocks();
    let agents = async {
        let forged = JoinRequest {
            token: "bad".into(),
            ..request()
        };
        let mut stranger = asker.ask(&forged).await.unwrap();
        assert!(
            matches!(stranger.next().await.unwrap(), JoinResponse::Refused { category, .. } if category == "TokenRefused")
        );
        assert!(matches!(
            knocks.recv().await.unwrap(),
            Knock::Refused { .. }
        ));
        stranger.finish().await;
        while outcomes(&metrics, "refused") == 0 {
            tokio::task::yield_now().await;
        }

        let mut agent = asker.ask(&request()).await.unwrap();
        assert!(matches!(
            agent.next().await.unwrap(),
            JoinResponse::Certificate { .. }
        ));
        let Knock::Admit { candidate, reply } = knocks.recv().await.unwrap() else {
            panic!("an admission")
        };
        let mut life = crate::life::Life::new(
            crate::life::LifeSettings {
                cluster: uid(1),
                cell: "cell".into(),
                first_epoch: 5,
                heartbeat_interval_ms: 200,
            },
            None,
            slotmesh_mesh::time::Instant::ZERO,
        );
        life.join(slotmesh_mesh::time::Instant::ZERO, candidate);
        let later = slotmesh_mesh::time::Instant::from_micros(60_000_000);
        let map = life.propose(later, 1, 0).unwrap().unwrap().map;
        let signer = Keypair::from_seed([8; 32]);
        let signed = SignedMap::sign(map.clone(), &signer).unwrap();
        reply.send(Admission::Listed(signed)).unwrap();
        let JoinResponse::Map(bytes) = agent.next().await.unwrap() else {
            panic!("a map")
        };
        let received = SignedMap::decode(&bytes, uid(1), &[signer.public()]).unwrap();
        assert_eq!(**received.map(), map);
        agent.finish().await;
    };
    serving(&mut scene.port, agents).await;
}

/// Lets the port serve as the leader's while something else goes on.
async fn serving<R>(port: &mut Port, during: impl Future<Output = R>) -> R {
    let api = Arc::new(api());
    let both = async {
        tokio::select! {
            () = port.lead(&api) => panic!("the port ended"),
            result = during => result,
        }
    };
    tokio::time::timeout(DEADLINE, both).await.unwrap()
}

async fn following<R>(port: &mut Port, during: impl Future<Output = R>) -> R {
    let both = async {
        tokio::select! {
            () = port.follow() => panic!("the port ended"),
            result = during => result,
        }
    };
    tokio::time::timeout(DEADLINE, both).await.unwrap()
}

#[tokio::test]
async fn whoever_is_listed_already_gets_a_certificate_and_nothing_else() {
    let mut scene = Scene::set();
    let (asker, metrics) = (Asker::of(&scene), scene.port.metrics.clone());
    let mut knocks = scene.knocks();
    let renewal = async {
        let mut agent = asker.ask(&request()).await.unwrap();
        let first = agent.next().await.unwrap();
        assert!(matches!(first, JoinResponse::Certificate { .. }));
        let Knock::Admit { reply, .. } = knocks.recv().await.unwrap() else {
            panic!("a knock")
        };
        reply.send(Admission::Renewed).unwrap();
        agent.finish().await;
        while outcomes(&metrics, "renewed") == 0 {
            tokio::task::yield_now().await;
        }
    };
    serving(&mut scene.port, renewal).await;
    let issued = |purpose| metrics.certificates.with_label_values(&[purpose]).get();
    assert_eq!((issued("renewal"), issued("join")), (1, 0));
}

#[tokio::test]
async fn joins_under_way_go_to_the_next_leader() {
    let mut scene = Scene::set();
    let asker = Asker::of(&scene);
    let mut knocks = scene.knocks();
    let mut agent = serving(&mut scene.port, async {
        let mut agent = asker.ask(&request()).await.unwrap();
        agent.next().await.unwrap();
        assert!(matches!(knocks.recv().await, Some(Knock::Admit { .. })));
        agent
    })
    .await;
    // Deposed: the cell is gone, and with it the reply. The Lease names another by now.
    let next: SocketAddr = "127.0.0.9:7401".parse().unwrap();
    scene.leader.send(Some(next)).unwrap();
    drop((knocks, scene.registered.take()));
    let answer = following(&mut scene.port, agent.next()).await.unwrap();
    let elsewhere = JoinResponse::NotLeader { leader: Some(next) };
    assert_eq!(answer, elsewhere);
    agent.finish().await;

    // Whoever comes now is sent on before it has shown its token.
    let found = following(&mut scene.port, asker.ask(&request())).await;
    assert!(matches!(found, Err(JoinError::NotLeader { leader, .. }) if leader == next));

    // As the leader again it points nowhere.
    scene.leader.send(None).unwrap();
    let found = serving(&mut scene.port, asker.ask(&request())).await;
    assert!(matches!(found, Err(JoinError::NotTrusted { .. })));
    assert!(scene.registry.get(uid(1)).is_none());
}

#[tokio::test]
async fn an_operator_that_ends_answers_joins_under_way() {
    let mut scene = Scene::set();
    let asker = Asker::of(&scene);
    let mut knocks = scene.knocks();
    let mut agent = serving(&mut scene.port, async {
        let mut agent = asker.ask(&request()).await.unwrap();
        agent.next().await.unwrap();
        assert!(matches!(knocks.recv().await, Some(Knock::Admit { .. })));
        agent
    })
    .await;
    drop((knocks, scene.registered.take()));
    let began = std::time::Instant::now();
    let ((), answer) = tokio::join!(scene.port.close(), async {
        let answer = agent.next().await.unwrap();
        agent.finish().await;
        answer
    });
    assert_eq!(answer, JoinResponse::NotLeader { leader: None });
    assert!(began.elapsed() < DEADLINE);
}
