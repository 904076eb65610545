//! The name of a cluster, for maps and logs.

use slotmesh_mesh::identity::Uid;

/// Which cluster: a cluster that is deleted and made again is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
}

/// `namespace/name`, as logs have it.
impl std::fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
