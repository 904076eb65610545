//! The CustomResourceDefinitions, generated from the types. `crds/` in the repository holds them as
//! YAML; a test checks that it is current.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{GossipCell, GossipCluster};

/// Every kind with the file name under `crds/`.
#[must_use]
pub fn all() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("slotmesh.dev_gossipclusters.yaml", GossipCluster::crd()),
        ("slotmesh.dev_gossipcells.yaml", GossipCell::crd()),
    ]
}
