#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::Ipv4Addr;
use std::time::SystemTime;

use slotmesh_mesh::identity::Keypair;

use super::*;
use crate::authority::Authority;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn uid(n: u8) -> Uid {
    Uid::from_bytes([n; 16])
}

fn request(cluster: u8) -> JoinRequest {
    JoinRequest {
        cluster: uid(cluster),
        pod_uid: uid(1),
        token: "t".into(),
        csr_der: vec![1],
    }
}

fn serve(authority: &Authority, certificates: &Certificates, cluster: u8) {
    let keypair = Keypair::from_seed([cluster; 32]);
    let leaf = authority
        .issue_operator(
            &keypair,
            uid(cluster),
            SystemTime::now(),
            crate::authority::CERTIFICATE_LIFETIME,
        )
        .unwrap();
    certificates
        .insert(
            uid(cluster),
            &Credentials {
                chain: vec![leaf],
                keypair,
            },
        )
        .unwrap();
}

fn listener(certificates: &Arc<Certificates>) -> Listener {
    Listener::bind(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        certificates.clone(),
    )
    .unwrap()
}

#[tokio::test]
async fn a_conversation_with_each_of_two_clusters() {
    let certificates = Arc::new(Certificates::default());
    let authorities = [1, 2].map(|n| Authority::generate(uid(n), SystemTime::now()).unwrap());
    for (authority, n) in authorities.iter().zip([1, 2]) {
        serve(authority, &certificates, n);
    }
    let mut listener = listener(&certificates);
    let address = listener.address();
    let operator = tokio::spawn(async move {
        for _ in 0..2 {
            let mut asked = listener.next().await.unwrap();
            asked
                .responder
                .send(&JoinResponse::Certificate {
                    chain_der: vec![vec![1]],
                })
                .await
                .unwrap();
            let name = asked.request.cluster.to_string().into_bytes();
            asked.responder.finish(&JoinResponse::Map(name)).await;
        }
    });
    for (authority, n) in authorities.iter().zip([1, 2]) {
        let roots = vec![authority.certificate().clone()];
        let mut joining = Joining::start(LOCAL, address, roots, &request(n))
            .await
            .unwrap();
        let first = joining.next().await.unwrap();
        assert_eq!(
            first,
            JoinResponse::Certificate {
                chain_der: vec![vec![1]]
            }
        );
        assert_eq!(
            joining.next().await.unwrap(),
            JoinResponse::Map(uid(n).to_string().into_bytes())
        );
        joining.finish().await;
    }
    operator.await.unwrap();
}

#[tokio::test]
async fn an_operator_of_another_authority_is_not_trusted() {
    let certificates = Arc::new(Certificates::default());
    let real = Authority::generate(uid(1), SystemTime::now()).unwrap();
    let other = Authority::generate(uid(1), SystemTime::now()).unwrap();
    serve(&other, &certificates, 1);
    let listener = listener(&certificates);
    let roots = vec![real.certificate().clone()];
    let error = Joining::start(LOCAL, listener.address(), roots, &request(1))
        .await
        .unwrap_err();
    assert!(matches!(error, JoinError::NotTrusted { .. }), "{error}");
}

#[tokio::test]
async fn a_member_cannot_pose_as_the_operator() {
    let certificates = Arc::new(Certificates::default());
    let authority = Authority::generate(uid(1), SystemTime::now()).unwrap();
    let keypair = Keypair::from_seed([5; 32]);
    let csr = crate::identity::signing_request(&keypair, uid(1), uid(9)).unwrap();
    let life = crate::authority::CERTIFICATE_LIFETIME;
    let (leaf, _) = authority
        .issue(&csr, uid(1), uid(9), SystemTime::now(), life)
        .unwrap();
    certificates
        .insert(
            uid(1),
            &Credentials {
                chain: vec![leaf],
                keypair,
            },
        )
        .unwrap();
    let listener = listener(&certificates);
    let roots = vec![authority.certificate().clone()];
    let error = Joining::start(LOCAL, listener.address(), roots, &request(1))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not the operator's"), "{error}");
}

#[tokio::test]
async fn an_unknown_cluster_and_an_empty_port_are_told_apart() {
    let certificates = Arc::new(Certificates::default());
    let authority = Authority::generate(uid(1), SystemTime::now()).unwrap();
    serve(&authority, &certificates, 1);
    let listener = listener(&certificates);
    let roots = vec![authority.certificate().clone()];
    let unknown = Joining::start(LOCAL, listener.address(), roots.clone(), &request(2))
        .await
        .unwrap_err();
    assert!(matches!(unknown, JoinError::NotTrusted { .. }), "{unknown}");
    let address = listener.address();
    drop(listener);
    let nobody = Joining::start(LOCAL, address, roots, &request(1))
        .await
        .unwrap_err();
    assert!(!nobody.to_string().is_empty());
}

#[tokio::test]
async fn an_agent_that_waits_for_its_first_map_stays_connected() {
    let certificates = Arc::new(Certificates::default());
    let authority = Authority::generate(uid(1), SystemTime::now()).unwrap();
    serve(&authority, &certificates, 1);
    let mut listener = listener(&certificates);
    let roots = vec![authority.certificate().clone()];
    let joining = Joining::start(LOCAL, listener.address(), roots, &request(1))
        .await
        .unwrap();
    let asked = listener.next().await.unwrap();
    // Without these the connection ends after 10 s of silence: as long as a first map may take.
    let kept_alive = async {
        while joining.connection.stats().frame_tx.ping == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(9), kept_alive)
        .await
        .unwrap();
    drop(asked);
}

#[tokio::test]
async fn a_guest_that_will_not_go_is_shown_out() {
    let certificates = Arc::new(Certificates::default());
    let authority = Authority::generate(uid(1), SystemTime::now()).unwrap();
    serve(&authority, &certificates, 1);
    let mut listener = listener(&certificates);
    let roots = vec![authority.certificate().clone()];
    let joining = Joining::start(LOCAL, listener.address(), roots, &request(1))
        .await
        .unwrap();
    // Nobody answers this request. The agent's side stays open, and so would its place be taken.
    drop(listener.next().await.unwrap());
    let closed = tokio::time::timeout(Duration::from_secs(5), joining.connection.closed()).await;
    assert!(
        matches!(closed, Ok(quinn::ConnectionError::ApplicationClosed(_))),
        "{closed:?}"
    );
}

#[tokio::test]
async fn an_operator_that_does_not_lead_points_to_the_one_that_does() {
    let certificates = Arc::new(Certificates::default());
    let authority = Authority::generate(uid(1), SystemTime::now()).unwrap();
    let mut listener = listener(&certificates);
    let roots = vec![authority.certificate().clone()];
    let leader: SocketAddr = "10.0.0.7:7401".parse().unwrap();
    certificates.point_to(Some(leader)).unwrap();
    let address = listener.address();
    let asked = request(1);
    let start = || Joining::start(LOCAL, address, roots.clone(), &asked);
    let found = start().await.unwrap_err();
    assert!(
        matches!(found, JoinError::NotLeader { leader: named, .. } if named == leader),
        "{found}"
    );
    // The token never left the agent: a signpost is no operator.
    assert!(listener.requests.try_recv().is_err());

    certificates.point_to(None).unwrap();
    let nobody = start().await.unwrap_err();
    assert!(matches!(nobody, JoinError::NotTrusted { .. }), "{nobody}");

    // What it serves itself goes before the signpost.
    certificates.point_to(Some(leader)).unwrap();
    serve(&authority, &certificates, 1);
    let joining = start().await.unwrap();
    assert_eq!(listener.next().await.unwrap().request.cluster, uid(1));
    joining.finish().await;
}
