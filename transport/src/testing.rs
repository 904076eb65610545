//! What tests of several modules need: a cluster's CA, and parties with certificates of it.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quinn::{ClientConfig, Endpoint};
use slotmesh_mesh::identity::{Keypair, Uid};

use crate::authority::{Authority, CERTIFICATE_LIFETIME};
use crate::endpoint::{Credentials, accept_as, bind};
use crate::identity::signing_request;
use crate::verifier::PeerVerifier;

/// Far longer than anything takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Any free port of this machine.
pub(crate) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The cluster of all tests.
pub(crate) fn cluster() -> Uid {
    uid(200)
}

pub(crate) fn uid(n: u8) -> Uid {
    Uid::from_bytes([n; 16])
}

pub(crate) fn keypair(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

pub(crate) fn authority() -> Authority {
    Authority::generate(cluster(), SystemTime::now()).unwrap()
}

/// A certificate of a cluster for a pod, with the key of that number.
pub(crate) fn issued(
    authority: &Authority,
    of: Uid,
    pod: Uid,
    key: u8,
    at: SystemTime,
) -> Credentials {
    let keypair = keypair(key);
    let request = signing_request(&keypair, of, pod).unwrap();
    let (leaf, _) = authority
        .issue(&request, of, pod, at, CERTIFICATE_LIFETIME)
        .unwrap();
    Credentials {
        chain: vec![leaf],
        keypair,
    }
}

/// Pod `n` with key `n`.
pub(crate) fn credentials(authority: &Authority, n: u8) -> Credentials {
    issued(authority, cluster(), uid(n), n, SystemTime::now())
}

pub(crate) fn verifier(authority: &Authority) -> Arc<PeerVerifier> {
    let roots = vec![authority.certificate().clone()];
    PeerVerifier::new(cluster(), roots, Arc::new(|_| false))
}

/// An endpoint that accepts and dials as pod `n`.
pub(crate) fn endpoint(authority: &Authority, n: u8) -> (Endpoint, ClientConfig) {
    let endpoint = bind(ANY).unwrap();
    let client = accept_as(&endpoint, &credentials(authority, n), &verifier(authority)).unwrap();
    (endpoint, client)
}
