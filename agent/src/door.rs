//! The agent's mesh port, and what it shows to whoever knocks.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::{ClientConfig, Endpoint};
use rustls_pki_types::CertificateDer;
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::machine::PeerIdentity;
use slotmesh_transport::endpoint::{Credentials, EndpointError, accept_as, client_config};
use slotmesh_transport::verifier::PeerVerifier;

use crate::snapshot::Shared;

/// The agent's mesh port, bound once, which opens with each certificate.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) endpoint: Endpoint,
    pub(crate) snapshots: Shared,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the port shows while nothing else is tried: the certificate of the membership in force.
    shown: Option<Shown>,
    /// An attempt to join shows a certificate of its own.
    trying: bool,
    /// Where the operator that leads answers joins, as the mesh tells.
    leader: Option<SocketAddr>,
}

#[derive(Clone, Debug)]
struct Shown {
    credentials: Credentials,
    verifier: Arc<PeerVerifier>,
}

impl Door {
    pub(crate) fn new(endpoint: Endpoint, snapshots: Shared) -> Self {
        Self {
            endpoint,
            snapshots,
            state: Mutex::default(),
        }
    }

    /// Shows a new certificate; the one before is back when the attempt comes to nothing.
    pub(crate) fn open(
        &self,
        cluster: Uid,
        roots: Vec<CertificateDer<'static>>,
        credentials: Credentials,
    ) -> Result<(ClientConfig, Opened<'_>), EndpointError> {
        // Whoever the map in force lists may show an expired certificate.
        let listed = self.snapshots.clone();
        let is_listed = move |peer: &PeerIdentity| match peer {
            PeerIdentity::Operator => false,
            PeerIdentity::Agent { uid, key } => listed.load().as_ref().is_some_and(|snapshot| {
                snapshot
                    .map
                    .member(*uid)
                    .is_some_and(|member| member.key == *key)
            }),
        };
        let verifier = PeerVerifier::new(cluster, roots, Arc::new(is_listed));
        let client = accept_as(&self.endpoint, &credentials, &verifier)?;
        self.state().trying = true;
        let new = Some(Shown {
            credentials,
            verifier,
        });
        Ok((client, Opened { door: self, new }))
    }

    /// The membership in force has a new certificate of the same key. Connections stay; new ones show
    /// it, once no attempt to join shows another.
    pub(crate) fn renew(
        &self,
        credentials: Credentials,
    ) -> Result<Option<ClientConfig>, EndpointError> {
        let mut state = self.state();
        let Some(shown) = &mut state.shown else {
            return Ok(None);
        };
        if shown.credentials.keypair.public() != credentials.keypair.public() {
            return Ok(None);
        }
        shown.credentials = credentials;
        let shown = shown.clone();
        if state.trying {
            return client_config(&shown.credentials, &shown.verifier).map(Some);
        }
        accept_as(&self.endpoint, &shown.credentials, &shown.verifier).map(Some)
    }

    /// The operator told the mesh where it answers joins.
    pub(crate) fn set_leader(&self, leader: SocketAddr) {
        self.state().leader = Some(leader);
    }

    /// Where the operator that leads answers joins, as the mesh last told.
    pub(crate) fn leader(&self) -> Option<SocketAddr> {
        self.state().leader
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A door opened for an attempt.
pub(crate) struct Opened<'a> {
    door: &'a Door,
    new: Option<Shown>,
}

impl Opened<'_> {
    /// The attempt succeeded: the new certificate stays.
    pub(crate) fn keep(mut self) {
        self.door.state().shown = self.new.take();
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        let mut state = self.door.state();
        state.trying = false;
        if self.new.is_none() {
            return;
        }
        if let Some(before) = &state.shown
            && let Err(error) =
                accept_as(&self.door.endpoint, &before.credentials, &before.verifier)
        {
            tracing::error!(%error, "the certificate in force cannot be shown again");
        }
    }
}
